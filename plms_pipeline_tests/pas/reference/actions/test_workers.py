"""Does what a worker tells of its task count once, within the caps, and reach PLMS?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.errors import Conflict, NotFound, Unprocessable
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions import workers
from plms_pipeline.pas.workers import Heartbeat, KpiResult, SimulateRun, WorkerReceipt
from plms_pipeline_tests.pas.reference.conftest import Bench


def receipt(task: str = "a", **more: Any) -> WorkerReceipt:
    return WorkerReceipt.model_validate(
        {
            "run_id": "r", "task_id": task, "lane": 4200, "provider": "p", "tokens_in": 100, "tokens_out": 20,
            "time_ms": 8500, "cost_usd": 0.12, "status": "succeeded", **more,
        }
    )  # fmt: skip


def beat(progress: float, **more: Any) -> Heartbeat:
    return Heartbeat.model_validate({"run_id": "r", "task_id": "a", "progress_pct": progress, **more})


def kpi(passed: bool, **more: Any) -> KpiResult:
    return KpiResult.model_validate(
        {
            "run_id": "r", "task_id": "a", "lane": 4200, "kpi_name": "test_pass_rate", "value": 0.5, "pass": passed,
            "threshold": {"min": 0.9}, **more,
        }
    )  # fmt: skip


def working(bench: Bench, **card: Any) -> None:
    bench.start(**{name: card.pop(name) for name in ("tasks", "budget", "write_sandbox") if name in card})
    bench.card("a", **card)
    bench.work(1)


def told_bodies(bench: Bench) -> list[dict[str, Any]]:
    rows = bench.world.db.execute("SELECT body FROM events WHERE path = '/hooks/pas/task_completed' ORDER BY id")
    return [json.loads(row["body"]) for row in rows]


def test_a_receipt_ends_its_task_and_reaches_plms_with_what_is_unknown_left_unknown(bench: Bench) -> None:
    """A token count that nobody knows and that arrives as 0 would pull the priors down."""
    working(bench)
    answer = workers.receipt(bench.world, receipt(tokens_think=None, energy_kwh=None, echo_cos=None))
    assert (answer.status, answer.duplicate) == ("succeeded", False)
    status = bench.status()
    assert (status.status, status.spend_usd) == ("completed", Decimal("0.12"))
    [told] = told_bodies(bench)
    assert {name: told["receipt"][name] for name in ("tokens_in", "tokens_think", "energy_kwh", "echo_cos", "time_ms")} == {
        "tokens_in": 100, "tokens_think": None, "energy_kwh": None, "echo_cos": None, "time_ms": 8500,
    }  # fmt: skip


def test_the_same_receipt_again_changes_nothing_and_another_is_refused(bench: Bench) -> None:
    """A worker repeats what it got no answer to; a second, other end of one attempt would be paid twice."""
    working(bench)
    workers.receipt(bench.world, receipt())
    assert workers.receipt(bench.world, receipt()).duplicate
    with pytest.raises(Conflict) as refused:
        workers.receipt(bench.world, receipt(cost_usd=0.13))
    assert refused.value.code == "card_ended"
    assert (bench.status().spend_usd, len(told_bodies(bench))) == (Decimal("0.12"), 1)


@pytest.mark.parametrize("caps", [{"budget_usd": 0.05}, {"budget": 0.05}])
def test_a_receipt_above_a_cap_is_charged_the_cap_and_fails(bench: Bench, caps: dict[str, float]) -> None:
    """The cap of a card or run is hard whoever sends the bill, and sending the same bill again is still the same."""
    working(bench, **caps)
    assert workers.receipt(bench.world, receipt()).status == "failed"
    assert bench.status().spend_usd == Decimal("0.05")
    assert workers.receipt(bench.world, receipt()).duplicate


def test_a_receipt_is_refused_where_nobody_works(bench: Bench) -> None:
    """A receipt for work that has not begun, of another lane, or written elsewhere is a mix-up, and says so."""
    bench.start(tasks=2)
    bench.card("a")
    bench.card("b", deps=["a"])
    for told, code in (
        (receipt("b"), "card_not_running"),
        (receipt("a", lane=5100), "receipt_mismatch"),
        (receipt("a", provider="q"), "receipt_mismatch"),
    ):
        with pytest.raises(Conflict) as refused:
            workers.receipt(bench.world, told)
        assert refused.value.code == code
    with pytest.raises(NotFound) as unknown:
        workers.receipt(bench.world, receipt("nobody"))
    assert unknown.value.code == "card_not_found"
    with pytest.raises(Unprocessable):
        workers.receipt(bench.world, receipt("a", artifacts_path="/etc"))
    assert told_bodies(bench) == []


def test_a_failed_receipt_gives_the_workers_reason(bench: Bench) -> None:
    """The reason is what the person on call reads."""
    working(bench)
    workers.receipt(bench.world, receipt(status="failed", error="the disk is full"))
    assert (bench.status().status, told_bodies(bench)[0]["error"]) == ("needs_review", "the disk is full")


def test_a_heartbeat_is_shown_until_a_newer_one_and_never_goes_back(bench: Bench) -> None:
    """An old beat that arrives late must not make a task look stuck, nor a clock ahead make it look alive for ever."""
    working(bench)
    bench.work(20)
    now = bench.clock.at
    assert not workers.heartbeat(bench.world, beat(0.4)).duplicate
    assert (bench.status().tasks[0].progress, bench.status().tasks[0].last_heartbeat_at) == (0.4, now)
    assert workers.heartbeat(bench.world, beat(0.1, ts=now - timedelta(seconds=5))).duplicate
    bench.clock.at += timedelta(seconds=1)
    workers.heartbeat(bench.world, beat(0.5, ts=now + timedelta(hours=1)))
    [task] = bench.status().tasks
    assert (task.progress, task.last_heartbeat_at) == (0.5, bench.clock.at)
    bench.work(200)
    with pytest.raises(Conflict) as refused:
        workers.heartbeat(bench.world, beat(0.9))
    assert refused.value.code == "card_ended"


def test_what_a_worker_measured_is_shown_and_handed_on(bench: Bench) -> None:
    """PLMS shows the claim beside what its own gates measure; the newest word about a KPI stands."""
    working(bench)
    assert not workers.kpi(bench.world, kpi(False)).duplicate
    assert workers.kpi(bench.world, kpi(False)).duplicate
    [violation] = bench.status().kpi_violations
    assert (violation.kpi_name, violation.expected, violation.actual) == ("test_pass_rate", {"min": 0.9}, 0.5)
    workers.kpi(bench.world, kpi(True, value=0.95))
    assert bench.status().kpi_violations == ()
    bench.work(200)
    assert told_bodies(bench)[0]["kpis"] == [{"name": "test_pass_rate", "value": 0.95, "pass": True}]


def test_both_spellings_of_a_verdict_are_read() -> None:
    """The source's stub answered the message of its own specification with 422."""
    words = {"run_id": "r", "task_id": "a", "kpi_name": "k", "value": 1}
    assert KpiResult.model_validate({**words, "pass": True}).passed
    assert KpiResult.model_validate({**words, "pass_bool": True}).passed


