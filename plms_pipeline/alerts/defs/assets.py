"""Alerts as an asset: what fires, what was sent, and two sentences that must be true of it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from plms_pipeline.resources import Plms

ALERTS = dg.AssetKey("alerts")
NO_DELIVERY_IS_STUCK = "no_delivery_is_lost_or_stuck"
EVERY_SOURCE_IS_READ = "every_source_is_read"

alerts = dg.AssetSpec(
    ALERTS,
    group_name="monitoring",
    owners=["team:plms"],
    kinds={"sqlalchemy"},
    code_version="1",
    description="What fires, who was told, and who has it in hand. Evaluated by `plms serve` and by the sensors "
    "budget_threshold_crossed and alert_rules_crossed; the registry's alert_states, alert_events and deliveries are the "
    "record, `plms alerts` decides.",
)


def materialization(found: Any) -> dg.AssetMaterialization:
    """Alerts as they stand: numbers, and a table of what is open."""
    from plms_pipeline.alerts.actions.showing import unread

    open_ones = [state for state in found.alerts if state.is_open]
    rows = [
        f"| {state.severity} | {state.rule} | {_plain(state.subject)} | {state.state} | {_plain(state.detail[:120])} |"
        for state in open_ones
    ]
    table = "\n".join(["| severity | rule | subject | state | what |", "|---|---|---|---|---|", *rows])
    return dg.AssetMaterialization(
        ALERTS,
        metadata={
            "open": len(open_ones),
            **{f"open_p{n}": sum(one.severity == f"P{n}" for one in open_ones) for n in range(4)},
            "acknowledged": sum(one.state == "acked" for one in open_ones),
            "silences": len(found.silences),
            **{f"deliveries_{state}": n for state, n in found.deliveries.items()},
            "deliveries_stuck": len(found.stuck),
            "sources_unread": len(unread(found)),
            "alerts": dg.MetadataValue.md(table if rows else "Nothing fires."),
        },
    )  # fmt: skip


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"&#{ord(sign)};" if sign in "|<>&*_`[]\\\n" else sign for sign in text)


@dg.multi_asset_check(
    name="alert_checks",
    specs=[
        dg.AssetCheckSpec(
            NO_DELIVERY_IS_STUCK, asset=ALERTS, blocking=False,
            description="No message has been due for ten minutes without being sent or given up, and none was given up: what "
            "was has a dead letter (`plms alerts log --dead`).",
        ),
        dg.AssetCheckSpec(
            EVERY_SOURCE_IS_READ, asset=ALERTS, blocking=False,
            description="Everything that rules look at was read in the last half hour without an error; of what nobody reads "
            "nobody is told.",
        ),
    ],
)  # fmt: skip
def alert_checks(plms: Plms) -> Iterator[dg.AssetCheckResult]:
    """Ask the registry."""
    from plms_pipeline.alerts.actions.showing import overview, unread

    found = overview(plms.registry(), clock=plms.clock(), limit=1)
    dead = found.deliveries["dead"]
    yield dg.AssetCheckResult(
        asset_key=ALERTS, check_name=NO_DELIVERY_IS_STUCK, passed=not found.stuck and not dead,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"stuck": len(found.stuck), "given_up": dead, "waiting": found.deliveries["pending"]},
    )  # fmt: skip
    wrong = unread(found)
    yield dg.AssetCheckResult(
        asset_key=ALERTS, check_name=EVERY_SOURCE_IS_READ, passed=not wrong, severity=dg.AssetCheckSeverity.WARN,
        metadata={"sources": len(found.sources), "unread": dg.MetadataValue.json(wrong[:50])},
    )  # fmt: skip


ASSETS = [alerts]
CHECKS = [alert_checks]
