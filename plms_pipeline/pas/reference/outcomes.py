"""What does a task take when nobody really does it?

It replays real ones: the cost is that of a SWE-bench agent run and the duration that of a METR agent run, of the same lane
and provider if there are any, else of the lane, else of all. The obvious version draws from a formula, and then the
calibration is tested on the distribution that it assumes.

What the samples do not know is made up here and says so: tokens are what the cost buys at 3 USD per million in and 15 USD
out, energy follows the tokens. Durations beyond `longest_ms` are left out: an executor stops such a task (the outlier fault
brings them back).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, TypeVar

from plms_pipeline.pas.reference.chance import between, draw, pick

T = TypeVar("T")
USD_PER_TOKEN_IN: Final = 3e-6
USD_PER_TOKEN_OUT: Final = 15e-6
KWH_PER_TOKEN: Final = 2e-7
MAX_TOKENS: Final = 10**9
OUTLIER_COST: Final = 20
OUTLIER_TIME: Final = 10
SIX_PLACES: Final = Decimal("0.000001")
# The providers of the guides' examples, which no sample knows.
GUIDE_PROVIDERS: Final = {"openai/gpt-4": "gpt-4-0613", "local/llama-8b": "llama-3.1-8b-v1.2"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One measure of one real agent run: USD in a cost sample, ms in a duration sample."""

    lane: int
    provider: str
    value: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task takes if nothing stops it."""

    time_ms: int
    cost_usd: Decimal
    tokens_in: int
    tokens_out: int
    tokens_think: int
    energy_kwh: float
    echo_cos: float

    def part(self, share: float) -> Outcome:
        """What it has taken after `share` (0 to 1) of its time; the echo is known only at the end."""
        share = min(1.0, max(0.0, share))
        return replace(
            self,
            time_ms=round(self.time_ms * share),
            cost_usd=(self.cost_usd * Decimal(share)).quantize(SIX_PLACES),
            tokens_in=round(self.tokens_in * share),
            tokens_out=round(self.tokens_out * share),
            tokens_think=round(self.tokens_think * share),
            energy_kwh=self.energy_kwh * share,
        )


class _Pools:
    """Samples by (lane, provider), by lane, and all."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.all: list[float] = []
        self.by_lane: Mapping[int, list[float]] = defaultdict(list)
        self.by_both: Mapping[tuple[int, str], list[float]] = defaultdict(list)
        for sample in samples:
            self.all.append(sample.value)
            self.by_lane[sample.lane].append(sample.value)
            self.by_both[sample.lane, sample.provider].append(sample.value)

    def of(self, lane: int, provider: str) -> Sequence[float]:
        return self.by_both.get((lane, provider)) or self.by_lane.get(lane) or self.all


class Outcomes:
    """Real outcomes to choose from.

    Args:
        costs: USD of real runs; not empty.
        durations: ms of real runs; not empty.
        longest_ms: longer ones are left out.
    """

    def __init__(self, costs: Sequence[Sample], durations: Sequence[Sample], *, longest_ms: int) -> None:
        kept = [sample for sample in durations if sample.value <= longest_ms]
        if not costs or not kept:
            raise ValueError("there must be at least one cost and one duration not longer than the limit")
        self._costs, self._durations = _Pools(costs), _Pools(kept)
        names = {sample.provider for sample in (*costs, *durations)}
        self.providers: dict[str, str] = {**{name: version_of(name) for name in sorted(names)}, **GUIDE_PROVIDERS}

    def choose(self, seed: int, card_key: str, lane: int, provider: str, *, is_outlier: bool) -> Outcome:
        """The outcome of a card: the same for the same seed and card."""
        cost = pick(self._costs.of(lane, provider), seed, "cost", card_key) * (OUTLIER_COST if is_outlier else 1)
        time_ms = pick(self._durations.of(lane, provider), seed, "time", card_key) * (OUTLIER_TIME if is_outlier else 1)
        spoken = min(MAX_TOKENS, round(cost * between(0.2, 0.5, seed, "spoken", card_key) / USD_PER_TOKEN_OUT))
        thought = round(spoken * draw(seed, "thought", card_key))
        read = min(MAX_TOKENS, max(0, round((cost - spoken * USD_PER_TOKEN_OUT) / USD_PER_TOKEN_IN)))
        return Outcome(
            time_ms=round(time_ms),
            cost_usd=Decimal(repr(cost)).quantize(SIX_PLACES),
            tokens_in=read,
            tokens_out=spoken - thought,
            tokens_think=thought,
            energy_kwh=(read + spoken) * KWH_PER_TOKEN,
            echo_cos=round(between(0.85, 0.97, seed, "echo", card_key), 4),
        )


def version_of(provider: str) -> str:
    """The version that a sample's name states in its first parentheses: `Devstral (2512)` → `2512`; else `1`."""
    _, opened, rest = provider.partition("(")
    stated, closed, _ = rest.partition(")")
    return stated if opened and closed and stated[:1].isdigit() else "1"
