"""What may be sent to the model server, and what does it answer?

Nothing is guessed: a price that came as text, a volume that is `true`, a moment that is a bare number (seconds, or
milliseconds?) are mistakes of the sender that would otherwise be answered with a position.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from plms_pipeline.models.market.checks import LONGEST_SYMBOL
from plms_pipeline.models.training.features import WARM_UP

MOST_LAST: Final = 1_000
# Of money and of pieces. Beyond it nobody trades, and sums of products of two such numbers stay numbers.
LARGEST_AMOUNT: Final = 1e18
_WRITTEN_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].+)?")


def _utc(moment: datetime) -> datetime:
    """Naive time is UTC, as in files of prices."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC this moment has no year between 1 and 9999") from None


def _written(moment: object) -> object:
    if not isinstance(moment, str) or not _WRITTEN_MOMENT.fullmatch(moment):
        raise ValueError("a moment is written as text, for instance 2026-03-02T14:30:00Z")
    return moment


def _plain(name: str) -> str:
    # "A" and "A " would be two symbols with a cap each.
    if not name.isprintable() or name != name.strip():
        raise ValueError("it has blanks around it or control characters; write the plain name")
    return name


Instant = Annotated[datetime, BeforeValidator(_written), AfterValidator(_utc), Field(examples=["2026-03-02T14:30:00Z"])]
Symbol = Annotated[str, Field(min_length=1, max_length=LONGEST_SYMBOL, examples=["ALPHA"])]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_plain)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Amount = Annotated[Number, Field(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT)]
Count = Annotated[int, Field(ge=1, strict=True)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Form(BaseModel):
    # What is misspelt is refused: a `sektor` that is ignored would pass every sector cap.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bar(_Form):
    """One new bar."""

    timestamp: Instant
    symbol: Symbol
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    extras: dict[Name, Number] = Field({}, description="Further signals that the model was trained on.", max_length=64)


class PredictRequest(_Form):
    """What is to be scored; an empty body: the newest bar of every symbol of the snapshot."""

    bars: list[Bar] | None = Field(
        None, min_length=1, description="New bars, laid over the snapshot's history; their symbols are scored."
    )
    symbols: Annotated[list[Symbol], Field(min_length=1)] | None = Field(
        None, description="Of the snapshot; not together with `bars`."
    )
    last: Count = Field(1, le=MOST_LAST, description="How many of the newest bars of each symbol.")
    limit: Count | None = Field(
        None, description="So many predictions at most; PLMS_MODEL_MAX_ROWS holds all the same."
    )
    history: bool = Field(
        True,
        strict=True,
        description=f"Whether to lay `bars` over the snapshot; without it send {WARM_UP + 1} of each symbol.",
    )
    snapshot: Digest | None = Field(
        None, description="Content hash of another snapshot than the one that the champion was trained on."
    )


class Trade(_Form):
    """One position of one moment; `notional`, or `position` and `price`."""

    timestamp: Instant
    symbol: Annotated[Symbol, AfterValidator(_plain)]
    sector: Name | None = None
    factor: Name | None = None
    notional: Amount | None = None
    price: Amount | None = None
    position: Amount | None = None
    pnl: Amount | None = None


class GuardrailRequest(_Form):
    """A log of positions."""

    trades: list[Trade] = []


class ReloadRequest(_Form):
    """What the sender expects to be promoted; an empty body: whatever is."""

    model_sha256: Digest | None = None


class ModelVersion(BaseModel):
    """Which model answered."""

    model_config = ConfigDict(protected_namespaces=())

    candidate_id: str = Field(examples=["5b0f1f0e-9a3f-4c0f-8a3e-0e9f1a2b3c4d"])
    promotion_id: str = Field(examples=["0b7c9a54-9a3f-4c0f-8a3e-0e9f1a2b3c4d"])
    model_sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])


class Prediction(BaseModel):
    """What the model says of one bar."""

    symbol: str
    window_end: str = Field(description="The bar, UTC.", examples=["2026-03-02T14:30:00Z"])
    pred_step_1: float = Field(description="In deviations of the target.")
    predicted_return: float = Field(description="Log return over the horizon.")
    position: float = Field(description="From -1 (all short) to 1 (all long).")
    volatility: float = Field(description="Realised deviation of the log returns per bar.")


class Telemetry(BaseModel):
    """How an answer came about."""

    prediction_rows: int = Field(description="Before the cap.")
    feature_columns: list[str]
    horizon: int = Field(description="Bars.")
    symbols: list[str]
    sent_bars: int
    snapshot: str | None = Field(description="Content hash of the history, if one was used.")


class PredictAnswer(BaseModel):
    """Predictions, and what answered."""

    rows: int
    predictions: list[Prediction]
    unscored: dict[str, str] = Field(description="Symbols without a prediction for their newest bar, and why.")
    gaps: dict[str, str] = Field(
        description="Symbols with a hole between the history and what was sent, and where: their features are in doubt."
    )
    telemetry: Telemetry
    model: ModelVersion


class Violation(BaseModel):
    """A limit that is broken after enforcement."""

    name: str = Field(examples=["symbol_exposure:ALPHA"])
    value: float
    threshold: float
    message: str


class GuardrailAnswer(BaseModel):
    """The book after enforcement."""

    enabled: bool
    message: str | None = Field(description="Says so when guardrails are switched off.")
    metrics: dict[str, float | None]
    violations: list[Violation]
    scaled: bool
    trades: list[dict[str, Any]]
    exposures: dict[str, dict[str, float]]
    model: ModelVersion | None = Field(description="Whose caps hold; null: none was promoted yet.")


class HealthReason(BaseModel):
    """Why something is not as it should be, and what is to be done."""

    code: str = Field(examples=["run_altered"])
    detail: str


class ModelHealth(BaseModel):
    """What answers, and what should."""

    status: Literal["ok", "degraded", "no_model"]
    reasons: list[HealthReason] = Field(description="What is wrong and its remedy; what hurts most first.")
    model: ModelVersion | None = Field(description="The model that is loaded.")
    promoted_at: str | None
    sequence: int | None = Field(description="The number of the promotion by which it serves.")
    unverified: dict[str, str] | None = Field(
        description="The promoted model that cannot be verified, or no longer can, and why."
    )
    registry: str = Field(description="`read`, or why it could not be.")
    guardrails: dict[str, Any]
    has_history: bool = Field(description="Whether the snapshot of the champion's data is there.")


class ModelConfig(BaseModel):
    """How the model was trained, and which limits are in force."""

    config: dict[str, Any]
    model: ModelVersion | None


class Reloaded(BaseModel):
    """What is loaded now."""

    model: ModelVersion
    changed: bool
