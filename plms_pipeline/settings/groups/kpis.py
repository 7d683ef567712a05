"""How are artifacts measured, and against which databases?"""

from typing import Literal

from pydantic import field_validator

from plms_pipeline.settings.base import Group, setting
from plms_pipeline.settings.files import DatabaseUrl
from plms_pipeline.settings.urls import is_http_url


class Kpis(Group):
    """KPIs."""

    echo_gate: Literal["advisory", "enforce"] = setting(
        "advisory", "mode", "Whether the echo cosine (>= 0.82) only advises or blocks like any other gate."
    )
    kpi_timeout_s: int = setting(300, "s", "Wall clock after which a KPI child process group is killed.", ge=1, le=3600)
    kpi_database_url: DatabaseUrl | None = setting(
        None,
        "URL",
        "Database that schema_diff and row_count_delta measure; default kpi_warehouse.db in the data "
        "directory when that file exists.",
        secret=True,
    )
    neo4j_url: str | None = setting(
        None, "URL", "Neo4j HTTP endpoint (http:// or https://) that graph_edge_count_delta measures."
    )
    neo4j_database: str = setting("neo4j", "name", "Database name at the Neo4j endpoint.", min_length=1)
    neo4j_user: str = setting("neo4j", "name", "User at the Neo4j endpoint.")
    neo4j_password: str | None = setting(None, "text", "Password at the Neo4j endpoint.", secret=True)

    @field_validator("neo4j_url")
    @classmethod
    def _http_endpoint(cls, value: str | None) -> str | None:
        if value is not None and not is_http_url(value):
            raise ValueError(
                "must be http://host:port or https://host:port; Bolt is not spoken, Neo4j's HTTP port is 7474"
            )
        return value
