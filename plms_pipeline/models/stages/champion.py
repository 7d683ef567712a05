"""What is told of the model that serves: which one it is since when, by whose word, and what served before."""

from __future__ import annotations

from collections.abc import Sequence

from plms_pipeline.models.records import Champion
from plms_pipeline.models.stages.names import PROMOTED_MODEL
from plms_pipeline.models.stages.stage import Fact, Stage, shown

SHOWN = 20


def champion_stage(champion: Champion, history: Sequence[Champion]) -> Stage:
    """The champion.

    Args:
        history: promotions and rollbacks of its family, newest first.
    """
    facts: dict[str, Fact] = {
        "candidate": champion.candidate_id, "family": champion.family, "sequence": champion.sequence, "kind": champion.kind,
        "promoted_at": champion.promoted_at.isoformat(), "promoted_by": champion.promoted_by,
        "decision_id": champion.decision_id, "model_sha256": champion.model_sha256,
        "evaluation_sha256": champion.evaluation_sha256, "data_sha256": champion.data_sha256,
        "caps": ", ".join(f"{name} {value:g}" for name, value in (champion.caps or {}).items()) or "none",
    }  # fmt: skip
    lines = ["| # | what | candidate | since | by |", "|--:|---|---|---|---|"]
    lines += [
        f"| {one.sequence} | {one.kind} | {one.candidate_id} | {one.promoted_at:%Y-%m-%d %H:%M} | {shown(one.promoted_by)} |"
        for one in history[:SHOWN]
    ]
    return Stage(PROMOTED_MODEL, facts, texts={"history": "\n".join(lines)})
