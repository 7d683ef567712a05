"""What can be configured, and where did each value come from?

Every environment variable of the project is a field here: typed, with unit, default and meaning, validated once. An
unknown `PLMS_*` variable is an error, because a misspelt limit that is silently ignored is discovered by the bill.
`docs/settings.md` and `plms settings` are both made from this module.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from plms_pipeline.errors import BadInput

PREFIX = "PLMS_"


def is_http_url(text: str) -> bool:
    """Whether a text is a whole http:// or https:// address, with a host and no port that cannot be."""
    try:
        parts = urlsplit(text)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
    return parts.scheme in ("http", "https") and has_place and text.isascii() and text.isprintable() and " " not in text


def project_root() -> Path | None:
    """The checkout that this package runs from (it holds `dagster.yaml`), or None when installed elsewhere."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "dagster.yaml").is_file() or (root / "pyproject.toml").is_file() else None


INT64_MAX = 2**63 - 1
# One pebibyte: what is larger was meant in bytes.
MAX_DISK_MB = 2**30


def _anchored(text: str) -> Path:
    """An absolute path without symbolic links; a relative one starts at the checkout, never at the current directory.

    Raises:
        ValueError: the path is relative and there is no checkout, or `~name` is nobody's home.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError("starts with the home directory of a user that does not exist") from None
    if not path.is_absolute():
        root = project_root()
        if root is None:
            raise ValueError("must be an absolute path, because this installation is not a checkout")
        path = root / path
    return path.resolve()


def _sqlite_url(file: Path) -> str:
    """The URL of a database file; a database URL is percent-encoded, a path is not."""
    return f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"


def _field(
    default: Any,
    unit: str,
    description: str,
    *,
    secret: bool = False,
    is_secret_path: bool = False,
    variable: str | None = None,
    **rules: Any,
) -> Any:
    """A setting. `is_secret_path`: the path of the URL is the secret, and is not shown either."""
    extra: dict[str, Any] = {"unit": unit, "secret": secret or is_secret_path, "secret_path": is_secret_path}
    if variable is not None:
        extra["variable"] = variable
    return Field(default=default, description=description, json_schema_extra=extra, **rules)


