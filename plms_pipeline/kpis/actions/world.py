"""What do evaluations reach the world through? One value, handed in: a test hands in another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from plms_pipeline.clock import Clock
from plms_pipeline.kpis.client import GraphClient
from plms_pipeline.kpis.process import Limits
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings, masked


class Graph(Protocol):
    """Something that answers a reading Cypher query with one number."""

    def number(self, query: str) -> int:
        """The one whole number that the query returns."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """Registry, settings, clocks, ids, clients and limits of an evaluation.

    Attributes:
        new_id: a new unpredictable id (a UUID's text); names evaluations and our control tests.
        elapsed: seconds of a clock that never jumps.
        limits: what each child process may use.
        graph: None when `PLMS_NEO4J_URL` is not set.
        namespaces: whether children try for own namespaces.
    """

    registry: Registry
    settings: Settings
    clock: Clock
    new_id: Callable[[], str]
    elapsed: Callable[[], float]
    limits: Limits
    graph: Graph | None
    namespaces: bool = True

    @property
    def systems(self) -> tuple[str, str]:
        """The database and the graph that are measured, without secrets."""
        database, graph = self.settings.kpi_database_url, self.settings.neo4j_url
        return (masked(database) if database else "", masked(graph) if graph else "")


def world_of(
    *,
    registry: Registry,
    settings: Settings,
    clock: Clock,
    new_id: Callable[[], str],
    elapsed: Callable[[], float],
    sleep: Callable[[float], None],
) -> World:
    """The world as the settings describe it."""
    graph = None
    if settings.neo4j_url is not None:
        graph = GraphClient(
            settings.neo4j_url, database=settings.neo4j_database, user=settings.neo4j_user,
            password=settings.neo4j_password, sleep=sleep,
        )  # fmt: skip
    limits = replace(Limits(), wall_s=float(settings.kpi_timeout_s), cpu_s=settings.kpi_timeout_s)
    return World(registry, settings, clock, new_id, elapsed, limits, graph)
