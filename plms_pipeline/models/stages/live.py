"""What is told of a champion that is watched: its figures since its training, what is wrong with them, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from plms_pipeline.models.stages.names import (
    ESTIMATES_MONITOR,
    LIVE_DRIFT,
    LIVE_FEED,
    LIVE_GAIN,
    LIVE_INTERVALS,
    LIVE_MONITOR,
    LIVE_RISK,
)
from plms_pipeline.models.stages.stage import Check, Fact, Stage, shown, table

FEED: Final = "feed"
# Of `estimating/living.py`, which imports what trains; a test holds them equal.
COVERAGE_OFF, WORSE = "estimates_coverage_off", "estimates_worse_than_priors"
_HEADLINES: Final = ("sharpe", "max_drawdown", "total_return", "volatility", "hit_rate")


def live_stage(document: Mapping[str, Any], *, action: str, sentence: str) -> Stage:
    """One look at the champion.

    Args:
        document: the snapshot: `risk`, `drift`, `alerts`, `window_count`, `rows`, and of whom.
        action: what the decision tree says: keep, request_retrain or halt.
        sentence: the same, for people.
    """
    risk, drift, alerts = document["risk"], document["drift"], document["alerts"]
    facts: dict[str, Fact] = {
        "candidate": document["candidate_id"], "action": action, "rows": document["rows"],
        "window_count": document["window_count"], "window_from": document["window_from"],
        "window_to": document["window_to"], "alerts": len(alerts), **{name: risk.get(name) for name in _HEADLINES},
    }  # fmt: skip
    facts |= {name: value for name, value in drift.items() if value is None or isinstance(value, int | float | str)}
    checks = (
        _check(LIVE_FEED, [one for one in alerts if one["metric"] == FEED]),
        _check(LIVE_DRIFT, [one for one in alerts if one["metric"] in drift]),
        _check(LIVE_RISK, [one for one in alerts if one["metric"] != FEED and one["metric"] not in drift]),
    )
    lines = [f"**{shown(action)}**: {shown(sentence)}", "", *(f"- {shown(one['message'])}" for one in alerts)]
    return Stage(LIVE_MONITOR, facts, checks, {"told": "\n".join(lines), "risk": table(risk), "drift": table(drift)})


def estimates_stage(document: Mapping[str, Any], *, action: str, sentence: str) -> Stage:
    """One look at the champion of estimates.

    Args:
        document: the snapshot: `live` by measure and basis, `alerts`, what is heard, and of whom.
    """
    live, alerts = document["live"], document["alerts"]
    facts: dict[str, Fact] = {
        "candidate": document["candidate_id"], "action": action, "receipts": document["receipts"],
        "forecasts_since_the_promotion": document["rows"], "alerts": len(alerts),
        "heard": ", ".join(" ".join(part) for part in document["heard"]) or "nowhere",
        "withdrawn": ", ".join(" ".join(part) for part in document["withdrawn"]) or "nowhere",
        "outlook_sha256": document["outlook_sha256"],
    }  # fmt: skip
    for one in live:
        name = f"{one['measure']}_{one['basis']}"
        facts |= {f"{name}_coverage_90": one["coverage_90"], f"{name}_winkler_ratio": one["winkler_ratio"]}
    checks = (
        _check(LIVE_INTERVALS, [one for one in alerts if one["code"] == COVERAGE_OFF]),
        _check(LIVE_GAIN, [one for one in alerts if one["code"] == WORSE]),
    )
    lines = [f"**{shown(action)}**: {shown(sentence)}", "", *(f"- {shown(one['message'])}" for one in alerts)]
    lines += ["", "| measure | basis | forecasts | 90 % held | Winkler to the priors' |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {one['measure']} | {one['basis']} | {one['n']} | {_share(one['coverage_90'])} | {_ratio(one['winkler_ratio'])} |"
        for one in live
    ]
    return Stage(ESTIMATES_MONITOR, facts, checks, {"told": "\n".join(lines)})


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _check(name: str, wrong: Sequence[Mapping[str, Any]]) -> Check:
    why = " ".join(str(one["message"]) for one in wrong)
    return Check(name, not wrong, why, {str(one["code"]): one["value"] for one in wrong})
