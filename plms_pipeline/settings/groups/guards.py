"""What may start, how fast, for how much money, and in how many slots?"""

from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import field_validator

from plms_pipeline.settings.base import Group, setting


class Guards(Group):
    """Guards, budgets and lanes."""

    concurrency_limit: int = setting(
        3,
        "starts",
        "How many starts outside an approved project may go on at once (`plms guard`).",
        variable="CONCURRENCY_LIMIT",
        ge=0,
        le=100_000,
    )
    qps_limit: float = setting(
        2.0,
        "1/s",
        "How many starts outside an approved project may begin per second.",
        variable="QPS_LIMIT",
        gt=0,
        le=10_000,
    )
    launcher_lease_s: float = setting(
        3600.0,
        "s",
        "How long a start outside an approved project holds its place when nobody says that it ended.",
        ge=1,
        le=7 * 86_400,
    )
    daily_budget_usd: Decimal = setting(
        Decimal("50.00"),
        "USD",
        "What starts outside an approved project may spend per day.",
        variable="DAILY_BUDGET_USD",
        ge=0,
        lt=10**8,
    )
    portfolio_daily_usd: Decimal | None = setting(
        None, "USD", "What all approved projects together may spend per day; default: no limit.", ge=0, lt=10**8
    )
    budget_time_zone: str = setting("UTC", "zone", "IANA time zone in whose days the daily budgets count.")
    budget_check_s: float = setting(
        60.0,
        "s",
        "How often the money of projects with a run under way is looked at.",
        ge=1.0,
        le=3_600,
    )
    budget_idle_check_s: float = setting(
        600.0, "s", "How often the money of projects without a run under way is looked at.", ge=1, le=86_400
    )
    lane_preemption: Literal["on", "off"] = setting(
        "on",
        "mode",
        "Whether a running task may be paused for a project that has waited too long; only where the executor can "
        "(`pause_task`), and never twice for the same task.",
    )
    lane_autoscale: Literal["on", "off"] = setting(
        "off",
        "mode",
        "Whether caps move by themselves, at most once an hour per lane: one more slot while a lane is full and healthy, half "
        "of them when it is in trouble. Each move is a decision.",
    )
    lane_autoscale_min: int = setting(
        1,
        "slots",
        "The least cap that a lane moves to by itself; one that is lower stays where it is.",
        ge=1,
        le=10_000,
    )
    lane_autoscale_max: int = setting(
        16, "slots", "The most that a cap moves to by itself; one that is higher stays where it is.", ge=1, le=10_000
    )

    @field_validator("budget_time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (KeyError, ValueError, OSError):  # unknown, no path at all, a folder
            raise ValueError("must be a time zone such as UTC or America/New_York") from None
