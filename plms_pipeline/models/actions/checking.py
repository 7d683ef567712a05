"""What keeps a candidate from going live, at this moment?

Everything that an approval and a promotion ask, and that pages and asset checks show: what the gates said, whether its time is
over, whether every byte is the one that was judged, whether the stored model still says what it said, and whether promotions of
its family are stopped. Each has a stable code. An approval asks all of it; a promotion asks all of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.errors import Conflict, PlmsError
from plms_pipeline.models.decision.capping import limits_of, looser, unmended
from plms_pipeline.models.decision.levels import breached
from plms_pipeline.models.decision.tree import DATA_NOT_OK, HALT, LIMIT, hard_gates
from plms_pipeline.models.decision.words import APPROVE
from plms_pipeline.models.files.candidate import SUMMARY_FILE, check_bytes, manifest_of, model_file
from plms_pipeline.models.files.reading import read_json
from plms_pipeline.models.records import ESTIMATES, MARKET, Candidate
from plms_pipeline.models.store import champions, levels, looks, switches
from plms_pipeline.models.training.history import Look
from plms_pipeline.registry.engine import Registry

# Compares a stored model with what it said when it was trained; the sentences that disagree.
Golden = Callable[[Path, Candidate, Mapping[str, Any]], tuple[str, ...]]

GATES_FAILED: Final = "gates_failed"
CAPS_NEEDED: Final = "caps_needed"
DATA_ANOMALY: Final = "data_anomaly"
CAP_LOOSENS: Final = "cap_loosens"
CAPS_DO_NOT_MEND: Final = "caps_do_not_mend"
CAPS_NOT_ENFORCED: Final = "caps_not_enforced"
EXPIRED: Final = "candidate_expired"
HALTED: Final = "promotion_halted"
LIVE_DATA: Final = "live_data_in_doubt"
GUARDRAILS_OFF: Final = "guardrails_off"
LEVEL_BREACHED: Final = "slo_breached"
GOLDEN_FAILED: Final = "golden_failed"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One reason why a candidate cannot go live now, with a stable code."""

    code: str
    sentence: str


def blockers(
    registry: Registry,
    root: Path,
    candidate: Candidate,
    *,
    now: datetime,
    decision: str = APPROVE,
    golden: Mapping[str, Golden] | None = None,
    caps: Mapping[str, float] | None = None,
) -> tuple[Blocker, ...]:
    """Everything that keeps a candidate from going live, what was judged first and what is stopped last.

    Args:
        root: the data folder.
        decision: `approve_with_caps` admits broken limits that caps can mend.
        golden: the comparison of each family; that of `GOLDEN_BY_FAMILY` when omitted.
        caps: with which it is approved.
    """
    altered = stored(root, candidate, golden=golden)
    found = [*judged(candidate, decision=decision, now=now), *altered]
    if caps and not altered:
        found += capped(root, candidate, caps)
    with registry.reading() as session:
        return (*found, *stopped(session, candidate.family, now))


def judged(candidate: Candidate, *, decision: str, now: datetime) -> tuple[Blocker, ...]:
    """What its own evaluation says, and whether its time is over."""
    found = []
    hard = hard_gates(name for name in candidate.blockers if name != DATA_NOT_OK)
    if hard:
        found.append(Blocker(GATES_FAILED, f"gates did not pass: {', '.join(hard)}"))
    if DATA_NOT_OK in candidate.blockers:
        found.append(Blocker(DATA_ANOMALY, "the checks of its data found errors; correct the data and train again"))
    limits = [name for name in candidate.blockers if name.startswith(LIMIT) and name not in hard]
    if limits and decision == APPROVE:
        found.append(
            Blocker(CAPS_NEEDED, f"limits are broken ({', '.join(limits)}); decide approve_with_caps, or not at all")
        )
    if candidate.expires_at <= now:
        found.append(Blocker(EXPIRED, f"it waited until {candidate.expires_at:%Y-%m-%d %H:%M} UTC; train again"))
    return tuple(found)


def stored(root: Path, candidate: Candidate, *, golden: Mapping[str, Golden] | None = None) -> tuple[Blocker, ...]:
    """Whether its files are those that were judged, and its stored model says what it said."""
    compare = (GOLDEN_BY_FAMILY if golden is None else golden).get(candidate.family)
    try:
        document = check_bytes(root, candidate)
        if compare is None:
            return (Blocker(GOLDEN_FAILED, f"nothing can verify a stored model of the family {candidate.family}"),)
        wrong = compare(root, candidate, document)
    except PlmsError as error:
        return (Blocker(error.code, error.message),)
    if wrong:
        return (Blocker(GOLDEN_FAILED, f"the stored model disagrees with itself: {'; '.join(wrong[:3])}"),)
    return ()


