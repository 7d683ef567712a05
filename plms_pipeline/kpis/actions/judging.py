"""Is the work of this task good, as its run's settlement asks it, thousands of times a day?

Same measurements and same gates as `plms kpi evaluate`, with two differences. The rows are handed back, because they are
written in the one transaction that ends the task. And equal bytes against equal gates are judged once, whoever made them: a
test suite is not run again because another run produced the same files. What measures a system outside the artifact is
asked again each time, since that system may have changed.

Missing or broken work is a failed gate with its reason. A system that is away is neither: it is worth another try, and the
caller decides how often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.kpis.actions.evaluate import Asked, judge_snapshot, manifest_of
from plms_pipeline.kpis.actions.measuring import OUTSIDE, Bench, measure
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.evaluation import AWAY, Evaluation, KpiResult, gates_digest
from plms_pipeline.kpis.files.tree import Snapshot, content_sha256, snapshot
from plms_pipeline.kpis.gates import Gate, Verdict, combine, echo_gate, parse_formula, verdict_of
from plms_pipeline.kpis.manifest import Manifest
from plms_pipeline.kpis.measurement import Measurement, clean, unmeasured
from plms_pipeline.kpis.store import receipts
from plms_pipeline.kpis.vocabulary import ECHO, KPIS
from plms_pipeline.registry.tables import KpiReceipt


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt whose work is to be judged; `directory` is where its artifact must lie."""

    run_id: str
    task_id: str
    attempt: int
    lane_id: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the work is good; `evaluation` None when its lane asks nothing. `is_away`: a measured system was away."""

    verdict: Verdict
    evaluation: Evaluation | None = None
    is_away: bool = False

    @property
    def test_pass_rate(self) -> float | None:
        """The measured share of passed tests, if this lane asks for it."""
        return self._value("test_pass_rate")

    @property
    def echo_cos(self) -> float | None:
        """The echo cosine that we computed ourselves."""
        return self._value(ECHO)

    def _value(self, kpi: str) -> float | None:
        results = () if self.evaluation is None else self.evaluation.recorded
        return next((float(each.value) for each in results if each.gate.kpi == kpi and each.value is not None), None)


@dataclass(slots=True)
class Judge:
    """Judges the work of one settlement; what it measured once it does not measure again."""

    world: World
    _seen: dict[tuple[str, str], Judgement] = field(default_factory=dict)
    _lanes: dict[int, tuple[str, tuple[Gate, ...]]] = field(default_factory=dict)
    _formulas: dict[str, dict[str, str]] = field(default_factory=dict)

    def ask(self, work: Work) -> Asked:
        """Which gates apply: the lane's, made stricter by the task's own formula. A formula that cannot be judged is said by
        `judge`, as a gate that fails.

        Raises:
            BadInput: a gate or formula cannot be judged, or the lane is not registered.
        """
        if work.run_id not in self._formulas or work.lane_id not in self._lanes:
            with self.world.registry.reading() as session:
                self._formulas[work.run_id] = receipts.formulas_in_run(session, work.run_id)
                self._lane(session, work.lane_id)
        formula = self._formulas[work.run_id].get(work.task_id)
        name, lane_gates = self._lanes[work.lane_id]
        gates = combine(lane_gates, parse_formula(formula) if formula else ())
        echo = echo_gate(enforced=self.world.settings.echo_gate == "enforce")
        asked = Asked(work.lane_id, name, work.task_id, work.run_id, gates, echo, "")
        return replace(asked, gates_sha256=self._digest(asked, None))

    def _lane(self, session: Session, lane_id: int) -> None:
        """Read name and gates of a lane, once per settlement."""
        if lane_id not in self._lanes:
            # A lane that was closed since still judges the work that was begun in it.
            self._lanes[lane_id] = receipts.lane_name(session, lane_id), receipts.lane_gates(session, lane_id)

    def known(self, work: Work) -> Judgement | None:
        """The judgement, when it costs no measuring: nothing is asked, nothing is there, or it was judged before."""
        try:
            asked = self.ask(work)
        except PlmsError as error:
            return self._broken(work, None, error)
        if not asked.gates and not asked.echo.blocks:
            return Judgement("ungated")
        try:
            digest = content_sha256(work.directory)
        except PlmsError as error:
            return self._broken(work, asked, error)
        seen = self._seen.get((digest, asked.gates_sha256))
        if seen is not None:
            return self._again(seen, work)
        with self.world.registry.reading() as session:
            rows = receipts.earlier_judgement(session, artifact_sha256=digest, gates_sha256=asked.gates_sha256)
        found = self._recalled(work, asked, rows)
        if found is not None:
            self._seen[digest, asked.gates_sha256] = found
        return found

    def judge(self, work: Work) -> Judgement:
        """Measure what has to be measured, and judge.

        Raises:
            Unavailable: the registry is away.
        """
        known = self.known(work)
        if known is not None:
            return known
        asked = self.ask(work)
        try:
            with snapshot(work.directory) as taken:
                manifest = manifest_of(taken)
                found = self._measured(work, asked, taken, manifest)
        except Unavailable:
            raise
        except (PlmsError, OSError) as error:
            return self._broken(work, asked, error)
        assert found.evaluation is not None  # noqa: S101 - something was asked, so something was recorded
        if _is_general(manifest) and not found.is_away:
            self._seen[found.evaluation.artifact_sha256, asked.gates_sha256] = found
        return found

    def _measured(self, work: Work, asked: Asked, taken: Snapshot, manifest: Manifest) -> Judgement:
        contradiction = self._contradiction(work, manifest, asked)
        if contradiction is not None:
            return self._failed(work, asked, contradiction)
        if not _is_general(manifest):
            # What an artifact says about its task belongs to the question: no other task may be answered by it.
            asked = replace(asked, gates_sha256=self._digest(asked, work))
        evaluation = judge_snapshot(taken, manifest, asked, name=_name_of(work), world=self.world)
        is_away = any(each.measurement.away for each in evaluation.kpis) and any(self.world.systems)
        return Judgement(evaluation.verdict, evaluation, is_away)

    def _digest(self, asked: Asked, work: Work | None) -> str:
        """What decides about the verdict besides the artifact; the task and run only where they are part of the question."""
        return gates_digest(
            lane_id=asked.lane_id, gates=asked.gates, echo=asked.echo, task_id=work.task_id if work else None,
            run_id=work.run_id if work else None, systems=self.world.systems,
        )  # fmt: skip

    def _contradiction(self, work: Work, manifest: Manifest, asked: Asked) -> str | None:
        """Why an artifact is not this task's work, by its own words; None when it does not contradict."""
        for what, stated, true in (("task", manifest.task, work.task_id), ("run", manifest.run_id, work.run_id)):
            if stated is not None and stated != true:
                return f"the artifact says that it is the work of {what} {clean(stated)!r}, not of {true!r}"
        if manifest.lane is None or str(manifest.lane) == str(asked.lane_id):
            return None
        with self.world.registry.reading() as session:
            stated_lane = receipts.find_lane(session, manifest.lane).lane_id
        if stated_lane == asked.lane_id:
            return None
        return f"the artifact says lane {stated_lane}; its task is in lane {asked.lane_id}"

    def _recalled(self, work: Work, asked: Asked, rows: Sequence[KpiReceipt]) -> Judgement | None:
        """The earlier judgement as one of this task, if judging again would say the same."""
        gates = {ECHO: asked.echo} | {gate.kpi: gate for gate in asked.gates}
        known = {row.kpi_name for row in rows}
        if not {gate.kpi for gate in asked.gates} <= known <= gates.keys():
            return None
        if any(row.reason and row.reason.startswith(AWAY) for row in rows):
            return None
        if known & OUTSIDE and not self._same_outside(work, rows):
            return None
        results = {row.kpi_name: KpiResult(gates[row.kpi_name], _measurement(row), row.logs_path) for row in rows}
        echo = results.pop(ECHO, None) if not any(gate.kpi == ECHO for gate in asked.gates) else results[ECHO]
        echo = echo or KpiResult(asked.echo, unmeasured("not measured again"))
        kpis = tuple(results[gate.kpi] for gate in asked.gates)
        return Judgement(*self._judged(work, asked, kpis, echo, str(rows[0].artifact_sha256), rows[0].measured_at))

    def _same_outside(self, work: Work, rows: Sequence[KpiReceipt]) -> bool:
        with snapshot(work.directory) as taken:
            bench = Bench(taken, manifest_of(taken), self.world)
            for row in rows:
                if row.kpi_name in OUTSIDE:
                    now = measure(bench, row.kpi_name)
                    value = None if now.value is None else float(now.value)
                    if now.away or row.kpi_value != value or row.reason != now.reason:
                        return False
        return True

    def _again(self, seen: Judgement, work: Work) -> Judgement:
        """A judgement of the same bytes against the same gates, as one of this task."""
        if seen.evaluation is None:
            return seen
        evaluation = replace(
            seen.evaluation, evaluation_id=self.world.new_id(), artifact=_name_of(work), task_id=work.task_id,
            run_id=work.run_id,
        )  # fmt: skip
        return replace(seen, evaluation=evaluation)

    def _broken(self, work: Work, asked: Asked | None, error: PlmsError | OSError) -> Judgement:
        reason = clean(error.message if isinstance(error, PlmsError) else f"not evaluated: {error}")
        if asked is None:
            # The formula cannot be judged, or the lane's own gates cannot: what is known of them is shown as unmeasured.
            with self.world.registry.reading() as session:
                name = receipts.lane_name(session, work.lane_id)
            _, gates = self._lanes.get(work.lane_id, (name, ()))
            echo = echo_gate(enforced=not gates)
            asked = Asked(work.lane_id, name, work.task_id, work.run_id, gates, echo, "0" * 64)
        return self._failed(work, asked, reason)

    def _failed(self, work: Work, asked: Asked, reason: str) -> Judgement:
        kpis = tuple(KpiResult(gate, unmeasured(reason)) for gate in asked.gates)
        echo = KpiResult(asked.echo, unmeasured(reason))
        verdict, evaluation = self._judged(work, asked, kpis, echo, "", self.world.clock.now())
        return Judgement("failed" if verdict == "ungated" else verdict, evaluation)

    def _judged(
        self,
        work: Work,
        asked: Asked,
        kpis: tuple[KpiResult, ...],
        echo: KpiResult,
        artifact_sha256: str,
        measured_at: datetime,
    ) -> tuple[Verdict, Evaluation]:
        passed = {ECHO: echo.passed} | {result.gate.kpi: result.passed for result in kpis}
        verdict = verdict_of(asked.gates, passed, echo_blocks=asked.echo.blocks)
        evaluation = Evaluation(
            evaluation_id=self.world.new_id(),
            artifact=_name_of(work),
            lane_id=asked.lane_id,
            lane_name=asked.lane_name,
            task_id=asked.task_id,
            run_id=asked.run_id,
            verdict=verdict,
            kpis=kpis,
            echo=echo,
            artifact_sha256=artifact_sha256,
            gates_sha256=asked.gates_sha256,
            notes=(),
            isolation=(),
            measured_at=measured_at,
        )
        return verdict, evaluation


def _measurement(row: KpiReceipt) -> Measurement:
    if row.kpi_value is None:
        return unmeasured(row.reason or "not measured")
    value = bool(row.kpi_value) if KPIS[row.kpi_name].kind == "flag" else row.kpi_value
    return Measurement(value, row.reason)


def _is_general(manifest: Manifest) -> bool:
    """Whether a judgement holds for every task with the same bytes and gates."""
    return manifest.task is None and manifest.run_id is None


def _name_of(work: Work) -> str:
    return f"{work.task_id}/{work.attempt}"
