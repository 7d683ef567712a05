"""Which bytes are answered to whoever looks at a project, again and again?

Equal rows make equal answers, so what was made of some rows once is not made again: between two questions about a project most
often nothing of it has changed, although something else in the books has. The rows are read anew each time, so no answer is
older than its question.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions import views
from plms_pipeline.runs.actions.projects import found_project
from plms_pipeline.runs.actions.views import REMEMBERED, found_rows
from plms_pipeline.runs.project_view import project_json
from plms_pipeline.runs.store import project_rows, view_rows
from plms_pipeline.runs.store.projects import SOURCE

# A page that is longer is made anew each time: remembering many of them would fill the memory.
LONGEST_PAGE: Final = 50


def as_json(content: Any) -> bytes:
    """The bytes of an answer."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def status(registry: Registry, project_id: int) -> bytes:
    """`views.status` as JSON.

    Raises:
        NotFound: no such project.
    """
    with registry.asking() as ask:
        rows = view_rows.status_rows(ask, project_id)
    return _status(found_rows(rows, project_id))


def metrics(registry: Registry, project_id: int, *, with_ci: bool, with_breakdown: bool) -> bytes:
    """`views.metrics` as JSON.

    Raises:
        NotFound: no such project.
    """
    with registry.asking() as ask:
        rows = view_rows.metrics_rows(ask, project_id, with_ci=with_ci, with_breakdown=with_breakdown)
    return _metrics(found_rows(rows, project_id), with_ci=with_ci)


def budget_runway(registry: Registry, project_id: int, *, clock: Clock) -> bytes:
    """`views.budget_runway` as JSON.

    Raises:
        NotFound: no such project.
    """
    return as_json(views.budget_runway(registry, project_id, clock=clock))


def project(registry: Registry, project_id: int) -> bytes:
    """A project with its tasks.

    Raises:
        NotFound: no such project.
    """
    with registry.asking() as ask:
        rows = project_rows.one_project(ask, project_id)
    if not rows.projects:
        found_project(None, project_id)
    return _project(rows)


def projects(registry: Registry, *, after: int, limit: int) -> bytes:
    """A page of projects that were planned here, in order of id, without their tasks."""
    with registry.asking() as ask:
        rows = project_rows.page_of_projects(ask, source=SOURCE, after=after, limit=limit)
    return (_page if limit <= LONGEST_PAGE else _page.__wrapped__)(rows, limit)


@lru_cache(maxsize=REMEMBERED)
def _status(rows: view_rows.StatusRows) -> bytes:
    return as_json(views.status_of(rows))


@lru_cache(maxsize=REMEMBERED)
def _metrics(rows: view_rows.MetricsRows, *, with_ci: bool) -> bytes:
    return as_json(views.metrics_of(rows, with_ci=with_ci))


@lru_cache(maxsize=REMEMBERED)
def _project(rows: project_rows.ProjectRows) -> bytes:
    return as_json(project_json(rows.views[0]))


@lru_cache(maxsize=REMEMBERED)
def _page(rows: project_rows.ProjectRows, limit: int) -> bytes:
    found = [project_json(view, with_tasks=False) for view in rows.views]
    return as_json({"projects": found, "next_after": found[-1]["project_id"] if len(found) == limit else None})
