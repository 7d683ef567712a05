"""What does a book of positions expose us to, which limits does it break, and how is it cut to fit?

A book is all rows of one moment; its exposure to anything is the sum of its rows' absolute notional, so three positions of a
tenth in one sector are three tenths. A symbol that is not in the next book was sold: turnover is counted symbol by symbol, and
swapping one for another is not "nothing changed".

Clipping goes symbol, sector, factor, gross, net, turnover, tail. The first three only shrink rows, the others the whole book by
one ratio, so no later cut can break what an earlier one mended; and limits compare with a relative tolerance, because a
book that was cut to a limit lands on it only up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation import books
from plms_pipeline.models.evaluation.books import Book, Columns, Group
from plms_pipeline.models.evaluation.returns import Floats

Enforcement = Literal["clip", "warn"]
TOLERANCE: Final = 1e-9
# Where two large sums cancel, one cut may land beside the limit by the rounding of the large ones.
_ATTEMPTS: Final = 4
METRICS: Final = (
    "gross_exposure_peak", "gross_exposure_mean", "net_exposure_mean", "net_exposure_peak", "turnover_rate",
    "tail_return_quantile", "tail_return_mean", "tail_event_frequency", "max_symbol_exposure",
)  # fmt: skip
_LIMITS: Final = ("max_gross_exposure", "max_net_exposure", "max_turnover", "max_symbol_exposure", "max_tail_frequency")


@dataclass(frozen=True, slots=True)
class GuardrailConfig:
    """Limits; None is no limit, 0 admits nothing.

    Exposures and turnover are multiples of `capital_base`; `min_tail_return` is in the unit of the return column. A tail
    event is a moment that returns less than `min_tail_return`, so `max_tail_frequency` needs it.

    Raises:
        BadInput: a limit that nothing can be compared with.
    """

    enabled: bool = False
    capital_base: float = 1.0
    tail_percentile: float = 5.0
    max_gross_exposure: float | None = None
    max_net_exposure: float | None = None
    max_turnover: float | None = None
    min_tail_return: float | None = None
    max_tail_frequency: float | None = None
    max_symbol_exposure: float | None = None
    sector_caps: Mapping[str, float] = field(default_factory=dict)
    factor_caps: Mapping[str, float] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)
    enforcement: Enforcement = "clip"

    def __post_init__(self) -> None:
        if self.enforcement not in {"clip", "warn"}:
            raise BadInput(f"enforcement is `{self.enforcement}`; it is clip or warn.")
        if not (math.isfinite(self.capital_base) and self.capital_base > 0):
            raise BadInput(f"capital_base is {self.capital_base}; exposures are multiples of it, so it is above 0.")
        if not 0 < self.tail_percentile < 100:
            raise BadInput(f"tail_percentile is {self.tail_percentile}; it lies between 0 and 100.")
        limits = {name: getattr(self, name) for name in _LIMITS}
        limits |= {f"sector_caps[{name}]": cap for name, cap in self.sector_caps.items()}
        limits |= {f"factor_caps[{name}]": cap for name, cap in self.factor_caps.items()}
        for name, limit in limits.items():
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise BadInput(f"{name} is {limit}; a limit is a finite number, 0 or more.")
        if self.min_tail_return is not None and not math.isfinite(self.min_tail_return):
            raise BadInput(f"min_tail_return is {self.min_tail_return}; a floor is a finite number.")
        if self.max_tail_frequency is not None and self.min_tail_return is None:
            raise BadInput("max_tail_frequency counts returns below min_tail_return; set that, too.")


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that is broken after enforcement: which figure, its value, and the limit."""

    name: str
    value: float
    threshold: float
    message: str

    def as_document(self) -> dict[str, Any]:
        """The violation, as JSON has it."""
        return {"name": self.name, "value": self.value, "threshold": self.threshold, "message": self.message}


@dataclass(frozen=True, slots=True)
class Guarded:
    """A book after enforcement.

    Attributes:
        metrics: the nine figures by name; None where the book does not say (returns unknown, no floor).
        violations: what is still broken.
        scaled: whether any row was cut.
        trades: the rows, with notional, position and return scaled, and notional filled in.
        exposures: by kind (symbol, sector, factor) and name, the peak over moments, largest first.
    """

    metrics: Mapping[str, float | None]
    violations: tuple[Violation, ...]
    scaled: bool
    trades: pd.DataFrame
    exposures: Mapping[str, Mapping[str, float]]


