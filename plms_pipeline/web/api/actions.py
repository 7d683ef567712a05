"""What is asked of this process itself: its health, its proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plms_pipeline.access.answers import AnswerCache
from plms_pipeline.errors import PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import require_head
from plms_pipeline.settings import Settings, masked
from plms_pipeline.web.api import files, store
from plms_pipeline.web.api.health import Component, ComponentStatus
from plms_pipeline.web.api.proofs import StoredProof


def components(
    registry: Registry,
    settings: Settings,
    cache: AnswerCache,
    executor: Mapping[str, Any] | None,
    *,
    background: ComponentStatus | None = None,
) -> list[Component]:
    """How each thing that the work needs is doing. Reads only.

    Args:
        registry: asked whether it answers and is at head.
        settings: data directory and limits.
        cache: asked when Redis is used.
        executor: what the background loop saw of PAS last; None when nobody looked yet.
        background: how the process is that settles and dispatches; None where there is none. Without it everything is
            kept and answered, and some of it waits.
    """
    found = [_database(registry), _filesystem(settings), _executor(executor)]
    if background is not None:
        found.append(Component("background", background, is_essential=False))
    if settings.redis_is_used:
        is_up = cache.is_up()
        details = {"url": masked(settings.redis_url or "")}
        found.append(Component("redis", "healthy" if is_up else "unavailable", is_essential=False, details=details))
    return found


def _database(registry: Registry) -> Component:
    where = {"path": masked(registry.engine.url.render_as_string(hide_password=True)), "dialect": registry.dialect}
    try:
        require_head(registry)
        with registry.reading() as session:
            tables = store.table_count(session)
    except PlmsError as error:
        is_old = error.code == "registry_not_at_head"
        details = {**where, "schema_valid": False, "error": error.code}
        return Component("database", "missing" if is_old else "unhealthy", is_essential=True, details=details)
    return Component(
        "database", "healthy", is_essential=True, details={**where, "tables": tables, "schema_valid": True}
    )


def _filesystem(settings: Settings) -> Component:
    where = {"path": str(settings.data_dir)}
    problem = files.folder_problem(settings.data_dir)
    if problem is not None:
        return Component("filesystem", "unhealthy", is_essential=True, details={**where, "error": problem})
    free = files.free_mb(settings.data_dir)
    status: ComponentStatus = "healthy" if free >= settings.min_free_disk_mb else "degraded"
    return Component("filesystem", status, is_essential=True, details={**where, "free_mb": free})


def _executor(seen: Mapping[str, Any] | None) -> Component:
    if seen is None:
        return Component("pas", "unknown", is_essential=False)
    status: ComponentStatus = "healthy" if seen.get("is_up") else "degraded"
    return Component("pas", status, is_essential=False, details={k: v for k, v in seen.items() if k != "is_up"})


def proofs(settings: Settings, limit: int) -> Sequence[StoredProof]:
    """The proofs of the newest nights, newest first."""
    return files.stored_proofs(settings.reports_dir, limit)
