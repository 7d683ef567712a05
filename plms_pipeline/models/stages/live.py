"""What is told of a champion that is watched: its figures since its training, what is wrong with them, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from plms_pipeline.models.stages.names import LIVE_DRIFT, LIVE_FEED, LIVE_MONITOR, LIVE_RISK
from plms_pipeline.models.stages.stage import Check, Fact, Stage, shown, table

FEED: Final = "feed"
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


def _check(name: str, wrong: Sequence[Mapping[str, Any]]) -> Check:
    why = " ".join(str(one["message"]) for one in wrong)
    return Check(name, not wrong, why, {str(one["code"]): one["value"] for one in wrong})
