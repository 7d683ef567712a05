"""`make prove-estimates`: does a model of estimates beat the product's priors on the shipped receipts?

Trained on earlier and judged on later receipts, walk-forward, beside the priors one step ahead with their adaptive correction,
on the same rows. Costs must be a tenth better by Winkler at 88 to 92 % coverage. Where it is not so, the evidence is
printed: how much of the priors' score a hundredth of the tasks makes. And what comes later is changed, to see that nothing
earlier moves.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from time import perf_counter

import numpy as np

from plms_pipeline.measures import BASES, Measure
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.judging import Judgement, Limits, judge
from plms_pipeline.models.estimating.walkforward import Plan, Walked, walk_forward
from plms_pipeline_tests.models.estimating.shipped import shipped

MEASURES: tuple[Measure, ...] = ("cost_usd", "duration_ms")


def main(arguments: list[str] | None = None) -> int:
    """Exit 0 when costs beat the priors and nothing looks ahead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0, help="only the first N receipts of each file; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    holds = True
    for measure in MEASURES:
        history = shipped(measure)
        if given.count:
            history = history.head(given.count)
        plan = Plan(blocks=2 if given.count else 6)
        began = perf_counter()
        walked = walk_forward(history, plan, heard=lambda done, of: _say(f"  block {done} of {of}"))
        _say(f"{measure}: {len(history)} receipts, {perf_counter() - began:.0f} s")
        limits = Limits(rows=100) if given.count else Limits()
        judged = [judge(walked.forecasts[basis], limits) for basis in BASES]
        for one in judged:
            _show(one)
        holds &= _is_blind(history, plan, walked, given.seed)
        if measure == "cost_usd" and not given.count:
            holds &= all(one.passed for one in judged)
    _say("holds" if holds else "DOES NOT HOLD")
    return 0 if holds else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _show(one: Judgement) -> None:
    told = one.figures
    if not told["n"]:
        _say(f"  {one.basis}: nothing to judge")
        return
    _say(
        f"  {one.basis}: {told['n']} later receipts, coverage {told['coverage_90']:.1%} (priors "
        f"{told['coverage_90_priors']:.1%}); "
        f"of the priors' scores: Winkler {told['winkler_ratio']:.3f} ({told['winkler_ratio_low']:.3f} to "
        f"{told['winkler_ratio_high']:.3f}), CRPS {told['crps_ratio']:.3f}, of the logarithm "
        f"{told['winkler_log'] / told['winkler_log_priors']:.3f}; {'passes' if one.passed else 'left to the priors'}"
    )
    if not one.passed:
        _say("    " + "; ".join(condition.reason for condition in one.conditions if not condition.passed))
        _say(
            f"    one forecast in a hundred makes {told['worst_hundredth_of_priors']:.0%} of the priors' Winkler score"
        )
    for cell in told["lanes"] + told["cells"]:
        _say(
            f"    {cell['lane_id']} {cell.get('provider', 'all providers'):<45} n {cell['n']:>5}  coverage "
            f"{cell['coverage_90']:.1%} ({cell['coverage_90_priors']:.1%})  Winkler {cell['winkler_ratio'] or 0:.3f}"
        )


def _is_blind(history: History, plan: Plan, walked: Walked, seed: int) -> bool:
    """Shuffle the values of the last fifth: the forecasts that were made before it ended must stay what they were."""
    cut = int(0.8 * len(history))
    value = history.value.copy()
    value[cut:] = 100.0 * np.random.default_rng(seed).permutation(value[cut:])
    before = history.completed_ms[cut]
    first = int(np.searchsorted(history.completed_ms, before))
    other = walk_forward(replace(history, value=value), plan)
    for basis in BASES:
        early = walked.forecasts[basis].history.started_ms < before
        early &= walked.forecasts[basis].history.completed_ms <= history.completed_ms[max(0, first - 1)]
        if not np.array_equal(walked.forecasts[basis].quantiles[early], other.forecasts[basis].quantiles[early]):
            _say(f"  {basis}: an earlier forecast moved when later receipts were changed")
            return False
    _say("  no forecast moved when later receipts were changed")
    return True


if __name__ == "__main__":
    sys.exit(main())
