"""What does a rehearsal say about its project?

The sources' answer: what the sample took, what the whole will take with 90 % intervals for every measure, which factors make
that doubtful, and one score. Nothing in it is a constant: intervals come from the extrapolation, factors from the widths,
sample sizes and failures found, each with the number that it rests on.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plms_pipeline.estimates.extrapolation import Extrapolation, StratumData, extrapolate, mixed
from plms_pipeline.measures import MEASURES, Measure
from plms_pipeline.runs.passport import PlannedTask
from plms_pipeline.runs.rehearsal_prices import Belief
from plms_pipeline.runs.sampling import Sample, Stratum, strata_of

# The risk heatmap's limit between medium and high (design "Risk heatmap"), and the least of observations that it trusts.
WIDE: Final = 0.50
FEW: Final = 3
# A sample this far from what its priors expected is told, whatever the interval.
FAR: Final = 1.5

# 52 bits: every JSON reader keeps them.
SEED_DIGITS: Final = 13

# By task.
Beliefs = Mapping[tuple[str, Measure], Belief]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sampled task really ended: its measures where it succeeded (None: unknown), and what all its attempts took."""

    task_id: str
    is_good: bool
    took: Mapping[Measure, float | None]
    spent: Mapping[Measure, float | None]
    echo_cos: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The answer of a rehearsal as the sources shape it, and its risk score in [0, 1]."""

    answer: dict[str, Any]
    risk_score: float


def seed_of(name: str) -> int:
    """A seed derived from a name, so that a repeated request draws the same sample."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:SEED_DIGITS], 16)


def rehearsed(
    plan: Sequence[PlannedTask], sample: Sample, beliefs: Beliefs, ended: Iterable[Ended] | None = None
) -> Result:
    """Extrapolate a rehearsal.

    Args:
        plan: every task of the project.
        sample: drawn from that plan.
        beliefs: of every task of the plan.
        ended: how the sampled tasks ended (canary); None: they are priced from the priors (forecast).
    """
    outcomes = {each.task_id: each for each in ended} if ended is not None else None
    strata = strata_of(plan)
    full = {measure: _total(strata, beliefs, measure, outcomes) for measure in MEASURES}
    actual = _priced(sample, beliefs) if outcomes is None else _measured(outcomes.values())
    echo = actual["echo_cos_mean"]
    factors = [*_lane_factors(plan, beliefs, outcomes), *_sample_factors(sample, full, outcomes)]
    extrapolated: dict[str, Any] = {measure: _number(full[measure].median, measure) for measure in MEASURES}
    intervals = {
        measure: [_number(full[measure].low, measure), _number(full[measure].high, measure)] for measure in MEASURES
    }
    answer = {
        "simulation_results": {
            "rehearsal_actual": actual,
            "extrapolated_full": {**extrapolated, "echo_cos_mean": echo, "ci_90": intervals},
            "risk_factors": factors,
        },
        "sampling_metrics": sample.metrics(),
        "warnings": list(sample.warnings),
    }
    return Result(answer, risk_score(sample, full, beliefs, outcomes))


def _total(
    strata: Mapping[Stratum, Sequence[str]], beliefs: Beliefs, measure: Measure,
    outcomes: Mapping[str, Ended] | None,
) -> Extrapolation:  # fmt: skip
    data = []
    for members in strata.values():
        measured = [outcomes[name].took.get(measure) for name in members if name in outcomes] if outcomes else []
        priors = Counter(beliefs[name, measure].prior for name in members)
        data.append(StratumData(len(members), [value for value in measured if value is not None], mixed(priors)))
    return extrapolate(data)


def _priced(sample: Sample, beliefs: Beliefs) -> dict[str, Any]:
    """What the sample would take by the priors: the same reckoning as for the whole, on the sample alone."""
    priced: dict[str, Any] = {
        measure: _number(_total(sample.drawn, beliefs, measure, None).median, measure) for measure in MEASURES
    }
    return {**priced, "echo_cos_mean": None}


