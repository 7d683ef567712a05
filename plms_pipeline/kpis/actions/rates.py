"""How often do the gates hold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plms_pipeline.kpis.rates import PassRate
from plms_pipeline.kpis.store import receipts
from plms_pipeline.registry.engine import Registry


def pass_rates(registry: Registry) -> list[PassRate]:
    """Per lane and KPI: number of evaluations, how many passed, the newest of them; in order of lane and KPI."""
    with registry.reading() as session:
        return receipts.pass_rates(session)


def rows_of(rates: Sequence[PassRate]) -> list[dict[str, Any]]:
    """Pass rates as JSON-able rows, for the night's document."""
    return [
        {
            "lane_id": each.lane_id, "lane_name": each.lane_name, "kpi_name": each.kpi, "n": each.n, "passed": each.passed,
            "measured": each.measured, "pass_rate": each.rate, "mean_value": each.mean_value,
            "last_value": each.last_value, "last_pass": each.last_pass, "last_at": each.last_at.isoformat(),
        }
        for each in rates
    ]  # fmt: skip


def gates_in_force(registry: Registry, lane: int | str | None = None) -> list[dict[str, Any]]:
    """The active gates of one lane, or of all active lanes; a lane without gates has an empty list.

    Raises:
        BadInput: the lane is not registered.
    """
    with registry.reading() as session:
        lanes = receipts.active_lanes(session) if lane is None else [receipts.find_lane(session, lane)]
        return [
            {
                "lane_id": each.lane_id,
                "lane_name": each.name,
                "gates": [
                    {"kpi": gate.kpi, "conditions": gate.as_json(), "blocks": gate.blocks}
                    for gate in receipts.lane_gates(session, each.lane_id)
                ],
            }
            for each in lanes
        ]
