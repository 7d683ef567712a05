"""What do PLMS and an executor (PAS) say to each other, word by word?

One frozen model per message. What we send admits no field that is not named here, because a misspelt budget that is
silently ignored is discovered by the bill; what we receive may hold more than we know, because executors grow. Every
number is finite and not negative: the source's prototype took NaN costs and negative tokens as they came.

Money is Decimal here and a plain number in JSON: Usd has at most 14 significant digits, which a double carries exactly.
The words of the sources are accepted for ours (`idempotency_key` for `card_key`, `cost` for `cost_usd`, …). Lists of
states are open on the receiving side; `is_ended` and `has_succeeded` say how to read a word that is new to us.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

INT64_MAX: Final = 2**63 - 1
BASE_PATH: Final = "/pas/v1"
ARCHITECT_PATH: Final = "/pas/architect/submit"
RunKind = Literal["baseline", "rehearsal", "replay", "hotfix"]
# Of runs and of tasks. Every other word means that the work has ended, and only `SUCCEEDED` that it ended well.
OPEN_STATES: Final = frozenset(
    {"pending", "planning", "executing", "validating", "paused", "queued", "running", "waiting_io", "waiting"}
)
SUCCEEDED: Final = frozenset({"succeeded", "completed", "success"})


def is_ended(state: str) -> bool:
    """Whether a run's or a task's state is an end; a word that nobody defined is one, and not a good one."""
    return state.lower() not in OPEN_STATES


def has_succeeded(state: str) -> bool:
    """Whether a run's or a task's state is the good end."""
    return state.lower() in SUCCEEDED


def _six_places(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000001"))  # half-even, the context's default


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic turns only ValueError into its own
    return value


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@ ()+,#-]*", value) or ".." in value:
        raise ValueError("may hold letters, digits and ._:/@()+,#- only, without '..'")
    return value


def _to_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Count = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=INT64_MAX)]
Measure = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, le=1, allow_inf_nan=False)]
Cosine = Annotated[float, BeforeValidator(_no_boolean), Field(ge=-1, le=1, allow_inf_nan=False)]
Usd = Annotated[
    Decimal,
    BeforeValidator(_no_boolean),
    Field(ge=0, lt=10**8, allow_inf_nan=False),
    AfterValidator(_six_places),
    PlainSerializer(float, return_type=float, when_used="json"),
]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_identifier)]
# What the operating system takes as an argument or a path: it ends at a zero byte.
Word = Annotated[str, Field(max_length=65_536, pattern=r"^[^\x00]*$")]
# What others call their models: shown and compared, never part of a path.
Provider = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
# An identifier that also becomes part of a path.
RunId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
ProjectId = Annotated[int, Field(ge=0, le=INT64_MAX)]
Lane = Annotated[int, Field(ge=0, le=65535)]
Attempt = Annotated[int, Field(ge=1, le=1000)]
Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Command(BaseModel):
    """What we send: nothing that is not named."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Answer(BaseModel):
    """What we receive: it may hold more than we know."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)


class BudgetCaps(Command):
    """What a whole run may spend; None: no cap of its own."""

    budget_usd: Usd | None = None
    energy_kwh: Measure | None = None


class StartRun(Command):
    """Announce a run. It is complete when `tasks_total` tasks have ended, never earlier and never with none."""

    project_id: ProjectId
    run_id: RunId
    run_kind: RunKind
    tasks_total: Annotated[int, Field(ge=1, le=1_000_000)]
    rehearsal_pct: Fraction | None = None
    budget_caps: BudgetCaps = BudgetCaps()
    passport_sha256: Sha256
    provider_matrix: dict[Provider, Provider]
    write_sandbox: bool = False


class RunAccepted(Answer):
    """The answer to a start. `run_id` is the executor's own, which differs from ours in the dialect `architect`."""

    run_id: RunId
    status: str = "executing"
    duplicate: bool = Field(default=False, validation_alias=AliasChoices("duplicate", "idempotent_replay"))


