"""Which limits hold for whom?

The launcher's policy guards what a person starts outside an approved project; an approved project is bound by its lanes, its
own budget, what the executor bears, and the portfolio's day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from plms_pipeline.budget.ledger import LAUNCHER, PORTFOLIO, Purse, daily_account
from plms_pipeline.errors import BadInput
from plms_pipeline.portfolio.aimd import Bounds
from plms_pipeline.portfolio.buckets import Rate
from plms_pipeline.settings import Settings

LAUNCHER_BUCKET: Final = "launcher"
PAS_BUCKET: Final = "pas"
# A dispatcher works in bursts: a tenth of a second's worth may go at once.
_PAS_BURST_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class LauncherPolicy:
    """What a person may start outside an approved project: at once, per second, per day in `zone`."""

    places: int
    rate: Rate
    daily_usd: Decimal
    zone: str
    lease: timedelta

    def purse(self, now: datetime) -> Purse:
        """The purse of the day."""
        return Purse(daily_account(LAUNCHER, now, self.zone), self.daily_usd)


def launcher_policy(settings: Settings) -> LauncherPolicy:
    """The launcher's policy as it is configured."""
    return LauncherPolicy(
        settings.concurrency_limit, Rate(settings.qps_limit), settings.daily_budget_usd, settings.budget_time_zone,
        timedelta(seconds=settings.launcher_lease_s),
    )  # fmt: skip


def pas_rate(settings: Settings) -> Rate:
    """How many cards and runs the executor is sent per second."""
    return Rate(settings.pas_qps, max(1.0, settings.pas_qps * _PAS_BURST_S))


def autoscale_bounds(settings: Settings) -> Bounds | None:
    """Between which caps lanes move by themselves; None: they do not.

    Raises:
        BadInput: the least is more than the most.
    """
    least, most = settings.lane_autoscale_min, settings.lane_autoscale_max
    if least > most:
        raise BadInput(
            f"PLMS_LANE_AUTOSCALE_MIN ({least}) is more than PLMS_LANE_AUTOSCALE_MAX ({most}).", code="bad_bounds"
        )
    return Bounds(least, most) if settings.lane_autoscale == "on" else None


def portfolio_purse(settings: Settings, now: datetime) -> Purse | None:
    """The purse of all approved projects for the day; None without a limit."""
    if settings.portfolio_daily_usd is None:
        return None
    return Purse(daily_account(PORTFOLIO, now, settings.budget_time_zone), settings.portfolio_daily_usd)
