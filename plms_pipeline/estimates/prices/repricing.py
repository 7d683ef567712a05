"""By how much does a new price multiply what a provider's work cost, and for how long does that have to be said?

What a receipt would cost under the new prices follows from its tokens; the sum of that over the receipts before the change,
divided by what they did cost, is the factor. A receipt that does not know its tokens cannot be priced and says nothing; where
none knows them nothing is re-priced. As receipts at the new price arrive, the state learns it by itself: the factor
fades, on the log scale, with the weight that the receipts before the change still have in it.

Cached tokens are priced as input and reasoning ones as output, which never promises less than will be charged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from plms_pipeline.estimates.method import METHOD

MILLION: Final = 1_000_000.0
# Below this a factor says nothing any more.
NEGLIGIBLE: Final = 1e-4
# What is given away costs a millionth: nothing has no logarithm, and costs as before would be no answer at all.
LEAST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Paid:
    """What one receipt took: dollars and tokens by kind; None where it is unknown."""

    usd: float
    given: int | None
    made: int | None
    cached: int | None = None
    reasoned: int | None = None

    def at(self, input_usd: float, output_usd: float) -> float | None:
        """What its tokens cost at these prices per million; None where input or output is unknown."""
        if self.given is None or self.made is None:
            return None
        given, made = self.given + (self.cached or 0), self.made + (self.reasoned or 0)
        return (given * input_usd + made * output_usd) / MILLION


@dataclass(frozen=True, slots=True)
class Measured:
    """The factor of one lane (None: no receipt can be priced), the receipts looked at, and those that know their tokens."""

    receipts: int
    with_tokens: int
    factor: float | None


@dataclass(frozen=True, slots=True)
class Repriced:
    """A change of prices as it concerns one (lane, provider): since which day, by what factor, on how many receipts.

    `factor` None: no receipt knows its tokens, so the costs of before stand. `since` counts the receipts that came after it.
    """

    lane_id: int
    provider: str
    from_on: date
    receipts: int
    with_tokens: int
    factor: float | None
    since: int

    @property
    def price(self) -> float:
        """What costs are multiplied by now: the factor, as far as the state has not learnt it."""
        if self.factor is None:
            return 1.0
        left = math.log(max(self.factor, LEAST)) * METHOD.forgetting**self.since
        return math.exp(left) if abs(left) > NEGLIGIBLE else 1.0

    def as_json(self) -> dict[str, Any]:
        """For machines: whether it is re-priced, and why not."""
        told: dict[str, Any] = {
            "lane_id": self.lane_id, "provider": self.provider, "prices_from": self.from_on.isoformat(),
            "repriced": self.factor is not None, "factor": None if self.factor is None else round(self.price, 6),
            "receipts": self.receipts, "receipts_with_tokens": self.with_tokens,
        }  # fmt: skip
        return told

    def sentence(self) -> str:
        """For people."""
        who = f"{self.provider} in lane {self.lane_id}"
        if self.factor is None and self.with_tokens:
            return (
                f"prices of {who} changed on {self.from_on}, and its {self.with_tokens} receipts that know their tokens cost "
                "nothing: no factor makes anything of that, and its costs are not re-priced"
            )
        if self.factor is None:
            return (
                f"prices of {who} changed on {self.from_on}, and none of its {self.receipts} receipts knows its tokens: its "
                "costs are not re-priced"
            )
        return (
            f"costs of {who} are re-priced from the tokens of {self.with_tokens} of {self.receipts} receipts: times "
            f"{self.price:.3g} (prices of {self.from_on})"
        )


def measured(paid: Iterable[Paid], input_usd: float, output_usd: float) -> Measured:
    """The factor of receipts from before a change: what those that know their tokens would cost over what they cost.

    Args:
        input_usd, output_usd: the new prices per million tokens.
    """
    found = list(paid)
    priced = [(one.usd, new) for one in found if (new := one.at(input_usd, output_usd)) is not None]
    old = math.fsum(usd for usd, _ in priced)
    factor = math.fsum(new for _, new in priced) / old if old > 0 else None
    return Measured(len(found), len(priced), factor)