def capped(root: Path, candidate: Candidate, caps: Mapping[str, float]) -> tuple[Blocker, ...]:
    """Whether caps do what an approval under caps says: tighten, be enforced, and mend the limits that are broken."""
    if candidate.family != MARKET:
        return (
            Blocker(CAPS_NOT_ENFORCED, f"nothing enforces caps on {candidate.family}; decide approve, or not at all"),
        )
    summary = read_json(root / candidate.folder / SUMMARY_FILE)
    limits = limits_of(summary, manifest_of(root, candidate).get("experiment"))
    loose = [f"{name} = {caps[name]:g}, it was judged by {limits[name]:g}" for name in looser(caps, limits)]
    found = []
    if loose:
        found.append(Blocker(CAP_LOOSENS, f"a cap only tightens ({'; '.join(loose)})"))
    left = unmended(candidate.alerts, caps)
    if left:
        names = ", ".join(f"{code} takes {name}" for code, name in left.items())
        found.append(Blocker(CAPS_DO_NOT_MEND, f"a limit stays broken under these caps: {names}"))
    return tuple(found)


def stopped(session: Session, family: str, now: datetime) -> tuple[Blocker, ...]:
    """Whether somebody or something stops the promotions of a family."""
    found = [
        Blocker(HALTED, f"{halt.halted_by} halted the promotions of {family}: {halt.reason[:200]} (plms model halts)")
        for halt in switches.open_halts(session, family)[:1]
    ]
    switch = switches.guardrails(session, family)
    if not switch.enabled:
        found.append(
            Blocker(GUARDRAILS_OFF, f"{switch.by} switched the guardrails of {family} off: turn them on first")
        )
    doubtful = _doubtful_look(session, family)
    if doubtful is not None:
        found.append(
            Blocker(
                LIVE_DATA,
                f"the look of {doubtful.at:%Y-%m-%d %H:%M} UTC at what serves found data that cannot be judged: validate the "
                "feeds, then look again (plms monitor)",
            )
        )
    bad = breached(levels.service_levels(session, family, now))
    if bad:
        found.append(Blocker(LEVEL_BREACHED, f"serving breaks its levels: {'; '.join(one.sentence for one in bad)}"))
    return tuple(found)


def _doubtful_look(session: Session, family: str) -> Look | None:
    """The newest look at what serves, if it found that the data cannot be trusted."""
    present = champions.current(session, family)
    seen = looks.newest(session, family, limit=1)
    if present is None or not seen or seen[0].promotion_id != present.promotion_id or seen[0].action != HALT:
        return None
    return seen[0]


def refuse(candidate: Candidate, found: tuple[Blocker, ...]) -> None:
    """Refuse with the code of the first blocker and the sentences of all.

    Raises:
        Conflict: something blocks.
    """
    if found:
        raise Conflict(
            f"Candidate {candidate.candidate_id} cannot go live: {'; '.join(one.sentence.rstrip('.') for one in found)}.",
            code=found[0].code,
        )


def market_golden(root: Path, candidate: Candidate, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Load the stored model, score the stored bars again, and compare with what it said when it was trained.

    Raises:
        NoData, NotFound, Conflict, BadInput: as `load_model` and `read_bars`.
    """
    # The API, which decides once a week, does not load what trains.
    from plms_pipeline.models.layout import GOLDEN
    from plms_pipeline.models.market.files.keeping import read_bars
    from plms_pipeline.models.training.experiment import experiment
    from plms_pipeline.models.training.files import load_model
    from plms_pipeline.models.training.golden import disagreements

    model = load_model(model_file(root, candidate, document), candidate.bytes.model)
    bars = read_bars(root / str(document["data"]["snapshot"]))
    kept = read_json(root / candidate.folder / GOLDEN)
    return disagreements(kept, model, bars, experiment(document["experiment"], "The candidate's experiment"))


def estimates_golden(root: Path, candidate: Candidate, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Load the stored model of estimates, forecast the newest stored receipts again, and compare with what it said.

    Raises:
        NoData, Conflict, BadInput: as `load_estimates` and `read_snapshot`.
    """
    from plms_pipeline.models.estimating.files import load_estimates, read_snapshot
    from plms_pipeline.models.estimating.stored import disagreements
    from plms_pipeline.models.layout import GOLDEN

    model = load_estimates(model_file(root, candidate, document), candidate.bytes.model)
    book = read_snapshot(root / str(document["data"]["snapshot"]))
    return disagreements(read_json(root / candidate.folder / GOLDEN), model, book)


GOLDEN_BY_FAMILY: Final[Mapping[str, Golden]] = {MARKET: market_golden, ESTIMATES: estimates_golden}
