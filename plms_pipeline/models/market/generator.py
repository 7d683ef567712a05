"""What does a market look like whose truth is known?

Seeded worlds for tests and demonstrations: a market factor with a beta per symbol, stochastic volatility that clusters,
volume that answers to moves, and a latent AR(1) drift of each symbol that can be learnt as far as `signal_to_noise` allows.
At 0 nothing can be learnt: what still passes the gates passes by luck. The drift shows in the returns of the next bar and,
under noise, in the signal `alt`. Faults can be planted to see whether checks and monitors notice. The source's generator
draws independent normal returns: nothing is learnable there, and nothing clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import UNIT, Bars, Floats, Instants, Ints, RawBars, canonical

FaultKind: TypeAlias = Literal["shift", "variance_jump", "gap", "stale_feed", "duplicate_rows"]

DRIFT_MEMORY: Final = 0.97
VOLATILITY_MEMORY: Final = 0.98
VOLATILITY_SPREAD: Final = 0.35
# Of the variance of a symbol with beta 1, this share moves with the market.
MARKET_SHARE: Final = 0.3
FIRST_DAY: Final = "2000-01-03"
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong from `at` (a fraction of the history) on, for `bars` bars, in `symbol` (all if None).

    `size` for shift: change of the mean return in standard deviations; for variance_jump: factor on the returns.
    """

    kind: FaultKind
    at: float = 0.8
    bars: int = 50
    size: float = 3.0
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What to generate. `bar_minutes` 1440 makes one bar per weekday, anything else a clock that never closes."""

    symbols: int = 4
    bars: int = 4_000
    signal_to_noise: float = 0.2
    volatility: float = 0.012
    bar_minutes: int = _DAY_MINUTES
    first_day: str = FIRST_DAY
    has_alt: bool = True
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """A generated market: rows as a file would hold them, and the truth behind them.

    `drift` (symbols × bars) is the latent signal in units of its own deviation; `benchmark` the equally weighted simple
    return per timestamp, 0 for the first.
    """

    raw: RawBars
    calendar: Instants
    benchmark: Floats
    drift: Floats

    def bars(self) -> Bars:
        """The canonical bars; raises BadInput when a fault made rows that must be rejected first."""
        return canonical(self.raw)


def generate(world: World, seed: int) -> Market:
    """Make a market. The same world and seed give the same numbers on every machine with the same numpy.

    Args:
        world: shape, signal and faults.
        seed: any integer of 0 or more.

    Raises:
        BadInput: the world has no symbols or under two bars, or a fault names a symbol that is not in it.
    """
    _refuse_impossible(world)
    rng = np.random.default_rng(seed)
    shape = (world.symbols, world.bars)
    drift = _remembering(rng.standard_normal(shape), DRIFT_MEMORY)
    noise = _noise(rng, shape)
    # The drift of a bar is known at its end and moves the next one.
    returns = noise
    returns[:, 1:] += world.signal_to_noise * drift[:, :-1]
    for fault in world.faults:
        _bend(returns, fault, world)
    returns *= world.volatility
    returns[:, 0] = 0.0
    names = symbol_names(world.symbols)
    numbers = _bars_of(rng, returns, world)
    told = world.signal_to_noise * drift + rng.standard_normal(shape)
    extras = {"alt": told.ravel()} if world.has_alt else {}
    calendar = _calendar(world)
    raw = RawBars(
        np.tile(calendar, world.symbols),
        np.repeat(np.array(names, dtype=object), world.bars),
        {name: values.ravel() for name, values in numbers.items()},
        extras,
    )
    benchmark = np.expm1(returns).mean(axis=0)
    return Market(_spoil(raw, world), calendar, benchmark, drift)


def symbol_names(count: int) -> tuple[str, ...]:
    """Names of generated symbols: they sort in the order in which they are made."""
    return tuple(f"SIM{place:03d}" for place in range(count))


def _refuse_impossible(world: World) -> None:
    if world.symbols < 1 or world.bars < 2 or world.bar_minutes < 1 or world.volatility <= 0.0:
        raise BadInput("A market needs a symbol, two bars, a positive bar length and volatility.", code="bad_world")
    names = symbol_names(world.symbols)
    for fault in world.faults:
        if not 0.0 <= fault.at < 1.0 or fault.bars < 1 or (fault.symbol is not None and fault.symbol not in names):
            raise BadInput(
                f"The fault {fault.kind} needs 0 ≤ at < 1, at least one bar, and a symbol of {names[0]} … {names[-1]}.",
                code="bad_world",
            )


def _remembering(noise: Floats, memory: float) -> Floats:
    """AR(1) along the last axis with unit variance from the first value on."""
    # As a weighted mean: what is new has the weight 1 − memory.
    shocks = noise * (np.sqrt(1.0 - memory**2) / (1.0 - memory))
    shocks[..., 0] = noise[..., 0]
    return np.asarray(pd.DataFrame(shocks.T).ewm(alpha=1.0 - memory, adjust=False).mean()).T


def _volatility(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """A level that clusters, with mean square 1."""
    return np.asarray(
        np.exp(VOLATILITY_SPREAD * _remembering(rng.standard_normal(shape), VOLATILITY_MEMORY) - VOLATILITY_SPREAD**2)
    )


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Returns without signal, in units of their deviation: market factor times beta, and the symbol's own."""
    betas = rng.uniform(0.6, 1.4, size=(shape[0], 1))
    market = _volatility(rng, (1, shape[1])) * rng.standard_normal((1, shape[1]))
    own = _volatility(rng, shape) * rng.standard_normal(shape)
    return np.asarray(np.sqrt(MARKET_SHARE) * betas * market + np.sqrt(1.0 - MARKET_SHARE) * own)


