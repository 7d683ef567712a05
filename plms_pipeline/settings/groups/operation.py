"""What is this installation called, and how is it watched?"""

from typing import Literal

from plms_pipeline.settings.base import Group, setting


class Operation(Group):
    """Operation."""

    env_name: str = setting(
        "development",
        "name",
        "What messages call this installation.",
        variable="ENV_NAME",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting("WARNING", "level", "Log level of `plms`.")
    metrics_hosts: str = setting(
        "",
        "hosts",
        "Names, comma-separated, by which Prometheus asks for /metrics of API, model server and exporter, beside localhost "
        "and addresses.",
    )
    exporter_host: str = setting("127.0.0.1", "host", "Address that `plms exporter` binds; it has no login.")
    exporter_port: int = setting(9464, "port", "Port of `plms exporter`.", ge=1, le=65535)
    exporter_timeout_s: float = setting(
        5.0, "s", "How long a scrape waits for the registry, Dagster or Redis before it goes without.", ge=0.1, le=60
    )