class Settings(BaseModel):
    """All settings, validated and frozen. Field `x` is read from the variable `PLMS_X`, or from one that the guides named."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    data_dir: Path = _field(None, "path", "Everything the pipeline stores: registry, Parquet files, Dagster's storage.")
    reports_dir: Path = _field(None, "path", "What people read: nightly reports, screenshots.")
    database_url: str = _field(
        None,
        "URL",
        "The registry: sqlite:///… or postgresql+psycopg://…; default registry.db in the data directory.",
        secret=True,
    )
    first_day: date = _field(date(2023, 1, 1), "date", "Receipts completed before this UTC day are quarantined.")
    max_cost_usd: Decimal = _field(Decimal(10_000), "USD", "A receipt that costs more is quarantined.", gt=0, lt=10**8)
    max_duration_ms: int = _field(
        30 * 86_400_000, "ms", "A receipt that took longer is quarantined.", gt=0, le=INT64_MAX
    )
    max_tokens: int = _field(1_000_000_000, "tokens", "A receipt with more tokens is quarantined.", gt=0, le=INT64_MAX)
    alpha: float = _field(0.3, "fraction", "Weight of the newest receipt in the trend (EWMA) of a prior.", gt=0, lt=1)
    kpi_database_url: str | None = _field(
        None,
        "URL",
        "Database that schema_diff and row_count_delta measure; default kpi_warehouse.db in the data "
        "directory when that file exists.",
        secret=True,
    )
    kpi_timeout_s: int = _field(300, "s", "Wall clock after which a KPI child process group is killed.", ge=1, le=3600)
    neo4j_url: str | None = _field(
        None, "URL", "Neo4j HTTP endpoint (http:// or https://) that graph_edge_count_delta measures."
    )
    neo4j_database: str = _field("neo4j", "name", "Database name at the Neo4j endpoint.", min_length=1)
    neo4j_user: str = _field("neo4j", "name", "User at the Neo4j endpoint.")
    neo4j_password: str | None = _field(None, "text", "Password at the Neo4j endpoint.", secret=True)
    echo_gate: Literal["advisory", "enforce"] = _field(
        "advisory", "mode", "Whether the echo cosine (>= 0.82) only advises or blocks like any other gate."
    )
    ui_host: str = _field("127.0.0.1", "host", "Address that the guarded Dagster UI binds.")
    ui_port: int = _field(3000, "port", "Port of the guarded Dagster UI.", ge=1, le=65535)
    ui_allowed_hosts: str = _field(
        "localhost,127.0.0.1,[::1]", "hosts", "Host names, comma-separated, that the guarded UI answers to."
    )
    ui_public_url: str | None = _field(
        None,
        "url",
        "Where people's browsers reach the guarded Dagster UI, for links to it; default: host and port above.",
    )
    api_host: str = _field("127.0.0.1", "host", "Address that `plms serve` binds.")
    api_port: int = _field(6100, "port", "Port of `plms serve`.", ge=1, le=65535)
    api_max_body_bytes: int = _field(
        2**20, "bytes", "A request to `plms serve` with a larger body is refused (413).", ge=1024, le=2**30
    )
    exporter_host: str = _field("127.0.0.1", "host", "Address that `plms exporter` binds; it has no login.")
    exporter_port: int = _field(9464, "port", "Port of `plms exporter`.", ge=1, le=65535)
    exporter_timeout_s: float = _field(
        5.0, "s", "How long a scrape waits for the registry, Dagster or Redis before it goes without.", ge=0.1, le=60
    )
    auth: Literal["jwt", "disabled"] = _field(
        "jwt", "mode", "Who may use API and UI: whoever has a valid token, or (on a loopback address only) everybody."
    )
    jwt_issuer: str = _field("plms", "name", "What claim `iss` of a token must be.", min_length=1)
    jwt_audience: str = _field("plms-api", "name", "What claim `aud` of a token must hold.", min_length=1)
    jwt_public_keys: Path | None = _field(
        None, "path", "JWK set with the RSA keys that verify tokens; default: the keys that `plms token keys` made."
    )
    proxy_user_header: str | None = _field(
        None, "header", "Header in which a reverse proxy names the signed-in user, such as X-Forwarded-User."
    )
    proxy_role_header: str | None = _field(
        None, "header", "Header with the user's roles or groups, separated by commas, such as X-Forwarded-Groups."
    )
    proxy_addresses: str = _field(
        "", "addresses", "Addresses or networks, comma-separated, from which the proxy's headers are believed."
    )
    proxy_roles: str = _field(
        "",
        "mapping",
        "Role of each group, such as plms-oncall=operator,plms-risk=approver,*=viewer; default: groups are named as roles. "
        "Who has none of them is a viewer.",
    )
    ui_nameless: Literal["view", "refuse"] = _field(
        "view", "mode", "Whether somebody who has not signed in may look at the guarded UI (never more than look)."
    )
    redis_url: str | None = _field(
        None,
        "URL",
        "Redis (server or cluster) that caches finished answers; losing it costs latency only.",
        secret=True,
        variable="REDIS_URL",
    )
    use_redis: bool | None = _field(None, "flag", "Whether Redis is used; default: when REDIS_URL is set.")
    idempotency_ttl_seconds: int = _field(
        86_400,
        "s",
        "How long an Idempotency-Key is remembered.",
        variable="IDEMPOTENCY_TTL_SECONDS",
        ge=60,
        le=31 * 86_400,
    )
    idempotency_keys: Literal["uuid", "any"] = _field(
        "uuid", "mode", "What an Idempotency-Key may be: a UUID, or any 8 to 255 visible ASCII characters."
    )
    pas_url: str = _field(
        "http://127.0.0.1:6200", "URL", "The executor (PAS) that works the job cards.", pattern=r"^https?://\S+$"
    )
    pas_timeout_s: float = _field(
        10.0, "s", "How long PLMS waits for a connection to the executor, and for each part of an answer.", gt=0, le=300
    )
    pas_dialect: Literal["pas", "architect"] = _field(
        "pas", "mode", "`pas`: runs, then cards (/pas/v1); `architect`: whole runs at once (/pas/architect/submit)."
    )
    pas_token: str | None = _field(None, "text", "Bearer token that the executor demands.", secret=True)
    pas_webhook_secret: str | None = _field(
        None,
        "text",
        "What the executor signs its events with; default: made once in secrets/pas_webhook in the data directory.",
        secret=True,
        min_length=16,
    )
    reconcile_after_s: float = _field(
        60.0,
        "s",
        "A run this old is compared with the executor's status, so that lost events are found.",
        ge=0.1,
        le=86_400,
    )
    budget_check_s: float = _field(
        60.0,
        "s",
        "How often the money of projects that work is looked at; those that rest every 10 min.",
        ge=1.0,
        le=3_600,
    )
    evidence_backend: Literal["registry", "redis"] = _field(
        "registry", "mode", "Where heat and other evidence of foreign components is looked for, and observations told."
    )
    heat_obs_enabled: bool = _field(
        True, "flag", "Whether a run that ended owes a heat record.", variable="P28_HEAT_OBS_ENABLED"
    )
    heat_obs_stream: str = _field(
        "quantum:stream:apply.heat.observed",
        "key",
        "Redis stream on which every observation is told.",
        variable="P28_HEAT_OBS_STREAM",
        min_length=1,
    )
    heat_lookup_prefix: str | None = _field(
        None,
        "key",
        "Prefix of the Redis hashes that hold evidence, the same for who writes and who looks; PLMS_EVIDENCE_BACKEND=redis "
        "needs it.",
        variable="P28_HEAT_LOOKUP_PREFIX",
        min_length=1,
    )
    heat_ttl_s: int = _field(
        1800, "s", "How long a heat record stays in Redis.", variable="P27_TTL_PLAN_SEC", ge=60, le=31 * 86_400
    )
    late_obs_enabled: bool = _field(
        True, "flag", "Whether `plms serve` observes late evidence.", variable="P28_LATE_OBS_ENABLED"
    )
    late_obs_max_wait_ms: int = _field(
        2000,
        "ms",
        "Evidence is late after this time since acceptance.",
        variable="P28_LATE_OBS_MAX_WAIT_MS",
        ge=100,
        le=3_600_000,
    )
    late_obs_poll_ms: int = _field(
        100, "ms", "How often pending evidence is looked for.", variable="P28_LATE_OBS_POLL_MS", ge=10, le=60_000
    )
    late_obs_max_inflight: int = _field(
        200,
        "obligations",
        "So many are waited for at a time; what cannot wait is dropped, and recorded.",
        variable="P28_LATE_OBS_MAX_INFLIGHT",
        ge=1,
        le=100_000,
    )
    late_obs_max_workers: int = _field(
        4,
        "threads",
        "Threads of the observer that talk to Redis and the registry.",
        variable="P28_LATE_OBS_MAX_WORKERS",
        ge=2,
        le=64,
    )
    late_obs_max_errors: int = _field(
        2,
        "errors",
        "Looks that may fail before an observation ends as `redis_error`.",
        variable="P28_LATE_OBS_MAX_ERRORS",
        ge=1,
        le=100,
    )
    max_debug_chars: int = _field(
        400, "characters", "Longest `debug_json` of an observation.", variable="P28_MAX_DEBUG_CHARS", ge=0, le=10_000
    )
    concurrency_limit: int = _field(
        3,
        "starts",
        "How many starts outside an approved project may go on at once (`plms guard`).",
        variable="CONCURRENCY_LIMIT",
        ge=0,
        le=100_000,
    )
    qps_limit: float = _field(
        2.0,
        "1/s",
        "How many starts outside an approved project may begin per second.",
        variable="QPS_LIMIT",
        gt=0,
        le=10_000,
    )
    daily_budget_usd: Decimal = _field(
        Decimal("50.00"),
        "USD",
        "What starts outside an approved project may spend per day.",
        variable="DAILY_BUDGET_USD",
        ge=0,
        lt=10**8,
    )
    budget_time_zone: str = _field("UTC", "zone", "IANA time zone in whose days the daily budgets count.")
    launcher_lease_s: float = _field(
        3600.0,
        "s",
        "How long a start outside an approved project holds its place when nobody says that it ended.",
        ge=1,
        le=7 * 86_400,
    )
    pas_qps: float = _field(50.0, "1/s", "How many cards and runs the executor is sent per second.", gt=0, le=10_000)
    pas_max_runs: int = _field(100, "runs", "How many runs the executor is given at once.", ge=0, le=100_000)
    lane_preemption: Literal["on", "off"] = _field(
        "on",
        "mode",
        "Whether a running task may be paused for a project that has waited too long; only where the executor can "
        "(`pause_task`), and never twice for the same task.",
    )
    lane_autoscale: Literal["on", "off"] = _field(
        "off",
        "mode",
        "Whether caps move by themselves, at most once an hour per lane: one more slot while a lane is full and healthy, half "
        "of them when it is in trouble. Each move is a decision.",
    )
    lane_autoscale_min: int = _field(
        1,
        "slots",
        "The least cap that a lane moves to by itself; one that is lower stays where it is.",
        ge=1,
        le=10_000,
    )
    lane_autoscale_max: int = _field(
        16, "slots", "The most that a cap moves to by itself; one that is higher stays where it is.", ge=1, le=10_000
    )
    portfolio_daily_usd: Decimal | None = _field(
        None, "USD", "What all approved projects together may spend per day; default: no limit.", ge=0, lt=10**8
    )
    env_name: str = _field(
        "development",
        "name",
        "What messages call this installation.",
        variable="ENV_NAME",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
    )
    budget_idle_check_s: float = _field(
        600.0, "s", "How often the budgets of projects without a run under way are.", ge=1, le=86_400
    )
    alert_rules: Path | None = _field(None, "path", "Rules of the alert engine; default: those that are shipped.")
    oncall_file: Path | None = _field(
        None, "path", "Who is told what, over which channel; default: deploy/oncall.yaml of the checkout."
    )
    alert_attempts: int = _field(
        20, "attempts", "So often a message is tried before it becomes a dead letter.", ge=1, le=1000
    )
    slack_webhook_url: str | None = _field(
        None,
        "URL",
        "Slack incoming webhook for alerts; the URL itself is the secret.",
        is_secret_path=True,
        variable="SLACK_WEBHOOK_URL",
    )
    pd_routing_key: str | None = _field(
        None,
        "text",
        "Routing key of the PagerDuty service (Events API v2) that is paged.",
        secret=True,
        variable="PD_ROUTING_KEY",
        pattern=r"^[A-Za-z0-9]{32}$",
    )
    pagerduty_url: str = _field(
        "https://events.pagerduty.com/v2/enqueue",
        "URL",
        "Where PagerDuty takes events; accounts in Europe: https://events.eu.pagerduty.com/v2/enqueue.",
    )
    smtp_url: str | None = _field(
        None,
        "URL",
        "Mail server for alerts: smtp://user:password@host:587 (with STARTTLS, but on this machine) or smtps://….",
        secret=True,
    )
    alert_email: str | None = _field(
        None, "address", "Who gets alert mail that nobody is named for in deploy/oncall.yaml.", variable="ALERT_EMAIL"
    )
    ticket_url: str | None = _field(None, "URL", "Webhook of a ticket system for alerts.", is_secret_path=True)
    ticket_secret: str | None = _field(
        None, "text", "What requests to the ticket system are signed with.", secret=True, min_length=16
    )
    purge_runs_days: int = _field(
        90,
        "days",
        "`plms purge` removes runs of Dagster that ended longer ago, but none that holds the newest word about an asset.",
        ge=1,
        le=36_500,
    )
    purge_ticks_days: int = _field(
        90, "days", "`plms purge` removes older ticks of schedules and sensors, and their output.", ge=1, le=36_500
    )
    purge_quarantine_days: int = _field(
        180, "days", "`plms purge` removes lists of refused rows that are older.", ge=1, le=36_500
    )
    purge_temporary_days: int = _field(
        1, "days", "`plms purge` removes half-written files that nobody touched for so long.", ge=1, le=36_500
    )
    backup_to: str | None = _field(
        None,
        "URL",
        "Folder or fsspec URL (such as s3://bucket/plms) that `plms backup create` writes to when none is named.",
        secret=True,
    )
    pg_bin_dir: Path | None = _field(
        None,
        "path",
        "Folder with pg_dump and pg_restore, for backups of a registry on PostgreSQL; default: those on PATH.",
    )
    git_commit: str | None = _field(
        None, "commit", "The commit that passports name; default: that of the checkout.", pattern=r"^[0-9a-f]{40,64}$"
    )
    min_free_disk_mb: int = _field(1024, "MiB", "`plms doctor` complains below this free space.", ge=0, le=MAX_DISK_MB)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _field("WARNING", "level", "Log level of `plms`.")

    @field_validator("data_dir", "reports_dir", mode="before")
    @classmethod
    def _absolute(cls, value: object) -> Path:
        return _anchored(str(value))

    @field_validator("jwt_public_keys", "pg_bin_dir", "alert_rules", "oncall_file", mode="before")
    @classmethod
    def _absolute_or_none(cls, value: object) -> Path | None:
        return None if value is None else _anchored(str(value))

    @field_validator("backup_to", mode="before")
    @classmethod
    def _absolute_unless_url(cls, value: object) -> object:
        return str(_anchored(value)) if isinstance(value, str) and "://" not in value else value

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("budget_time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (KeyError, ValueError, OSError):  # unknown, no path at all, a folder
            raise ValueError("must be a time zone such as UTC or America/New_York") from None

    @field_validator("first_day", mode="before")
    @classmethod
    def _calendar_day(cls, value: object) -> object:
        # pydantic also reads a number as seconds since 1970: PLMS_FIRST_DAY=0 would admit fifty years of receipts.
        return date.fromisoformat(value) if isinstance(value, str) else value

    @field_validator("neo4j_url")
    @classmethod
    def _http_endpoint(cls, value: str | None) -> str | None:
        if value is not None and not is_http_url(value):
            raise ValueError(
                "must be http://host:port or https://host:port; Bolt is not spoken, Neo4j's HTTP port is 7474"
            )
        return value

    @field_validator("ui_public_url")
    @classmethod
    def _address_of_a_page(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a bracket that is not closed
            is_address = False
        if not is_address or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must be http://host:port or https://host/path, without user, query and fragment")
        return value.rstrip("/")

    @field_validator("database_url", "kpi_database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.startswith("postgresql://"):
            return "postgresql+psycopg://" + value.removeprefix("postgresql://")
        if value.startswith("postgresql+psycopg://"):
            return value
        scheme, separator, path = value.partition("sqlite:///")
        if scheme or not separator:
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        file, question, query = path.partition("?")
        if not file or file == ":memory:":
            raise ValueError("must name a file: a database in memory is gone when the command ends")
        return f"{_sqlite_url(_anchored(unquote(file)))}{question}{query}"

    def __repr_args__(self) -> Iterator[tuple[str, str]]:
        """What `repr` shows: a settings object ends up in logs and tracebacks, a password must not."""
        return ((field, shown_value(field, str(getattr(self, field) or ""))) for field in type(self).model_fields)

    @property
    def redis_is_used(self) -> bool:
        """Whether answers are cached in Redis."""
        return self.redis_url is not None and self.use_redis is not False

    @property
    def dagster_url(self) -> str:
        """Where people's browsers reach the guarded Dagster UI."""
        host = f"[{self.ui_host}]" if ":" in self.ui_host else self.ui_host
        return self.ui_public_url or f"http://{host}:{self.ui_port}"

    @property
    def artifacts_inbox(self) -> Path:
        """Where artifacts wait for the nightly KPI evaluation."""
        return self.data_dir / "artifacts" / "inbox"