def _bend(returns: Floats, fault: Fault, world: World) -> None:
    """Faults of the market itself: they last to the end."""
    rows = _symbols_of(fault, world)
    first = int(fault.at * world.bars)
    if fault.kind == "shift":
        returns[rows, first:] += fault.size
    elif fault.kind == "variance_jump":
        returns[rows, first:] *= fault.size


def _symbols_of(fault: Fault, world: World) -> Sequence[int]:
    names = symbol_names(world.symbols)
    return range(world.symbols) if fault.symbol is None else [names.index(fault.symbol)]


def _bars_of(rng: np.random.Generator, returns: Floats, world: World) -> dict[str, Floats]:
    shape = returns.shape
    base = rng.uniform(40.0, 400.0, size=(shape[0], 1))
    # Bounded, so that a long shift does not leave the numbers.
    close = base * np.exp(np.clip(np.cumsum(returns, axis=1), -50.0, 50.0))
    before = np.concatenate([base, close[:, :-1]], axis=1)
    opened = before * np.exp(0.15 * world.volatility * rng.standard_normal(shape))
    reach = 0.5 * world.volatility * np.abs(rng.standard_normal((2, *shape)))
    high = np.maximum(opened, close) * np.exp(reach[0])
    low = np.minimum(opened, close) * np.exp(-reach[1])
    usual = rng.lognormal(14.0, 0.5, size=(shape[0], 1))
    volume = usual * np.exp(0.25 * rng.standard_normal(shape)) * (1.0 + np.abs(returns) / world.volatility)
    return {"open": opened, "high": high, "low": low, "close": close, "volume": np.round(volume)}


def _calendar(world: World) -> Instants:
    if world.bar_minutes == _DAY_MINUTES:
        days = np.busday_offset(world.first_day, np.arange(world.bars), roll="forward")
        return np.asarray(days.astype(UNIT))
    step = np.timedelta64(world.bar_minutes * 60_000_000, "us")
    return np.asarray(np.datetime64(world.first_day).astype(UNIT) + step * np.arange(world.bars))


def _spoil(raw: RawBars, world: World) -> RawBars:
    """Faults of the feed: rows that are missing, repeated or doubled."""
    numbers = {name: values.copy() for name, values in raw.numbers.items()}
    for fault in world.faults:
        if fault.kind == "stale_feed":
            first = int(fault.at * world.bars)
            for rows in _spans(fault, world):
                last_known = rows[0] - (1 if first else 0)
                for values in numbers.values():
                    values[rows] = values[last_known]
    lost, doubled = _rows(world, "gap"), _rows(world, "duplicate_rows")
    keep = np.setdiff1d(np.arange(raw.count), lost)
    order = np.sort(np.concatenate([keep, np.intersect1d(doubled, keep)]))
    spoilt = replace(raw, numbers=numbers).take(order)
    return replace(spoilt, line=np.arange(1, spoilt.count + 1, dtype=np.int64))


def _spans(fault: Fault, world: World) -> list[Ints]:
    """The rows of each symbol that a fault touches, before any row is taken away."""
    first = int(fault.at * world.bars)
    span = np.arange(first, min(first + fault.bars, world.bars), dtype=np.int64)
    return [span + code * world.bars for code in _symbols_of(fault, world)]


def _rows(world: World, kind: FaultKind) -> Ints:
    spans = [rows for fault in world.faults if fault.kind == kind for rows in _spans(fault, world)]
    return np.unique(np.concatenate(spans)) if spans else np.zeros(0, dtype=np.int64)