class CardPayload(Command):
    """What the work is. `command`: program and arguments, no shell; its results belong into `artifacts_dir`."""

    command: Annotated[tuple[Word, ...], Field(min_length=1, max_length=256)] | None = None
    artifacts_dir: Annotated[Word, Field(max_length=4096)] | None = None
    task_kind: str | None = None
    complexity: str | None = None


class JobCard(Command):
    """One attempt at one task. Submitting the same key again is safe, and the only answer to an ambiguous timeout."""

    card_key: Name = Field(validation_alias=AliasChoices("card_key", "idempotency_key"))
    run_id: RunId
    task_id: Name
    attempt: Attempt = 1
    project_id: ProjectId
    lane: Lane = Field(validation_alias=AliasChoices("lane", "lane_id", "tmd_lane"))
    provider: Provider
    provider_version: Provider | None = None
    priority: Fraction = 0.5
    deps: tuple[Name, ...] = Field(default=(), validation_alias=AliasChoices("deps", "dependencies"))
    payload: CardPayload = CardPayload()
    budget_usd: Usd | None = Field(default=None, description="Hard cap: at this spend the work is stopped.")
    ci_width_hint: Measure | None = None


class CardAccepted(Answer):
    """The answer to a card; `duplicate` when the executor knew it already."""

    pas_task_id: Name = Field(validation_alias=AliasChoices("pas_task_id", "task_id"))
    duplicate: bool = Field(default=False, validation_alias=AliasChoices("duplicate", "idempotent_replay"))


class RunAnswer(Answer):
    """The state of a run after it was asked to pause, resume or terminate."""

    run_id: RunId
    status: str


class TaskReceiptMessage(Answer):
    """What one attempt took. Unknown is None, never 0; `time_ms` and `cost_usd` are what the sources demand."""

    task_id: Name
    run_id: RunId
    attempt: Attempt = 1
    lane: Lane = Field(validation_alias=AliasChoices("lane", "lane_id"))
    provider: Provider
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    tokens_think: Count | None = None
    tokens_cached: Count | None = None
    time_ms: Count | None = Field(default=None, validation_alias=AliasChoices("time_ms", "duration_ms"))
    cost_usd: Usd | None = Field(default=None, validation_alias=AliasChoices("cost_usd", "cost"))
    energy_kwh: Measure | None = None
    echo_cos: Cosine | None = None
    status: Literal["succeeded", "failed"]
    started_at: Moment
    completed_at: Moment
    artifacts_path: str | None = None
    provider_version: Provider | None = None
    error: str | None = None

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> TaskReceiptMessage:
        if self.completed_at < self.started_at:
            raise ValueError("completed_at lies before started_at")
        return self

    @property
    def tokens_total(self) -> int | None:
        """Input, output and reasoning together; None when none of them is known. Cached tokens stand apart."""
        known = [count for count in (self.tokens_in, self.tokens_out, self.tokens_think) if count is not None]
        return sum(known) if known else None


class TaskStatus(Answer):
    """One task as the executor sees it now: its newest attempt."""

    task_id: Name
    attempt: Attempt = 1
    lane: Lane = Field(validation_alias=AliasChoices("lane", "lane_id"))
    status: str
    pas_task_id: Name | None = None
    receipt: TaskReceiptMessage | None = None
    receipt_problem: str | None = Field(
        default=None, description="Why a receipt that was sent cannot be believed; it is None then."
    )
    error: str | None = None
    progress: Fraction | None = Field(default=None, validation_alias=AliasChoices("progress", "progress_pct"))
    last_heartbeat_at: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _survive_a_bad_receipt(cls, data: Any) -> Any:
        """One task with a NaN cost must not hide the state of all others."""
        if not isinstance(data, dict) or data.get("receipt") is None:
            return data
        try:
            return {**data, "receipt": TaskReceiptMessage.model_validate(data["receipt"])}
        except ValidationError as error:
            return {**data, "receipt": None, "receipt_problem": problem_of(error)}


