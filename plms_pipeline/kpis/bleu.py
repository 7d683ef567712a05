"""How close is a generated text to its reference?

BLEU (Papineni et al., ACL 2002) as sacrebleu computes it (Post, WMT 2018): its own tokenisation `13a` and exponential
smoothing, so that two people get the same number. Splitting at white space, as the original did, makes "end." and "end"
different words, and an unsmoothed sentence BLEU is 0 for most good short texts.
"""

from __future__ import annotations

from plms_pipeline.kpis.measurement import Measurement, unmeasured


def bleu(generated: str, reference: str) -> float:
    """BLEU of `generated` against `reference`, in [0, 1].

    Texts with the same number of lines are compared line by line (corpus BLEU over the pairs), others as one segment.
    """
    from sacrebleu.metrics.bleu import BLEU

    ours = [line.strip() for line in generated.splitlines() if line.strip()]
    theirs = [line.strip() for line in reference.splitlines() if line.strip()]
    if len(ours) != len(theirs):
        ours, theirs = [" ".join(ours)], [" ".join(theirs)]
    # Lines shorter than four tokens have no 4-grams; effective order leaves those out instead of scoring them 0.
    score = BLEU(effective_order=len(ours) == 1).corpus_score(ours, [theirs]).score
    return min(1.0, max(0.0, float(score) / 100.0))


def measure_bleu(generated: str | None, reference: str | None) -> Measurement:
    """BLEU as a measurement; a missing or empty text is its reason, not a score of 0."""
    if generated is None or reference is None:
        return unmeasured(f"the {'generated' if generated is None else 'reference'} text is missing")
    for name, text in (("generated", generated), ("reference", reference)):
        if not text.strip():
            return unmeasured(f"the {name} text is empty")
    return Measurement(bleu(generated, reference))
