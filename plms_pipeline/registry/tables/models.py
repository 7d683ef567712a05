"""The life of a model: candidates, champions, halts, switches, what serving measured, live snapshots, trades and annotations.

A candidate is a training whose folder is whole: its row holds the hashes that every later step compares again, and nothing can
change them. `champions` is the history of what served; whoever adds the next `sequence` of a family first has promoted, and
nobody else has.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.tables.vocabulary import (
    ANNOTATION_DECISIONS,
    CANDIDATE_STATES,
    MODEL_ACTIONS,
    MODEL_FAMILIES,
    PROMOTION_KINDS,
    TRADE_SIDES,
    one_of,
)
from plms_pipeline.registry.types import Json, UtcDateTime

_HASHES = ("model_sha256", "evaluation_sha256", "data_sha256")


def _digests(*columns: str) -> str:
    return " AND ".join(f"length({name}) = 64" for name in columns)


class Candidate(Base):
    """A trained model that waits for a decision, or what became of it. Its bytes and its origin never change."""

    __tablename__ = "candidates"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        CheckConstraint(one_of("state", CANDIDATE_STATES), name="state_is_known"),
        CheckConstraint(one_of("action", MODEL_ACTIONS), name="action_is_known"),
        CheckConstraint(_digests(*_HASHES, "manifest_sha256", "experiment_sha256"), name="hashes_are_whole"),
        CheckConstraint("trials >= 1", name="trials_count_itself"),
        CheckConstraint("expires_at > created_at", name="expires_after_it_was_made"),
        CheckConstraint(
            "(decision_id IS NULL) = (decided_at IS NULL) AND (decision_id IS NULL) = (decided_by IS NULL)",
            name="who_decided_is_known",
        ),
        CheckConstraint(
            "state IN ('waiting', 'expired') OR decision_id IS NOT NULL", name="nothing_happens_without_a_decision"
        ),
        Index("ix_candidates_family_state", "family", "state"),
        Index("ix_candidates_family_data_sha256", "family", "data_sha256"),
    )

    candidate_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    family: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(24), default="waiting", server_default="waiting")
    # Relative to the data folder: it may be moved.
    folder: Mapped[str] = mapped_column(Text)
    model_sha256: Mapped[str] = mapped_column(String(64))
    evaluation_sha256: Mapped[str] = mapped_column(String(64))
    data_sha256: Mapped[str] = mapped_column(String(64))
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    experiment_sha256: Mapped[str] = mapped_column(String(64))
    trials: Mapped[int] = mapped_column(Integer)
    gates_passed: Mapped[bool] = mapped_column(Boolean)
    alerts_json: Mapped[Any] = mapped_column(Json, nullable=False)
    action: Mapped[str] = mapped_column(String(24))
    blockers_json: Mapped[Any] = mapped_column(Json, nullable=False)
    started_from: Mapped[str | None] = mapped_column(ForeignKey("candidates.candidate_id"))
    requested_by: Mapped[str] = mapped_column(String(255))
    requested_by_verified: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("decisions.decision_id"))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by: Mapped[str | None] = mapped_column(String(255))
    caps_json: Mapped[Any] = mapped_column(Json, nullable=True)


class ModelTrial(Base):
    """One thing that the training of a candidate tried: an experiment, with the weights that it started from. Append-only."""

    __tablename__ = "model_trials"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        CheckConstraint(_digests("data_sha256", "experiment_sha256", "recipe_sha256"), name="hashes_are_whole"),
        Index("ix_model_trials_family_data_sha256", "family", "data_sha256"),
    )

    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.candidate_id"), primary_key=True)
    recipe_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    experiment_sha256: Mapped[str] = mapped_column(String(64))
    family: Mapped[str] = mapped_column(String(16))
    data_sha256: Mapped[str] = mapped_column(String(64))


class Champion(Base):
    """One promotion or rollback. Append-only; the champion of a moment is the greatest sequence that was promoted by then."""

    __tablename__ = "champions"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        CheckConstraint(one_of("kind", PROMOTION_KINDS), name="kind_is_known"),
        CheckConstraint(_digests(*_HASHES), name="hashes_are_whole"),
        CheckConstraint("sequence >= 1", name="sequence_begins_at_one"),
        # The compare-and-set: of two that saw the same champion, one adds the next.
        UniqueConstraint("family", "sequence"),
        Index("ix_champions_family_promoted_at", "family", "promoted_at"),
    )

    promotion_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    family: Mapped[str] = mapped_column(String(16))
    sequence: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.candidate_id"), index=True)
    model_sha256: Mapped[str] = mapped_column(String(64))
    evaluation_sha256: Mapped[str] = mapped_column(String(64))
    data_sha256: Mapped[str] = mapped_column(String(64))
    caps_json: Mapped[Any] = mapped_column(Json, nullable=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.decision_id"))
    promoted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    promoted_by: Mapped[str] = mapped_column(String(255))


class EstimateOutlook(Base):
    """What the promoted model of estimates said when it last read the receipts: what forecasts ask.

    Derived from model and receipts, so it is replaced and never kept; a forecast that used it keeps its hash.
    """

    __tablename__ = "estimate_outlooks"
    __table_args__ = (CheckConstraint("length(sha256) = 64", name="hash_is_whole"),)

    promotion_id: Mapped[str] = mapped_column(ForeignKey("champions.promotion_id"), primary_key=True)
    as_of: Mapped[datetime] = mapped_column(UtcDateTime)
    # Of all days of receipts together, when they were read: more of them now means that there is something to read.
    changes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    document: Mapped[str] = mapped_column(Text)


class PromotionHalt(Base):
    """Nothing of this family is promoted until a person lifts it."""

    __tablename__ = "promotion_halts"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        CheckConstraint(
            "(lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_decision_id IS NULL)",
            name="who_lifted_it_is_known",
        ),
        Index(
            "ix_promotion_halts_open", "family",
            sqlite_where=text("lifted_at IS NULL"), postgresql_where=text("lifted_at IS NULL"),
        ),
    )  # fmt: skip

    halt_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    family: Mapped[str] = mapped_column(String(16))
    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.decision_id"))
    reason: Mapped[str] = mapped_column(Text)
    halted_by: Mapped[str] = mapped_column(String(255))
    halted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(255))
    lift_decision_id: Mapped[str | None] = mapped_column(ForeignKey("decisions.decision_id"))


class GuardrailSwitch(Base):
    """Guardrails of serving on or off. Append-only: the newest row of a family is in force, none means on."""

    __tablename__ = "guardrail_switches"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        Index("ix_guardrail_switches_family", "family", "id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(16))
    enabled: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class ServingMinute(Base):
    """What serving measured in one minute, added up over all its processes: service levels are computed from it.

    Counts: answers of `/predict`, those of 500 and above, those slower than 750 ms; answers of `/guardrails`, those slower than
    250 ms; trades that the guardrails judged, and limits that they found broken.
    """

    __tablename__ = "serving_minutes"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        CheckConstraint(
            "requests >= 0 AND errors >= 0 AND slow_750 >= 0 AND guardrail_requests >= 0 AND slow_250 >= 0"
            " AND trades_evaluated >= 0 AND violations >= 0",
            name="counts_are_not_negative",
        ),
        CheckConstraint(
            "errors <= requests AND slow_750 <= requests AND slow_250 <= guardrail_requests",
            name="a_part_is_no_more_than_the_whole",
        ),
    )

    family: Mapped[str] = mapped_column(String(16), primary_key=True)
    minute: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    requests: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    errors: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    slow_750: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    guardrail_requests: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    slow_250: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    trades_evaluated: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    violations: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class LiveSnapshot(Base):
    """What the live monitor saw of a champion in one window, and what follows from it."""

    __tablename__ = "live_snapshots"
    __table_args__ = (
        CheckConstraint(one_of("family", MODEL_FAMILIES), name="family_is_known"),
        CheckConstraint(one_of("action", MODEL_ACTIONS), name="action_is_known"),
        CheckConstraint('"rows" >= 0', name="rows_are_counted"),
        Index("ix_live_snapshots_family_at", "family", "at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(16))
    promotion_id: Mapped[str | None] = mapped_column(ForeignKey("champions.promotion_id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    window_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    window_to: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rows: Mapped[int] = mapped_column(Integer)
    metrics_json: Mapped[Any] = mapped_column(Json, nullable=False)
    alerts_json: Mapped[Any] = mapped_column(Json, nullable=False)
    action: Mapped[str] = mapped_column(String(24))
    # Of the snapshot's file, relative to the data folder.
    path: Mapped[str | None] = mapped_column(Text)


class MarketTrade(Base):
    """One trade, with the source's columns; profit in the units of the book it came from."""

    __tablename__ = "market_trades"
    __table_args__ = (
        CheckConstraint(one_of("side", TRADE_SIDES), name="side_is_known"),
        Index("ix_market_trades_symbol_timestamp", "symbol", "timestamp"),
    )

    trade_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime)
    symbol: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(8))
    size: Mapped[float] = mapped_column(Float)
    price: Mapped[float] = mapped_column(Float)
    fees: Mapped[float | None] = mapped_column(Float)
    slippage_bp: Mapped[float | None] = mapped_column(Float)
    pnl: Mapped[float | None] = mapped_column(Float)
    metadata_json: Mapped[Any] = mapped_column(Json, nullable=True)