def _measured(outcomes: Iterable[Ended]) -> dict[str, Any]:
    """What the sample really took, attempts that failed included. A measure that no task knows stays unknown."""
    spent: dict[str, Any] = {}
    every = list(outcomes)
    for measure in MEASURES:
        known = [value for each in every for value in [each.spent.get(measure)] if value is not None]
        spent[measure] = _number(sum(known), measure) if known else None
    echoes = [each.echo_cos for each in every if each.echo_cos is not None]
    return {**spent, "echo_cos_mean": round(sum(echoes) / len(echoes), 4) if echoes else None}


def _lane_factors(
    plan: Sequence[PlannedTask], beliefs: Beliefs, outcomes: Mapping[str, Ended] | None
) -> list[dict[str, Any]]:
    by_lane: defaultdict[int, list[PlannedTask]] = defaultdict(list)
    for task in plan:
        by_lane[task.lane_id].append(task)
    found: list[dict[str, Any]] = []
    for lane, tasks in sorted(by_lane.items()):
        by_id = {task.task_id: task for task in tasks}
        mine = {name: outcome for name, outcome in (outcomes or {}).items() if name in by_id}
        for measure in MEASURES:
            held = [beliefs[task.task_id, measure] for task in tasks]
            if not all(belief.is_known for belief in held):
                continue
            samples = min(belief.n for belief in held) + len(mine)
            total = _total(strata_of(tasks), beliefs, measure, mine or None)
            if total.relative_width > WIDE:
                found.append(_factor(lane, "high_variance", samples, measure, ci_width_pct=total.relative_width))
            if samples < FEW:
                found.append(_factor(lane, "few_observations", samples, measure))
        failed = sum(not outcome.is_good for outcome in mine.values())
        if failed:
            found.append({"lane": lane, "issue": "failed_tasks", "samples": len(mine), "failed": failed})
    return found


def _sample_factors(
    sample: Sample, full: Mapping[Measure, Extrapolation], outcomes: Mapping[str, Ended] | None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"lane": stratum.lane_id, "issue": "stratum_not_sampled", "samples": 0, "stratum": stratum.label}
        for stratum in sample.missing
    ]
    for measure, total in full.items():
        if outcomes and total.ratio is not None and not 1 / FAR <= total.ratio <= FAR:
            found.append(_factor(None, "unlike_history", sample.n_sample, measure, ratio=total.ratio))
    return found


def _factor(lane: int | None, issue: str, samples: int, measure: Measure, **numbers: float) -> dict[str, Any]:
    rounded = {name: round(value, 4) for name, value in numbers.items()}
    return {"lane": lane, "issue": issue, "samples": samples, "measure": measure, **rounded}


def risk_score(
    sample: Sample, full: Mapping[Measure, Extrapolation], beliefs: Beliefs, outcomes: Mapping[str, Ended] | None
) -> float:
    """How little the answer may be relied upon, in [0, 1]: 1 - coverage · good tasks · certainty.

    Certainty is 1 / (1 + w) with w the mean relative half-width of the intervals of measures that receipts know; with none
    known it is 0. So ±10 % of a representative sample without failures scores 0.09, ±50 % scores 0.33.
    """
    known = [
        measure
        for measure in MEASURES
        if all(belief.is_known for (_, of), belief in beliefs.items() if of == measure)
        or any(outcome.took.get(measure) is not None for outcome in (outcomes or {}).values())
    ]
    if not known:
        return 1.0
    width = sum(full[measure].relative_width for measure in known) / len(known) / 2
    good = 1.0
    if outcomes:
        good = sum(outcome.is_good for outcome in outcomes.values()) / len(outcomes)
    return round(1.0 - sample.strata_coverage * good / (1.0 + width), 4)


def _number(value: float, measure: Measure) -> float | int:
    """Dollars to six places; whole tokens and milliseconds."""
    return round(value, 6) if measure == "cost_usd" else round(value)
