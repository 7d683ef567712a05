"""What lies in the inbox, and how good is it?

Evaluated one by one, each on its own: a broken folder is a failed evaluation with its reason and does not stop the others.
What was judged before (same bytes, same gates, and the outside systems answer the same) is not judged again, so a night
over an old inbox costs milliseconds. The whole takes bounded time: what does not fit is postponed and said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from plms_pipeline.errors import PlmsError
from plms_pipeline.kpis.actions.evaluate import Asked, ask, evaluate_snapshot, manifest_of
from plms_pipeline.kpis.actions.measuring import OUTSIDE, Bench, measure
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.evaluation import AWAY, Evaluation, InboxItem
from plms_pipeline.kpis.files.inbox import artifacts_in
from plms_pipeline.kpis.files.tree import Snapshot, snapshot
from plms_pipeline.kpis.manifest import Manifest
from plms_pipeline.kpis.store import receipts
from plms_pipeline.kpis.vocabulary import ECHO
from plms_pipeline.registry.tables import KpiReceipt

BUDGET_S: Final = 900.0


def evaluate_inbox(
    world: World, *, budget_s: float = BUDGET_S, said: Callable[[InboxItem], None] = lambda _: None
) -> list[InboxItem]:
    """Evaluate every artifact in `$PLMS_DATA_DIR/artifacts/inbox`, by name.

    Args:
        world: what the evaluations may reach.
        budget_s: no further artifact is begun after these seconds.
        said: told each item as soon as it is known.
    """
    began = world.elapsed()
    items = []
    for path in artifacts_in(world.settings.artifacts_inbox):
        if world.elapsed() - began > budget_s:
            item = InboxItem(path.name, "postponed", None, None, f"the {budget_s:g} s of this night were used up")
        else:
            item = _evaluate(path, world)
        said(item)
        items.append(item)
    return items


def _evaluate(path: Path, world: World) -> InboxItem:
    asked: Asked | None = None
    try:
        with snapshot(path) as taken:
            manifest = manifest_of(taken)
            asked = ask(world, path.name, manifest, lane=None, task_id=None, run_id=None)
            known = _known(taken, manifest, asked, path.name, world)
            if known is not None:
                return known
            return _item(evaluate_snapshot(taken, manifest, asked, name=path.name, world=world))
    except PlmsError as error:
        if error.exit_code == 4:  # the registry itself is away: the night cannot go on
            raise
        return InboxItem(path.name, "broken", "failed", asked.lane_id if asked else None, error.message)


def _item(evaluation: Evaluation) -> InboxItem:
    failing = evaluation.failing
    reason = "; ".join(f"{each.gate.kpi}: {each.reason or each.value}" for each in failing) or None
    kpis = tuple(
        {"name": each.gate.kpi, "value": None if each.value is None else float(each.value), "pass": each.passed,
         "threshold": each.gate.as_json(), "blocks": each.gate.blocks, "reason": each.reason}
        for each in evaluation.recorded
    )  # fmt: skip
    return InboxItem(
        evaluation.artifact, "evaluated", evaluation.verdict, evaluation.lane_id, reason, kpis, evaluation.evaluation_id
    )


def _known(taken: Snapshot, manifest: Manifest, asked: Asked, name: str, world: World) -> InboxItem | None:
    """The earlier judgement, when judging again would say the same."""
    with world.registry.reading() as session:
        rows = receipts.last_evaluation(
            session, artifact_name=name, artifact_sha256=taken.sha256, gates_sha256=asked.gates_sha256
        )
    if not rows or any(row.reason and row.reason.startswith(AWAY) for row in rows):
        return None
    bench = Bench(taken, manifest, world)
    for row in rows:
        if row.kpi_name in OUTSIDE:
            now = measure(bench, row.kpi_name)
            if (
                now.away
                or row.kpi_value != (None if now.value is None else float(now.value))
                or row.reason != now.reason
            ):
                return None
    return _item_of_rows(rows, name, asked)


def _item_of_rows(rows: Any, name: str, asked: Asked) -> InboxItem:
    passed = {row.kpi_name: row.pass_ for row in rows}
    failing = [row for row in rows if row.blocks and not row.pass_]
    gated = any(gate.blocks for gate in asked.gates)
    verdict: Any = "failed" if failing else "passed" if gated else "ungated"
    reason = "; ".join(f"{row.kpi_name}: {row.reason or row.kpi_value}" for row in failing) or None
    kpis = tuple(
        {"name": row.kpi_name, "value": row.kpi_value, "pass": passed[row.kpi_name], "threshold": row.kpi_threshold,
         "blocks": row.blocks, "reason": row.reason}
        for row in sorted(rows, key=_echo_last)
    )  # fmt: skip
    return InboxItem(name, "unchanged", verdict, asked.lane_id, reason, kpis, rows[0].evaluation_id)


def _echo_last(row: KpiReceipt) -> tuple[bool, str]:
    return row.kpi_name == ECHO, row.kpi_name
