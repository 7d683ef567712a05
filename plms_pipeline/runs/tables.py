"""How do verdicts, gates and tasks look where the Dagster UI shows Markdown?"""

from __future__ import annotations

from collections.abc import Sequence

from plms_pipeline.runs.project_view import TaskView
from plms_pipeline.runs.verdicts import KpiRow, asked


def kpis_markdown(rows: Sequence[KpiRow]) -> str:
    """What the gates of a run measured, as a Markdown table."""
    lines = ["| task | KPI | value | gate | pass | why | log |", "|---|---|---:|---|---|---|---|"]
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:g}"
        cells = (
            row.task_id or "", row.kpi, value, asked(row.threshold), "yes" if row.passed else "**NO**",
            row.reason or "", row.logs_path or "",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cell_text(cell) for cell in cells)} |")
    return "\n".join(lines)


def tasks_markdown(tasks: Sequence[TaskView]) -> str:
    """The plan that is approved, as a Markdown table."""
    lines = ["| key | name | lane | provider | after | tokens | min | USD |", "|---|---|---|---|---|---:|---:|---:|"]
    for task in tasks[:200]:
        cells = (
            task.key, task.name, f"{task.lane_id} {task.lane_name}", task.provider, ", ".join(task.depends_on),
            _number(task.estimated_tokens), _number(task.estimated_duration_minutes),
            "" if task.estimated_cost_usd is None else f"{task.estimated_cost_usd:.2f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cell_text(cell) for cell in cells)} |")
    if len(tasks) > 200:
        lines.append(f"\n… and {len(tasks) - 200} more")
    return "\n".join(lines)


def log_markdown(text: str) -> str:
    """A log as a fenced block that its own text cannot close."""
    return "~~~~~~\n" + text.replace("~~~~~~", "~~~~~ ~") + "\n~~~~~~"


def cell_text(text: str) -> str:
    """A text that stays in its cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