def variable_of(field: str) -> str:
    """The environment variable of a field: `data_dir` → `PLMS_DATA_DIR`; a few keep the name that the guides gave them."""
    extra = Settings.model_fields[field].json_schema_extra
    named = extra.get("variable") if isinstance(extra, dict) else None
    return str(named) if named else PREFIX + field.upper()


def is_secret(field: str) -> bool:
    """Whether a field's value is masked wherever it is shown."""
    extra = Settings.model_fields[field].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def given_values(environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """Field → (raw value, source) for what the environment sets; an empty variable counts as unset.

    Args:
        environ: the environment; `os.environ` when omitted.

    Raises:
        BadInput: an unknown `PLMS_*` variable, or an unreadable secret file.
    """
    environ = os.environ if environ is None else environ
    known = {variable_of(field): field for field in Settings.model_fields}
    given: dict[str, tuple[str, str]] = {}
    for variable, raw in environ.items():
        base = variable.removesuffix("_FILE")
        if not variable.startswith(PREFIX) and variable not in known and base not in known:
            continue
        if variable in known:
            if raw.strip():
                given[known[variable]] = (raw.strip(), f"environment ({variable})")
        elif base != variable and base in known and is_secret(known[base]):
            if raw.strip() and not environ.get(base, "").strip():
                given[known[base]] = (_secret_file(variable, raw.strip()), f"file ({variable})")
        else:
            near = _nearest(variable)
            hint = f"did you mean {near}?" if near else "`plms settings` lists those that exist."
            raise BadInput(f"{variable} is set but no such setting exists; {hint}", code="unknown_setting")
    return given


def _nearest(variable: str) -> str | None:
    """The variable that was probably meant, or None.

    The prefix and `_FILE` do not count: what every name shares makes strangers look alike. A name that is not close as a
    whole may still share a whole word (PLMS_KPI_DB).
    """
    asked = variable.removeprefix(PREFIX)
    bare = asked.removesuffix("_FILE")
    names = {field.upper(): field for field in Settings.model_fields if variable_of(field).startswith(PREFIX)}
    # The same words in another order are nearer than any likeness of letters.
    near = [name for name in names if sorted(name.split("_")) == sorted(bare.split("_"))][:1]
    near = near or difflib.get_close_matches(bare, names, n=1)
    if not near:
        words = set(bare.split("_"))
        kin = [name for name in names if words & set(name.split("_")) - {"MAX", "MIN", "URL", "DIR", "MS", "MB", "S"}]
        near = difflib.get_close_matches(bare, kin, n=1, cutoff=0.0)
    if not near:
        return None
    as_file = "_FILE" if asked != bare and is_secret(names[near[0]]) else ""
    return PREFIX + near[0] + as_file


def _secret_file(variable: str, path: str) -> str:
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
        problem = "" if value else "is empty"
    except (OSError, UnicodeDecodeError) as error:
        value, problem = "", f"cannot be read as text ({error.__class__.__name__})"
    if problem:
        raise BadInput(
            f"{variable} names {path}, which {problem}; point it at a readable file that holds only the value.",
            code="bad_setting",
        )
    return value


def _defaults(given: Mapping[str, object]) -> dict[str, object]:
    """The defaults that depend on where the project stands."""
    values: dict[str, object] = {}
    root = project_root()
    for field, folder in (("data_dir", "data"), ("reports_dir", "reports")):
        if field in given:
            continue
        if root is None:
            raise BadInput(
                f"{variable_of(field)} is not set and this installation is not a checkout; set it to an absolute path.",
                code="missing_setting",
            )
        values[field] = root / folder
    try:
        data_dir = _anchored(str(given.get("data_dir", values.get("data_dir"))))
    except ValueError:
        return {**values, "database_url": None}  # Validation says what is wrong with the data directory.
    if "database_url" not in given:
        values["database_url"] = _sqlite_url(data_dir / "registry.db")
    warehouse = data_dir / "kpi_warehouse.db"
    if "kpi_database_url" not in given and warehouse.is_file():
        values["kpi_database_url"] = _sqlite_url(warehouse)
    return values


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and validate every setting.

    Args:
        environ: the environment; `os.environ` when omitted.

    Raises:
        BadInput: an unknown `PLMS_*` variable, an unreadable secret file, or a value that breaks its rule.
    """
    given = given_values(environ)
    raw: dict[str, object] = {field: value for field, (value, _) in given.items()}
    try:
        return Settings.model_validate({**_defaults(raw), **raw})
    except ValidationError as error:
        # The database URL is derived from the data directory, which comes first.
        first = error.errors()[0]
        field = str(first["loc"][0])
        shown = repr(shown_value(field, str(raw.get(field))))
        raise BadInput(
            f"{variable_of(field)}={shown} is not valid: {first['msg'].removeprefix('Value error, ')}; "
            f"meaning: {Settings.model_fields[field].description}",
            code="bad_setting",
        ) from None


def masked(value: str) -> str:
    """A secret as it may be shown: for a URL everything but user info and query, otherwise only asterisks.

    A password may hold `@`, `?` and `/` although it should not; where it is unclear what is password and what is host,
    nothing after the scheme is shown.
    """
    scheme, separator, rest = value.partition("://")
    if not separator:
        return "********"
    rest, question, query = rest.partition("?")
    if "@" in query:
        return f"{scheme}://***"
    _, at, host = rest.rpartition("@")
    return f"{scheme}://" + ("***@" if at else "") + host + ("?***" if question else "")


def shown_value(field: str, text: str) -> str:
    """A value of a field as it may be shown. Every URL is masked: people put passwords into any of them."""
    shown = masked(text) if text and (is_secret(field) or "://" in text) else text
    extra = Settings.model_fields[field].json_schema_extra
    if not (isinstance(extra, dict) and extra.get("secret_path")) or "://" not in shown:
        return shown
    scheme, _, rest = shown.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/***"