def test_a_simulation_projects_the_run_and_spends_nothing(bench: Bench) -> None:
    """Every task of this executor takes the same, so the projection is exact and its interval is a point."""
    bench.start(tasks=4)
    for task in "abc":
        bench.card(task)
    found = workers.simulate(bench.world, SimulateRun(run_id="r", rehearsal_pct=0.5))
    each = found.rehearsal_tokens / found.tasks_sampled
    assert (found.tasks_sampled, found.tasks_known, found.tasks_total) == (2, 3, 4)
    assert found.projected_tokens == pytest.approx(4 * each, rel=0.02)
    assert found.ci_lower <= found.projected_tokens <= found.ci_upper
    assert workers.simulate(bench.world, SimulateRun(run_id="r", rehearsal_pct=0.5)) == found
    assert bench.status().spend_usd == 0


def test_a_simulation_of_nothing_is_refused(bench: Bench) -> None:
    """An unknown run, and one without cards, have nothing to be judged by."""
    with pytest.raises(NotFound):
        workers.simulate(bench.world, SimulateRun(run_id="r"))
    bench.start()
    with pytest.raises(Conflict) as refused:
        workers.simulate(bench.world, SimulateRun(run_id="r"))
    assert refused.value.code == "no_cards"


def test_the_status_tells_energy_and_runway(make_bench: Callable[..., Bench]) -> None:
    """1 USD in 100 s of a cap of 4 USD leaves 3 USD for 5 minutes; without a cap nobody knows."""
    bench = make_bench()
    bench.start(tasks=2, budget=4.0)
    bench.card("a")
    assert (bench.status().runway_minutes, bench.status().spend_energy_kwh) == (None, None)
    bench.work(100)
    status = bench.status()
    assert status.runway_minutes == pytest.approx(5.0, rel=1e-3)
    assert status.spend_energy_kwh is not None
    assert status.spend_energy_kwh > 0


def test_a_file_from_before_serves_on(tmp_path: Path) -> None:
    """Whoever updates must not lose the executor's runs: the table of workers' words is added to an older file."""
    path = str(tmp_path / "pas.db")
    old = store.open_store(path)
    old.execute("DROP TABLE told")
    old.close()
    again = store.open_store(path)
    assert store.told_of_run(again, "r", store.KPI) == []
    again.close()
