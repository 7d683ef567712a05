"""How does an observation read on the stream? The fifteen text fields of the guide, for consumers that know them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from plms_pipeline.evidence.obligations import Pending
from plms_pipeline.registry.types import canonical_json

FIELDS: Final = (
    "ts_epoch", "plan_id", "symbol", "apply_component", "obs_point", "heat_found", "heat_ts_epoch", "heat_level",
    "heat_score", "heat_action", "heat_out_action", "heat_recommended_partial", "heat_reason", "apply_decision",
    "debug_json",
)  # fmt: skip
COMPONENT: Final = "plms"


def stream_event(pending: Pending, observation: Mapping[str, Any], *, debug_chars: int) -> dict[str, str]:
    """One observation as an event of the stream.

    `plan_id` is the subject, `symbol` the evidence kind, `heat_reason` the reason; what the evidence says about heat is copied
    from it. The obligation's id is in `debug_json`: an event may be told twice, and is known again by it.
    """
    seen = {str(key): str(value) for key, value in (observation["debug_json"] or {}).items()}
    evidence_at: datetime | None = observation["evidence_at"]
    debug = {"obligation_id": pending.obligation_id, "wait_ms": observation["wait_ms"], "polls": observation["polls"]}
    if observation["errors"]:
        debug["errors"] = observation["errors"]
    text = canonical_json(debug)
    found = {
        "ts_epoch": f"{observation['at'].timestamp():.6f}",
        "plan_id": pending.subject_id,
        "symbol": pending.evidence_kind,
        "apply_component": COMPONENT,
        "obs_point": pending.obs_point,
        "heat_found": "1" if observation["found"] else "0",
        "heat_ts_epoch": "" if evidence_at is None else f"{evidence_at.timestamp():.6f}",
        "heat_level": seen.get("heat_level", ""),
        "heat_score": seen.get("heat_score", ""),
        "heat_action": seen.get("heat_action", ""),
        "heat_out_action": seen.get("out_action", ""),
        "heat_recommended_partial": seen.get("recommended_partial", ""),
        "heat_reason": str(observation["reason"]),
        "apply_decision": seen.get("apply_decision", ""),
        "debug_json": text if len(text) <= debug_chars else "{}",
    }
    return {name: found[name] for name in FIELDS}
