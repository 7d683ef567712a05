"""Is this artifact good? Measures every gated KPI, judges, and keeps the answer.

Gates are read before anything runs, all measuring happens outside of any transaction, and the rows are written in one
transaction at the end: an evaluation that is killed leaves no half of a verdict in the books.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.actions.measuring import Bench, measure
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.evaluation import Evaluation, KpiResult, gates_digest
from plms_pipeline.kpis.files.outputs import evidence_folder, write_logs, write_receipt
from plms_pipeline.kpis.files.tree import RECEIPT, Snapshot, snapshot
from plms_pipeline.kpis.gates import Gate, combine, echo_gate, parse_formula, verdict_of
from plms_pipeline.kpis.manifest import MANIFEST, Manifest, lane_of_folder, parse
from plms_pipeline.kpis.store import receipts
from plms_pipeline.kpis.vocabulary import ECHO
from plms_pipeline.registry.tables import KpiReceipt


@dataclass(frozen=True, slots=True)
class Asked:
    """What an artifact is asked: its lane, its task and run if any, and the gates that follow from them."""

    lane_id: int
    lane_name: str
    task_id: str | None
    run_id: str | None
    gates: tuple[Gate, ...]
    echo: Gate
    gates_sha256: str


def evaluate_artifact(
    directory: Path,
    *,
    world: World,
    lane: int | str | None = None,
    task_id: str | None = None,
    run_id: str | None = None,
) -> Evaluation:
    """Measure the artifact in `directory`, judge it, and record receipts and evidence.

    Rows go to `kpi_receipts`; logs and a copy of the receipt to `$PLMS_DATA_DIR/artifacts/kpi/<evaluation id>/`.

    Args:
        directory: the artifact; it is only read.
        world: what the evaluation may reach.
        lane: number, name or alias; when omitted the manifest's lane, else the folder's leading number.
        task_id: the task; its own `kpi_formula` can only make the gates stricter.
        run_id: a registered run.

    Raises:
        BadInput: no artifact, no or an unregistered lane, lane or task that contradict manifest or books, unknown run or
            task, a gate or formula that cannot be judged. What is wrong with a single KPI's input is a failed gate instead.
    """
    # Whoever names a link means what it leads to; links inside an artifact are never followed.
    place = directory.resolve()
    with snapshot(place) as taken:
        manifest = manifest_of(taken)
        asked = ask(world, place.name, manifest, lane=lane, task_id=task_id, run_id=run_id)
        return evaluate_snapshot(taken, manifest, asked, name=place.name, world=world)


def manifest_of(taken: Snapshot) -> Manifest:
    """The artifact's manifest; an empty one when it has none.

    Raises:
        BadInput: it is broken or says what it may not say.
    """
    text = taken.text(MANIFEST)
    return Manifest() if text is None else parse(Manifest, text, MANIFEST)


def ask(
    world: World, name: str, manifest: Manifest, *, lane: int | str | None, task_id: str | None, run_id: str | None
) -> Asked:
    """Which gates apply: the lane's, made stricter by the task's own formula.

    What the caller says goes before the manifest, but they may not contradict each other; and what the books say about
    the task's lane goes before both, so that no artifact can choose an easier lane.

    Raises:
        BadInput: see `evaluate_artifact`.
    """
    task_id = _agreed("task", task_id, manifest.task)
    run_id = _agreed("run", run_id, manifest.run_id)
    with world.registry.reading() as session:
        named = [receipts.find_lane(session, word).lane_id for word in (lane, manifest.lane) if word is not None]
        facts = receipts.task_facts(session, task_id, run_id)
        if facts.lane_id is not None:
            named.append(facts.lane_id)
        if not named:
            guess = lane_of_folder(name)
            if guess is None:
                raise BadInput(
                    f"the lane of artifact {name!r} is not known; give --lane, put it into {MANIFEST}, or begin the "
                    "folder's name with it.",
                    code="missing_lane",
                )
            named.append(receipts.find_lane(session, guess).lane_id)
        if len(set(named)) > 1:
            raise BadInput(
                f"the lanes of artifact {name!r} contradict each other ({', '.join(map(str, dict.fromkeys(named)))}: asked, "
                "manifest, books); name the one that the books hold for its task.",
                code="lane_conflict",
            )
        found = receipts.find_lane(session, named[0])
        gates = combine(
            receipts.lane_gates(session, found.lane_id), parse_formula(facts.formula) if facts.formula else ()
        )
    echo = echo_gate(enforced=world.settings.echo_gate == "enforce")
    digest = gates_digest(
        lane_id=found.lane_id, gates=gates, echo=echo, task_id=task_id, run_id=run_id, systems=world.systems
    )
    return Asked(found.lane_id, found.name, task_id, run_id, gates, echo, digest)


def _agreed(what: str, asked: str | None, stated: str | None) -> str | None:
    if asked is not None and stated is not None and asked != stated:
        raise BadInput(
            f"{what} {asked!r} was asked for, but {MANIFEST} says {stated!r}; they must be the same.",
            code=f"{what}_conflict",
        )
    return asked if asked is not None else stated


def evaluate_snapshot(taken: Snapshot, manifest: Manifest, asked: Asked, *, name: str, world: World) -> Evaluation:
    """Measure, judge and record what was asked of an artifact."""
    evaluation = judge_snapshot(taken, manifest, asked, name=name, world=world)
    with world.registry.writing() as session:
        receipts.insert(session, rows_of(evaluation))
    return evaluation


def judge_snapshot(taken: Snapshot, manifest: Manifest, asked: Asked, *, name: str, world: World) -> Evaluation:
    """Measure and judge what was asked of an artifact, and keep the evidence as files; the caller records the rows."""
    bench = Bench(taken, manifest, world)
    evaluation_id = world.new_id()
    measured = {gate.kpi: measure(bench, gate.kpi) for gate in asked.gates}
    echo = measured.get(ECHO) or measure(bench, ECHO)
    folder = evidence_folder(world.settings.data_dir, evaluation_id)
    logs = write_logs(folder, {kpi: each.log for kpi, each in {**measured, ECHO: echo}.items()})
    results = tuple(KpiResult(gate, measured[gate.kpi], logs.get(gate.kpi)) for gate in asked.gates)
    echo_result = KpiResult(asked.echo, echo, logs.get(ECHO))
    passed = {ECHO: echo_result.passed} | {result.gate.kpi: result.passed for result in results}
    evaluation = Evaluation(
        evaluation_id=evaluation_id,
        artifact=name,
        lane_id=asked.lane_id,
        lane_name=asked.lane_name,
        task_id=asked.task_id,
        run_id=asked.run_id,
        verdict=verdict_of(asked.gates, passed, echo_blocks=asked.echo.blocks),
        kpis=results,
        echo=echo_result,
        artifact_sha256=taken.sha256,
        gates_sha256=asked.gates_sha256,
        notes=taken.notes,
        isolation=tuple(bench.isolation),
        measured_at=world.clock.now(),
    )
    write_receipt(folder / RECEIPT, evaluation.as_json())
    return evaluation


def rows_of(evaluation: Evaluation) -> list[KpiReceipt]:
    """The rows of `kpi_receipts` that record an evaluation."""
    return [
        KpiReceipt(
            evaluation_id=evaluation.evaluation_id,
            task_id=evaluation.task_id,
            run_id=evaluation.run_id,
            lane_id=evaluation.lane_id,
            artifact_name=evaluation.artifact[:255],
            kpi_name=result.gate.kpi,
            kpi_value=None if result.value is None else float(result.value),
            kpi_threshold=result.gate.as_json(),
            pass_=result.passed,
            blocks=result.gate.blocks,
            reason=result.reason,
            artifact_sha256=evaluation.artifact_sha256,
            gates_sha256=evaluation.gates_sha256,
            logs_path=result.logs_path,
            measured_at=evaluation.measured_at,
        )
        for result in evaluation.recorded
    ]
