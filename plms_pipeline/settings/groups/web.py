"""Where do API and UI answer, and what is remembered of requests?"""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import field_validator

from plms_pipeline.settings.base import Group, setting


class Web(Group):
    """API, its cache, and the Dagster UI."""

    api_host: str = setting("127.0.0.1", "host", "Address that `plms serve` binds.")
    api_port: int = setting(6100, "port", "Port of `plms serve`.", ge=1, le=65535)
    api_max_body_bytes: int = setting(
        2**20, "bytes", "A request to `plms serve` with a larger body is refused (413).", ge=1024, le=2**30
    )
    idempotency_keys: Literal["uuid", "any"] = setting(
        "uuid", "mode", "What an Idempotency-Key may be: a UUID, or any 8 to 255 visible ASCII characters."
    )
    idempotency_ttl_seconds: int = setting(
        86_400,
        "s",
        "How long an Idempotency-Key is remembered.",
        variable="IDEMPOTENCY_TTL_SECONDS",
        ge=60,
        le=31 * 86_400,
    )
    redis_url: str | None = setting(
        None,
        "URL",
        "Redis (server or cluster) that caches finished answers; losing it costs latency only.",
        secret=True,
        variable="REDIS_URL",
    )
    use_redis: bool | None = setting(None, "flag", "Whether Redis is used; default: when REDIS_URL is set.")
    ui_host: str = setting("127.0.0.1", "host", "Address that the guarded Dagster UI binds.")
    ui_port: int = setting(3000, "port", "Port of the guarded Dagster UI.", ge=1, le=65535)
    ui_allowed_hosts: str = setting(
        "localhost,127.0.0.1,[::1]", "hosts", "Host names, comma-separated, that the guarded UI answers to."
    )
    ui_public_url: str | None = setting(
        None,
        "url",
        "Where people's browsers reach the guarded Dagster UI, for links to it; default: host and port above.",
    )
    ui_nameless: Literal["view", "refuse"] = setting(
        "view", "mode", "Whether somebody who has not signed in may look at the guarded UI (never more than look)."
    )

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @property
    def redis_is_used(self) -> bool:
        """Whether answers are cached in Redis."""
        return self.redis_url is not None and self.use_redis is not False

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

    @property
    def dagster_url(self) -> str:
        """Where people's browsers reach the guarded Dagster UI."""
        host = f"[{self.ui_host}]" if ":" in self.ui_host else self.ui_host
        return self.ui_public_url or f"http://{host}:{self.ui_port}"