def guardrail_metrics(trades: pd.DataFrame, config: GuardrailConfig) -> dict[str, float | None]:
    """The nine figures of a log of positions.

    Raises:
        BadInput: a column is missing, named.
    """
    return _metrics(books.book_of(trades, config.columns), config)


def guard(trades: pd.DataFrame, config: GuardrailConfig) -> Guarded:
    """Measures a log of positions and, where the limits are to be enforced, cuts it to them.

    Args:
        trades: one row per position and moment.

    Raises:
        BadInput: what a limit needs is missing: notional without price and position, a symbol, a sector under sector caps,
            a factor under factor caps, a return of any row under tail limits. The message names the column.
    """
    book = books.book_of(trades, config.columns)
    if config.enabled:
        _require(book, config)
    clipped = _clipped(book, config) if config.enabled and config.enforcement == "clip" and book.size else book
    metrics = _metrics(clipped, config)
    exposures = {kind: _peaks(clipped, group, config) for kind, group in clipped.groups.items()}
    violations = _violations(metrics, exposures, config) if config.enabled else ()
    scaled = clipped is not book and not np.array_equal(clipped.scale, book.scale)
    return Guarded(metrics, violations, scaled, clipped.as_frame(trades, config.columns), exposures)


def with_caps(config: GuardrailConfig, caps: Mapping[str, float]) -> GuardrailConfig:
    """The guardrails under the caps with which a person approved a candidate: of two limits the stricter one holds.

    Args:
        caps: by the name of the limit; caps of a sector or factor as `sector:NAME`, `factor:NAME`.

    Raises:
        BadInput: there is no such limit, or a cap that nothing can be compared with.
    """
    changed: dict[str, Any] = {"sector_caps": dict(config.sector_caps), "factor_caps": dict(config.factor_caps)}
    for name, cap in caps.items():
        kind, _, member = name.partition(":")
        if name in _LIMITS:
            now = getattr(config, name)
            changed[name] = cap if now is None else min(now, cap)
        elif name == "min_tail_return":
            changed[name] = cap if config.min_tail_return is None else max(config.min_tail_return, cap)
        elif member and kind in {"sector", "factor"}:
            of_kind = changed[f"{kind}_caps"]
            of_kind[member] = min(of_kind.get(member, cap), cap)
        else:
            known = ", ".join((*_LIMITS, "min_tail_return", "sector:NAME", "factor:NAME"))
            raise BadInput(f"There is no limit `{name}` to cap; there are {known}.")
    return replace(config, **changed)


def exceeds(value: float, limit: float) -> bool:
    """Whether a value lies above a limit by more than rounding."""
    return value > limit + TOLERANCE * max(abs(limit), abs(value))


def _metrics(book: Book, config: GuardrailConfig) -> dict[str, float | None]:
    if not book.size:
        return dict.fromkeys(METRICS, 0.0)
    capital = config.capital_base
    gross, net = book.per_moment(np.abs(book.notional)) / capital, book.per_moment(book.notional) / capital
    quantile, mean, frequency = _tail(book, config)
    return {
        "gross_exposure_peak": float(gross.max()),
        "gross_exposure_mean": float(gross.mean()),
        "net_exposure_mean": float(net.mean()),
        "net_exposure_peak": float(np.abs(net).max()),
        "turnover_rate": book.turnover() / capital,
        "tail_return_quantile": quantile,
        "tail_return_mean": mean,
        "tail_event_frequency": frequency,
        "max_symbol_exposure": float(book.peaks(book.groups["symbol"]).max()) / capital,
    }


def _tail(book: Book, config: GuardrailConfig) -> tuple[float | None, float | None, float | None]:
    """Quantile of the moments' returns, mean up to it, and the share of moments below the floor."""
    returns = book.known_returns()
    if not returns.size:
        return None, None, None
    quantile = float(np.percentile(returns, config.tail_percentile))
    floor = config.min_tail_return
    frequency = None if floor is None else float(np.mean(_lies_below(returns, floor)))
    return quantile, float(returns[returns <= quantile].mean()), frequency


def _lies_below(values: Floats, floor: float) -> Floats:
    """1 for each value below the floor by more than rounding: `exceeds` for many."""
    return np.asarray(floor > values + TOLERANCE * np.maximum(np.abs(values), abs(floor)), dtype=np.float64)


