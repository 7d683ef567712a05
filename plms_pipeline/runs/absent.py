"""What is whoever asks for something that is not there told?

The thing, and where those that exist are listed, at the terminal and over HTTP: an id is typed wrong far more often than
it is lost.
"""

from __future__ import annotations

from plms_pipeline.errors import NotFound


def no_project(project_id: int, *, code: str = "project_not_found") -> NotFound:
    """There is no project of this id."""
    return NotFound(
        f"Project {project_id} not found; `plms project list` and GET /api/projects show those that exist.", code=code
    )


def no_run(run_id: str, *, code: str = "run_not_found") -> NotFound:
    """There is no run of this id; a long or odd one is cut and quoted."""
    return NotFound(
        f"There is no run {run_id[:80]!r}; `plms run list` and GET /api/runs show those that exist.", code=code
    )


def no_task(project_id: int, task_id: str) -> NotFound:
    """A project's plan holds no task of this key."""
    return NotFound(
        f"Project {project_id} plans no task {task_id[:80]!r}; `plms project show {project_id}` and "
        f"GET /api/projects/{project_id} list its tasks.",
        code="task_not_found",
    )
