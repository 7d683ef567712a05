"""What lies in the inbox, and how good is it?

Evaluated one by one, each on its own: a broken folder is a failed evaluation with its reason and does not stop the others.
What was judged before (same bytes, same gates, and the outside systems answer the same) is not judged again, so a night
over an old inbox costs milliseconds. The whole takes bounded time: what does not fit is postponed and said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.kpis.actions.evaluate import Asked, ask, evaluate_snapshot, manifest_of
from plms_pipeline.kpis.actions.measuring import OUTSIDE, Bench, measure
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.evaluation import AWAY, Evaluation, InboxItem, KpiResult, failures
from plms_pipeline.kpis.files.inbox import artifacts_in
from plms_pipeline.kpis.files.tree import Snapshot, snapshot
from plms_pipeline.kpis.gates import verdict_of
from plms_pipeline.kpis.manifest import Manifest
from plms_pipeline.kpis.measurement import Measurement, clean
from plms_pipeline.kpis.store import receipts
from plms_pipeline.kpis.vocabulary import ECHO

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
            item = InboxItem(
                clean(path.name), "postponed", None, None, f"the {budget_s:g} s of this night were used up"
            )
        else:
            item = _evaluate(path, world)
        said(item)
        items.append(item)
    return items


def _evaluate(path: Path, world: World) -> InboxItem:
    asked: Asked | None = None
    name = clean(path.name)
    try:
        with snapshot(path) as taken:
            manifest = manifest_of(taken)
            asked = ask(world, name, manifest, lane=None, task_id=None, run_id=None)
            known = _known(taken, manifest, asked, name, world)
            if known is not None:
                return known
            return _item(evaluate_snapshot(taken, manifest, asked, name=name, world=world))
    except Unavailable:
        raise  # the registry itself is away: the night cannot go on
    except PlmsError as error:
        return InboxItem(name, "broken", "failed", asked.lane_id if asked else None, clean(error.message))
    except OSError as error:
        return InboxItem(name, "broken", "failed", asked.lane_id if asked else None, clean(f"not evaluated: {error}"))


def _item(evaluation: Evaluation) -> InboxItem:
    results = evaluation.recorded
    return InboxItem(
        evaluation.artifact, "evaluated", evaluation.verdict, evaluation.lane_id, failures(results), results,
        evaluation.evaluation_id,
    )  # fmt: skip


def _known(taken: Snapshot, manifest: Manifest, asked: Asked, name: str, world: World) -> InboxItem | None:
    """The earlier judgement, when judging again would say the same."""
    with world.registry.reading() as session:
        rows = receipts.last_evaluation(
            session, artifact_name=name, artifact_sha256=taken.sha256, gates_sha256=asked.gates_sha256
        )
    gates = {ECHO: asked.echo} | {gate.kpi: gate for gate in asked.gates}
    # Rows of other gates than those asked now cannot be: the digest covers the gates.
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
    results = tuple(
        KpiResult(gates[row.kpi_name], Measurement(row.kpi_value, row.reason), row.logs_path)
        for row in sorted(rows, key=lambda row: (row.kpi_name == ECHO, row.kpi_name))
    )
    passed = {ECHO: False} | {result.gate.kpi: result.passed for result in results}
    verdict = verdict_of(asked.gates, passed, echo_blocks=asked.echo.blocks)
    return InboxItem(name, "unchanged", verdict, asked.lane_id, failures(results), results, rows[0].evaluation_id)
