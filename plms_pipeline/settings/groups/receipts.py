"""Which receipts are believed, and how fast do they move what is known?"""

from datetime import date
from decimal import Decimal

from pydantic import field_validator

from plms_pipeline.settings.base import INT64_MAX, Group, setting


class Receipts(Group):
    """Receipts and estimates."""

    first_day: date = setting(date(2023, 1, 1), "date", "Receipts completed before this UTC day are quarantined.")
    max_cost_usd: Decimal = setting(Decimal(10_000), "USD", "A receipt that costs more is quarantined.", gt=0, lt=10**8)
    max_duration_ms: int = setting(
        30 * 86_400_000, "ms", "A receipt that took longer is quarantined.", gt=0, le=INT64_MAX
    )
    max_tokens: int = setting(1_000_000_000, "tokens", "A receipt with more tokens is quarantined.", gt=0, le=INT64_MAX)
    alpha: float = setting(0.3, "fraction", "Weight of the newest receipt in the trend (EWMA) of a prior.", gt=0, lt=1)

    @field_validator("first_day", mode="before")
    @classmethod
    def _calendar_day(cls, value: object) -> object:
        # pydantic also reads a number as seconds since 1970: PLMS_FIRST_DAY=0 would admit fifty years of receipts.
        return date.fromisoformat(value) if isinstance(value, str) else value
