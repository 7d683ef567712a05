"""The books of trades and of what people said about them. Every function takes an open session and never commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import exists, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from plms_pipeline.errors import BadInput, Conflict
from plms_pipeline.models.annotations.rules import Annotation, Draft
from plms_pipeline.models.annotations.trades import COLUMNS, OPTIONAL, Trade
from plms_pipeline.registry.tables import MarketTrade, TradeAnnotation

if TYPE_CHECKING:
    import pandas as pd


def trade(session: Session, trade_id: int) -> Trade | None:
    """A trade by its id."""
    row = session.get(MarketTrade, trade_id)
    return None if row is None else _trade(row)


def trades_at(session: Session, symbol: str, moment: datetime) -> list[Trade]:
    """Trades of a symbol at a moment, by id."""
    rows = session.scalars(
        select(MarketTrade)
        .where(MarketTrade.symbol == symbol, MarketTrade.timestamp == moment)
        .order_by(MarketTrade.trade_id)
    )
    return [_trade(row) for row in rows]


def traded(session: Session, symbol: str | None = None) -> list[Trade]:
    """Every trade, or those of a symbol, by moment."""
    asked = select(MarketTrade).order_by(MarketTrade.timestamp, MarketTrade.trade_id)
    return [
        _trade(row) for row in session.scalars(asked if symbol is None else asked.where(MarketTrade.symbol == symbol))
    ]


def keep_trade(session: Session, given: Trade) -> bool:
    """Keep a trade; whether it is new. One with an id is known by it, one without by everything it says.

    Raises:
        Conflict: its id is known with other values.
    """
    if given.trade_id is not None:
        known = trade(session, given.trade_id)
        if known is not None and known != given:
            raise Conflict(
                f"Trade {given.trade_id} is known with other values; give this one an id of its own.",
                code="trade_changed",
            )
        if known is not None:
            return False
    else:
        same = [one for one in trades_at(session, given.symbol, given.timestamp) if _same(one, given)]
        if same:
            return False
    session.add(
        MarketTrade(
            trade_id=given.trade_id, timestamp=given.timestamp, symbol=given.symbol, side=given.side, size=given.size,
            price=given.price, fees=given.fees, slippage_bp=given.slippage_bp, pnl=given.pnl,
        )
    )  # fmt: skip
    session.flush()
    return True


def add(session: Session, of: Trade, draft: Draft, *, created_at: datetime) -> Annotation:
    """Record a checked annotation of a known trade."""
    row = TradeAnnotation(
        trade_id=of.trade_id, symbol=of.symbol, trade_timestamp=of.timestamp, decision=draft.decision,
        rationale=draft.rationale, confidence=draft.confidence, tags=",".join(draft.tags) or None, author=draft.author,
        created_at=created_at, metadata_json=None if draft.metadata is None else dict(draft.metadata),
        context_window_start=draft.context_from, context_window_end=draft.context_to,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return _annotation(row)


def spoken(
    session: Session, *, trade_ids: Sequence[int] = (), symbol: str | None = None, decision: str | None = None,
    symbols: Sequence[str] | None = None, limit: int | None = None,
) -> list[Annotation]:  # fmt: skip
    """Annotations, the newest first."""
    asked = select(TradeAnnotation).order_by(TradeAnnotation.created_at.desc(), TradeAnnotation.annotation_id.desc())
    if trade_ids:
        asked = asked.where(TradeAnnotation.trade_id.in_(trade_ids))
    if symbol is not None:
        asked = asked.where(TradeAnnotation.symbol == symbol)
    if symbols is not None:
        asked = asked.where(TradeAnnotation.symbol.in_(symbols))
    if decision is not None:
        asked = asked.where(TradeAnnotation.decision == decision)
    return [_annotation(row) for row in session.scalars(asked if limit is None else asked.limit(limit))]


def rejected(session: Session, *, since: datetime | None, until: datetime) -> int:
    """How many trades people rejected in a time and nobody spoke about afterwards.

    Args:
        since: exclusive; None: ever.
        until: inclusive.
    """
    later = aliased(TradeAnnotation)
    newer = exists().where(
        later.trade_id == TradeAnnotation.trade_id,
        tuple_(later.created_at, later.annotation_id)
        > tuple_(TradeAnnotation.created_at, TradeAnnotation.annotation_id),
    )
    asked = select(func.count()).where(
        TradeAnnotation.decision == "reject", TradeAnnotation.created_at <= until, ~newer
    )
    return session.scalar(asked if since is None else asked.where(TradeAnnotation.created_at > since)) or 0


def read_trades(file: str) -> pd.DataFrame:
    """The table `trades` of the source's database; opened read-only.

    Raises:
        BadInput: the file is no such database.
    """
    import pandas as pd

    try:
        with closing(sqlite3.connect(f"file:{quote(file)}?mode=ro", uri=True, timeout=5.0)) as connection:
            there = {str(row[1]) for row in connection.execute("PRAGMA table_info(trades)")}
            names = [name for name in ("trade_id", *COLUMNS, *OPTIONAL) if name in there]
            if not names:
                raise BadInput(f"{file} has no table trades.", code="bad_database")
            asked = f"SELECT {', '.join(names)} FROM trades ORDER BY rowid"  # noqa: S608 - the names are ours
            rows = connection.execute(asked).fetchall()
    except sqlite3.Error as error:
        raise BadInput(f"{file} cannot be read as a database of trades ({error}).", code="bad_database") from None
    return pd.DataFrame(rows, columns=names)


def _same(one: Trade, other: Trade) -> bool:
    return (one.side, one.size, one.price, one.fees, one.slippage_bp, one.pnl) == (
        other.side, other.size, other.price, other.fees, other.slippage_bp, other.pnl,
    )  # fmt: skip


def _trade(row: MarketTrade) -> Trade:
    return Trade(
        row.trade_id, row.timestamp, row.symbol, row.side, row.size, row.price, row.fees, row.slippage_bp, row.pnl
    )


def _annotation(row: TradeAnnotation) -> Annotation:
    return Annotation(
        row.annotation_id, row.trade_id, row.symbol, row.trade_timestamp, row.decision, row.rationale, row.confidence,
        tuple((row.tags or "").split(",")) if row.tags else (), row.author, row.created_at, row.metadata_json,
        row.context_window_start, row.context_window_end,
    )  # fmt: skip
