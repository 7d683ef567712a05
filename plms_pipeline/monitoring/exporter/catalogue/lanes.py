"""Guards, lanes, and who waits in them."""

from __future__ import annotations

from typing import Final

from plms_pipeline.monitoring.exporter.series import Label, Series
from plms_pipeline.portfolio.guarding import ORDER

LANE: Final = Label("lane")
POLICIES: Final = ("launcher", "executor")
ACCOUNTS: Final = ("launcher", "portfolio")
BUCKETS: Final = ("launcher", "pas")
SWITCHES: Final = ("file", "global", "lane", "project")
_OPS: Final = "guide 003, Key metrics"
_LANES: Final = "guide 000, 2"
_POLICY: Final = (Label("policy", POLICIES),)
_ACCOUNT: Final = (Label("account", ACCOUNTS),)
_BUCKET: Final = (Label("bucket", BUCKETS),)

_GUARDS: Final = (
    Series(
        "plms_concurrency_in_use", "gauge", "registry",
        "Starts outside an approved project that hold a place (launcher); runs that the executor has (executor).", _OPS,
        _POLICY,
    ),
    Series("plms_concurrency_limit", "gauge", "registry", "How many there may be.", _OPS, _POLICY),
    Series("plms_daily_budget_spent_usd", "gauge", "registry", "Settled today in the account of the day.", _OPS, _ACCOUNT),
    Series("plms_daily_budget_reserved_usd", "gauge", "registry", "Reserved today, not settled yet.", _OPS, _ACCOUNT),
    Series(
        "plms_daily_budget_limit_usd", "gauge", "registry", "What may be spent today.", _OPS, _ACCOUNT,
        absent="The account has no limit.",
    ),
    Series(
        "plms_daily_spend_usd", "gauge", "registry",
        "What was spent today by everything together: receipts of our runs, and starts that left none.", "guide 003, P0",
    ),
    Series("plms_rate_limit_per_second", "gauge", "registry", "How many may begin per second.", _OPS, _BUCKET),
    Series("plms_rate_tokens", "gauge", "registry", "Tokens in the bucket; below 1 the next one waits.", _OPS, _BUCKET),
    Series(
        "plms_guard_refusals_total", "counter", "registry", "What the launcher's guards refused.", "guide 003, Alerting",
        (Label("guard", ORDER),),
    ),
    Series(
        "plms_killswitch_on", "gauge", "registry", "Kill switches that are on.", "guide 003, Alerting",
        (Label("scope", SWITCHES),),
    ),
)  # fmt: skip

_QUEUES: Final = (
    Series("plms_lane_info", "gauge", "registry", "1; the name of a lane.", _LANES, (LANE, Label("name"))),
    Series("plms_lane_cap", "gauge", "registry", "How many tasks of the lane may run at once.", _LANES, (LANE,)),
    Series("plms_lane_slots_in_use", "gauge", "registry", "Slots that count, suspect ones included.", _LANES, (LANE,)),
    Series("plms_lane_slots_suspect", "gauge", "registry", "Slots whose holder is late.", labels=(LANE,)),
    Series(
        "plms_lane_utilization_ratio", "gauge", "registry",
        "Slots in use by the cap; above 1 after a cap was lowered, 0 where the cap is 0.", _LANES, (LANE,),
    ),
    Series("plms_queue_depth", "gauge", "registry", "Cards that nothing but their turn keeps waiting.", _LANES, (LANE,)),
    Series(
        "plms_queue_oldest_age_seconds", "gauge", "registry", "How long the first of them has been ready.", _LANES, (LANE,)
    ),
    Series("plms_queue_put_aside", "gauge", "registry", "Cards paused at the executor for another project.", labels=(LANE,)),
    Series(
        "plms_job_cards_open", "gauge", "registry", "Cards that have not ended.",
        labels=(Label("state", ("WAITING", "SUBMITTED")),),
    ),
)  # fmt: skip

LANES: Final = (*_GUARDS, *_QUEUES)