def _require(book: Book, config: GuardrailConfig) -> None:
    for kind, caps, column in (
        ("sector", config.sector_caps, config.columns.sector),
        ("factor", config.factor_caps, config.columns.factor),
    ):
        if caps and book.size:
            books.refuse_missing(book.missing[kind], column, f"{kind} caps are set")
    if config.min_tail_return is not None:
        # A moment with one unknown return has none: whoever leaves a loss out would leave its moment out of the tail.
        books.refuse_missing(int(np.isnan(book.returns).sum()), config.columns.returns, "a tail limit is set")


def _clipped(book: Book, config: GuardrailConfig) -> Book:
    capital = config.capital_base
    if config.max_symbol_exposure is not None:
        symbols = book.groups["symbol"]
        book = _cut(book, symbols, dict.fromkeys(symbols.names, config.max_symbol_exposure), capital)
    for kind, caps in (("sector", config.sector_caps), ("factor", config.factor_caps)):
        if caps:
            book = _cut(book, book.groups[kind], caps, capital)
    for name, limit in (
        ("gross_exposure_peak", config.max_gross_exposure),
        ("net_exposure_peak", config.max_net_exposure),
        ("turnover_rate", config.max_turnover),
    ):
        book = _shrunk(book, name, limit, config)
    floor, quantile = config.min_tail_return, _metrics(book, config)["tail_return_quantile"]
    if floor is not None and quantile is not None and exceeds(floor, quantile) and 0 < floor / quantile < 1:
        book = book.scaled(np.full(book.size, floor / quantile))
    return book


def _shrunk(book: Book, name: str, limit: float | None, config: GuardrailConfig) -> Book:
    """The whole book by one ratio, so that a figure keeps its limit; again where longs and shorts nearly cancel in it."""
    for _ in range(_ATTEMPTS):
        value = _metrics(book, config)[name]
        if limit is None or value is None or not exceeds(value, limit):
            return book
        book = book.scaled(np.full(book.size, limit / value))
    return book


def _cut(book: Book, group: Group, caps: Mapping[str, float], capital: float) -> Book:
    """Every row of a group above its cap, at every moment, by the same ratio."""
    ratios: Floats = np.ones(len(group.names) + 1)
    for code, (name, peak) in enumerate(zip(group.names, book.peaks(group) / capital, strict=True)):
        cap = caps.get(name)
        if cap is not None and exceeds(float(peak), cap):
            ratios[code] = cap / peak
    # Rows of no group have the code -1: the last ratio, which is 1.
    return book if np.all(ratios == 1.0) else book.scaled(ratios[group.codes])


def _peaks(book: Book, group: Group, config: GuardrailConfig) -> dict[str, float]:
    peaks = book.peaks(group) / config.capital_base
    order = np.argsort(-peaks, kind="stable")
    return {group.names[code]: float(peaks[code]) for code in order}


def _violations(
    metrics: Mapping[str, float | None], exposures: Mapping[str, Mapping[str, float]], config: GuardrailConfig
) -> tuple[Violation, ...]:
    above: list[tuple[str, float | None, float | None]] = [
        ("gross_exposure_peak", metrics["gross_exposure_peak"], config.max_gross_exposure),
        ("net_exposure_peak", metrics["net_exposure_peak"], config.max_net_exposure),
        ("turnover_rate", metrics["turnover_rate"], config.max_turnover),
        ("tail_event_frequency", metrics["tail_event_frequency"], config.max_tail_frequency),
    ]
    symbols = exposures.get("symbol", {})
    above += [(f"symbol_exposure:{name}", value, config.max_symbol_exposure) for name, value in symbols.items()]
    for kind, caps in (("sector", config.sector_caps), ("factor", config.factor_caps)):
        above += [(f"{kind}_exposure:{name}", exposures.get(kind, {}).get(name), cap) for name, cap in caps.items()]
    broken = [
        Violation(name, value, limit, f"{name} is {value:.6g}, above its limit {limit:.6g}")
        for name, value, limit in above
        if value is not None and limit is not None and exceeds(value, limit)
    ]
    quantile, floor = metrics["tail_return_quantile"], config.min_tail_return
    if quantile is not None and floor is not None and exceeds(floor, quantile):
        message = f"tail_return_quantile is {quantile:.6g}, below its floor {floor:.6g}"
        broken.append(Violation("tail_return_quantile", quantile, floor, message))
    return tuple(broken)
