"""How are trades and annotations kept, listed and handed to a training or a report?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, NoData, NotFound
from plms_pipeline.models.annotations import files, rules, store
from plms_pipeline.models.annotations.rules import Annotation, Draft
from plms_pipeline.models.annotations.trades import Trade, trades_of
from plms_pipeline.models.market.files.reading import is_sqlite
from plms_pipeline.models.reporting.files import read_predictions
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class About:
    """Which trade: by its id, or by symbol and moment."""

    trade_id: int | None = None
    symbol: str | None = None
    timestamp: datetime | None = None


def record(registry: Registry, about: About, draft: Draft, *, clock: Clock) -> Annotation:
    """Record what a person says of a trade.

    Raises:
        BadInput: it is not told which trade, several are meant, or the annotation breaks a rule.
        NotFound: there is no such trade (`unknown_trade`).
    """
    made = rules.checked(draft)
    with registry.writing() as session:
        found = _found(store.trade(session, about.trade_id), about) if about.trade_id is not None else None
        if found is None:
            if about.symbol is None or about.timestamp is None:
                raise BadInput("Name the trade: --trade-id, or --symbol with --trade-timestamp.", code="which_trade")
            there = store.trades_at(session, about.symbol, about.timestamp)
            if len(there) > 1:
                ids = ", ".join(str(one.trade_id) for one in there)
                raise BadInput(
                    f"There are {len(there)} trades then; name one by --trade-id: {ids}.", code="which_trade"
                )
            found = _found(there[0] if there else None, about)
        return store.add(session, found, made, created_at=made.created_at or clock.now())


def _found(trade: Trade | None, about: About) -> Trade:
    wrong = trade is not None and (
        (about.symbol is not None and about.symbol != trade.symbol)
        or (about.timestamp is not None and about.timestamp != trade.timestamp)
    )
    if trade is None or wrong:
        what = f"trade {about.trade_id}" if about.trade_id is not None else f"trade of {about.symbol}"
        when = "" if about.timestamp is None else f" at {about.timestamp.isoformat()}"
        whose = f" of {about.symbol}" if about.trade_id is not None and about.symbol is not None else ""
        raise NotFound(
            f"There is no {what}{whose}{when}; bring trades in with `plms annotate trades FILE`.", code="unknown_trade"
        )
    return trade


def listed(
    registry: Registry, *, trade_ids: Sequence[int] = (), symbol: str | None = None, decision: str | None = None,
    symbols: Sequence[str] | None = None, limit: int | None = None,
) -> list[Annotation]:  # fmt: skip
    """Annotations, the newest first.

    Raises:
        BadInput: the decision is none of the five.
    """
    if decision is not None and decision not in rules.DECISIONS:
        raise BadInput(
            f"{decision[:40]!r} is no decision; there are {', '.join(rules.DECISIONS)}.", code="bad_annotation"
        )
    with registry.reading() as session:
        return store.spoken(
            session, trade_ids=trade_ids, symbol=symbol, decision=decision, symbols=symbols, limit=limit
        )


def export(registry: Registry, path: Path, *, symbol: str | None = None, decision: str | None = None) -> int:
    """Write annotations to a file, JSON or, by its name, CSV; how many."""
    found = listed(registry, symbol=symbol, decision=decision)
    files.write_annotations(path, [one.as_document() for one in found])
    return len(found)


def positions(registry: Registry, path: Path, *, symbol: str | None = None) -> int:
    """Write the trades of the books as a log of positions, JSON or, by its name, CSV; how many.

    Raises:
        NoData: there is none (`no_trades`); nothing is written.
    """
    with registry.reading() as session:
        found = store.traded(session, symbol)
    if not found:
        whose = "" if symbol is None else f" of {symbol[:64]}"
        raise NoData(
            f"The registry knows no trade{whose}; bring trades in with `plms annotate trades FILE`.", code="no_trades"
        )
    files.write_positions(path, [one.as_position() for one in found])
    return len(found)


def bring_trades(registry: Registry, path: Path) -> tuple[int, int]:
    """Bring a log of trades into the books, in one transaction; how many are new, how many were known.

    Args:
        path: CSV, Parquet, JSON, or SQLite with the table `trades`.

    Raises:
        BadInput, NotFound: it is no table of trades, or not there.
        Conflict: a trade is known with other values (`trade_changed`); nothing was written.
    """
    frame = store.read_trades(str(path.resolve())) if is_sqlite(path) else read_predictions(path)
    given = trades_of(frame)
    with registry.writing() as session:
        added = sum(store.keep_trade(session, one) for one in given)
    return added, len(given) - added
