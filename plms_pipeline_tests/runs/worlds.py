"""A project that may start, put into the registry as rows: what the tests of starts and hand-overs need, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import insert, select, text

from plms_pipeline.access.actors import Actor
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, TaskEstimate, TaskPlan
from plms_pipeline.runs.passport import PassportWorld

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNER = Actor("ana@example.com", is_verified=True)
PROVIDERS = {"openai/gpt-4": "gpt-4-0613", "local/llama-8b": "llama-3.1-8b-v1.2"}
WORLD = PassportWorld(
    git_commit="a" * 40, python_version="3.11.9", os="Linux-x86_64", providers=PROVIDERS, capabilities=("cancel_card",)
)
# task → what it depends on
DIAMOND: Mapping[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def counting(prefix: int = 0) -> Callable[[], str]:
    """UUIDs that count up, so that a test can be read."""
    state = {"n": prefix * 1_000_000}

    def made() -> str:
        state["n"] += 1
        return str(UUID(int=state["n"], version=4))

    return made


def planned_project(
    registry: Registry,
    *,
    project_id: int = 42,
    status: str = "approved",
    tasks: Mapping[str, Sequence[str]] = DIAMOND,
    providers: Sequence[str] = tuple(PROVIDERS),
    budget_usd: Decimal | None = Decimal(1000),
    forecast: Mapping[str, object] | None = None,
    commands: Mapping[str, Sequence[str]] | None = None,
) -> int:
    """Insert a project with tasks; lanes and providers alternate."""
    with registry.writing() as session:
        session.execute(
            insert(Project).values(
                id=project_id, name=f"project {project_id}", status=status, budget_cost_usd_max=budget_usd, created_at=AT,
                estimated_cost_usd=Decimal("1.14"), estimated_tokens=19000, estimated_duration_minutes=35,
            )
        )  # fmt: skip
        if registry.dialect == "postgresql":
            session.execute(text("SELECT setval('projects_id_seq', (SELECT max(id) FROM projects))"))
        for index, (name, depends_on) in enumerate(tasks.items()):
            session.execute(
                insert(TaskEstimate).values(
                    project_id=project_id, task_name=f"task {name}", order_index=index, tmd_lane=(4200, 4202)[index % 2],
                    task_kind="feature", complexity="simple",
                )
            )  # fmt: skip
            estimate = session.scalars(select(TaskEstimate.id).order_by(TaskEstimate.id.desc()).limit(1)).one()
            session.execute(
                insert(TaskPlan).values(
                    task_estimate_id=estimate, project_id=project_id, task_key=name,
                    provider=providers[index % len(providers)], depends_on_json=list(depends_on),
                    command_json=list((commands or {}).get(name, ())) or None, forecast_json=forecast,
                )
            )  # fmt: skip
    return project_id