class TradeAnnotation(Base):
    """What an analyst thinks of a trade, and why: the source's table, whose words and bounds the database holds."""

    __tablename__ = "trade_annotations"
    __table_args__ = (
        CheckConstraint(one_of("decision", ANNOTATION_DECISIONS), name="decision_is_known"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence_is_a_fraction"),
        CheckConstraint("context_window_end >= context_window_start", name="context_does_not_end_before_it_begins"),
        Index("idx_trade_annotations_trade_id", "trade_id"),
        Index("idx_trade_annotations_created_at", "created_at"),
    )

    annotation_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    trade_id: Mapped[int] = mapped_column(ForeignKey("market_trades.trade_id"))
    symbol: Mapped[str | None] = mapped_column(String(64))
    trade_timestamp: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decision: Mapped[str] = mapped_column(String(16))
    rationale: Mapped[str] = mapped_column(Text)
    confidence: Mapped[float | None] = mapped_column(Float)
    # A comma list, sorted, each tag once.
    tags: Mapped[str | None] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    metadata_json: Mapped[Any] = mapped_column("metadata", Json, nullable=True)
    context_window_start: Mapped[datetime | None] = mapped_column(UtcDateTime)
    context_window_end: Mapped[datetime | None] = mapped_column(UtcDateTime)