class KpiViolation(Answer):
    """A KPI that a worker measured and that did not reach its threshold: shown, never believed."""

    task_id: Name
    kpi_name: str
    expected: Any = None
    actual: Any = None
    passed: bool = Field(default=False, validation_alias=AliasChoices("pass", "passed"), serialization_alias="pass")


class RunStatus(Answer):
    """A run as the executor sees it now. `runway_minutes`: until its cap is reached; None when nothing is spent or capped."""

    run_id: RunId
    status: str
    tasks_total: Count
    tasks_completed: Count
    tasks_failed: Count
    spend_usd: Usd
    spend_energy_kwh: Measure | None = None
    runway_minutes: Measure | None = None
    kpi_violations: tuple[KpiViolation, ...] = ()
    tasks: tuple[TaskStatus, ...] = ()
    reason: str | None = None


class EventMetrics(Answer):
    """The sums in a completion event."""

    tokens_total: Count | None = None
    time_ms: Count | None = None
    cost_usd: Usd | None = None


class KpiClaim(Answer):
    """What the executor says about quality: shown, never believed; our gates measure."""

    name: str
    value: Any = None
    passed: bool = Field(validation_alias=AliasChoices("passed", "pass", "pass_bool"), serialization_alias="pass")


class TaskCompleted(Answer):
    """Event `task_completed`: an attempt ended."""

    task_id: Name
    run_id: RunId
    attempt: Attempt = 1
    status: str
    metrics: EventMetrics = EventMetrics()
    kpis: tuple[KpiClaim, ...] = ()
    receipt: TaskReceiptMessage | None = None


class RunSummary(Answer):
    """The sums in `run_completed`."""

    tasks_total: Count
    tasks_succeeded: Count
    tasks_failed: Count
    spend_usd: Usd
    duration_minutes: Measure | None = None


class RunCompleted(Answer):
    """Event `run_completed`: a hint. A run ends when its tasks have, and our gates decide whether it was good."""

    run_id: RunId
    validation_pass: bool
    summary: RunSummary


class CompletionHint(Answer):
    """The guide's bare event: something of this run ended, go and look."""

    project_id: ProjectId
    run_id: RunId


class ProviderState(Answer):
    """Which version of each provider the executor routes to at this moment."""

    providers: dict[str, str]
    taken_at: Moment


class Health(Answer):
    """Whether the executor works, and what it can do beyond the minimum."""

    status: str
    capabilities: tuple[str, ...] = ()
    active_runs: Count = 0
    total_tasks: Count = 0
    total_receipts: Count = 0
    version: str | None = None


class CardReference(Command):
    """One card, to be cancelled, paused or resumed."""

    run_id: RunId
    task_id: Name
    attempt: Attempt = 1


class RunReference(Command):
    """One run, to be paused, resumed or terminated."""

    run_id: RunId
    reason: Annotated[str, Field(max_length=2000)] = ""


class ArchitectSubmission(Command):
    """The guide's submission: a whole run at once; the executor mints the run id. `run_id` is ours, for reference."""

    project_id: ProjectId
    run_kind: RunKind
    provider_matrix: dict[Provider, Provider]
    run_id: RunId | None = None
    rehearsal_pct: Fraction | None = None
    budget_caps: BudgetCaps = BudgetCaps()
    passport_sha256: Sha256 | None = None
    write_sandbox: bool = False
    tasks: Annotated[tuple[JobCard, ...], Field(min_length=1)]


def problem_of(error: ValidationError) -> str:
    """The first thing that is wrong with a message, in one line: where, and which rule.

    Never the value: a message may hold what must not reach a log.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{where}: {str(first['msg']).removeprefix('Value error, ')}"
