"""Where is evidence looked for, and how long is it waited for?"""

from typing import Literal

from plms_pipeline.settings.base import Group, setting


class Evidence(Group):
    """Evidence."""

    evidence_backend: Literal["registry", "redis"] = setting(
        "registry", "mode", "Where heat and other evidence of foreign components is looked for, and observations told."
    )
    heat_obs_enabled: bool = setting(
        True, "flag", "Whether a run that ended owes a heat record.", variable="P28_HEAT_OBS_ENABLED"
    )
    heat_obs_stream: str = setting(
        "quantum:stream:apply.heat.observed",
        "key",
        "Redis stream on which every observation is told.",
        variable="P28_HEAT_OBS_STREAM",
        min_length=1,
    )
    heat_lookup_prefix: str | None = setting(
        None,
        "key",
        "Prefix of the Redis hashes that hold evidence, the same for who writes and who looks; PLMS_EVIDENCE_BACKEND=redis "
        "needs it.",
        variable="P28_HEAT_LOOKUP_PREFIX",
        min_length=1,
    )
    heat_ttl_s: int = setting(
        1800, "s", "How long a heat record stays in Redis.", variable="P27_TTL_PLAN_SEC", ge=60, le=31 * 86_400
    )
    late_obs_enabled: bool = setting(
        True, "flag", "Whether `plms serve` observes late evidence.", variable="P28_LATE_OBS_ENABLED"
    )
    late_obs_max_wait_ms: int = setting(
        2000,
        "ms",
        "Evidence is late after this time since acceptance.",
        variable="P28_LATE_OBS_MAX_WAIT_MS",
        ge=100,
        le=3_600_000,
    )
    late_obs_poll_ms: int = setting(
        100, "ms", "How often pending evidence is looked for.", variable="P28_LATE_OBS_POLL_MS", ge=10, le=60_000
    )
    late_obs_max_inflight: int = setting(
        200,
        "obligations",
        "So many are waited for at a time; what cannot wait is dropped, and recorded.",
        variable="P28_LATE_OBS_MAX_INFLIGHT",
        ge=1,
        le=100_000,
    )
    late_obs_max_workers: int = setting(
        4,
        "threads",
        "Threads of the observer that talk to Redis and the registry.",
        variable="P28_LATE_OBS_MAX_WORKERS",
        ge=2,
        le=64,
    )
    late_obs_max_errors: int = setting(
        2,
        "errors",
        "Looks that may fail before an observation ends as `redis_error`.",
        variable="P28_LATE_OBS_MAX_ERRORS",
        ge=1,
        le=100,
    )
    max_debug_chars: int = setting(
        400, "characters", "Longest `debug_json` of an observation.", variable="P28_MAX_DEBUG_CHARS", ge=0, le=10_000
    )
