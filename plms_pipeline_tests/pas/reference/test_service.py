"""Does the executor as a real process keep what it was given, whatever happens to it?"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from plms_pipeline.access.webhooks import EVENT_ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from plms_pipeline.errors import Unauthenticated
from plms_pipeline.pas.client import PasClient, PasRefused, PasUnavailable
from plms_pipeline.pas.files import webhook_secret
from plms_pipeline.pas.protocol import RunStatus, TaskCompleted
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.pas.reference.conftest import card_message, start_message
from plms_pipeline_tests.pas.scripted import Reply, Request, scripted_server
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas

pytestmark = pytest.mark.live


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One for all tests that need nothing of its own; each has its own runs."""
    with reference_pas(tmp_path_factory.mktemp("pas") / "data", speed=100_000) as running:
        yield running


def ended(client: PasClient, run_id: str = "r") -> RunStatus | None:
    status = client.run_status(run_id)
    return status if status is not None and status.status not in ("executing", "paused") else None


def test_a_run_is_worked_to_its_end(executor: ReferencePas) -> None:
    """The whole way: health, start, cards with dependencies, artifacts, receipts."""
    with executor.client() as client:
        assert client.health().status == "ok"
        assert client.run_status("whole") is None
        client.submit_run(start_message("whole", tasks=3))
        folder = executor.data_dir / "runs" / "whole"
        for number in range(3):
            client.submit_card(
                card_message(
                    str(number),
                    "whole",
                    deps=[str(number - 1)] if number else [],
                    payload={"artifacts_dir": str(folder / str(number))},
                )
            )
        until(lambda: ended(client, "whole"))
        status = client.run_status("whole")
        assert status is not None
        assert (status.status, status.tasks_completed, status.tasks_failed) == ("completed", 3, 0)
        receipts = [task.receipt for task in status.tasks if task.receipt is not None]
        assert sum(receipt.cost_usd or 0 for receipt in receipts) == status.spend_usd > 0
        assert all(receipt.completed_at <= datetime.now(UTC) for receipt in receipts)
        assert all((folder / str(number) / "plms_artifact.json").is_file() for number in range(3))


def test_one_card_from_many_clients_at_once_is_one_task(executor: ReferencePas) -> None:
    """Twenty dispatchers that retry the same ambiguous submission must not make twenty tasks."""
    with executor.client() as client:
        client.submit_run(start_message("crowd", tasks=1))
        with ThreadPoolExecutor(20) as pool:
            accepted = list(pool.map(lambda _: client.submit_card(card_message("a", "crowd")), range(40)))
        assert len({one.pas_task_id for one in accepted}) == 1
        assert Counter(one.duplicate for one in accepted) == {True: 39, False: 1}


def test_refusals_reach_the_client_in_the_executors_words(executor: ReferencePas) -> None:
    """The stub accepted unknown lanes, unknown dependencies and any run_kind."""
    with executor.client() as client:
        client.submit_run(start_message("refused", tasks=2))
        for more, code in (({"lane": 9}, "unknown_lane"), ({"deps": ["z"]}, "unknown_dependency")):
            with pytest.raises(PasRefused) as raised:
                client.submit_card(card_message("a", "refused", **more))
            assert raised.value.pas_code == code
        with pytest.raises(PasRefused) as raised:
            client.submit_run(start_message("refused", tasks=3))
        assert raised.value.pas_code == "run_exists"
    body = start_message("other").model_dump(mode="json")
    for wrong in ({"run_kind": "experiment"}, {"tasks_total": 0}, {"budget": 1}):
        answer = httpx.post(f"{executor.url}/pas/v1/runs/start", json={**body, **wrong}, trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_message")


def test_replays_are_marked_in_the_header(executor: ReferencePas) -> None:
    """The stub answered 200 without the header that the protocol promises."""
    start, card = (
        start_message("again", tasks=1).model_dump(mode="json"),
        card_message("a", "again").model_dump(mode="json"),
    )
    seen = []
    for path, body in (("runs/start", start), ("runs/start", start), ("jobcards", card), ("jobcards", card)):
        answer = httpx.post(f"{executor.url}/pas/v1/{path}", json=body, trust_env=False)
        seen.append((answer.status_code, answer.headers["Idempotent-Replay"]))
    assert seen == [(200, "false"), (200, "true"), (201, "false"), (200, "true")]


def test_a_worker_tells_in_the_words_of_the_protocol(tmp_path: Path) -> None:
    """The messages as the sources spell them, over HTTP; their own stub refused its KPI message with 422."""
    with reference_pas(tmp_path / "data", speed=0.001) as pas, pas.client() as client:
        client.submit_run(start_message(tasks=1))
        client.submit_card(card_message("a"))
        told = {"run_id": "r", "task_id": "a"}
        until(lambda: (status := client.run_status("r")) is not None and status.tasks[0].status == "running")

        def post(path: str, **body: object) -> tuple[int, dict[str, object]]:
            answer = httpx.post(f"{pas.url}/pas/v1/{path}", json=body, trust_env=False)
            return answer.status_code, answer.json()

        moment = datetime.now(UTC).isoformat()
        assert post("heartbeats", **told, ts=moment, progress_pct=0.4, est_remaining_ms=1000)[0] == 200
        code, answer = post(
            "kpis", **told, lane=4200, kpi_name="tests", value=0.8, threshold={"min": 0.9}, **{"pass": False}
        )
        assert (code, answer["status"]) == (200, "running")
        code, answer = post("runs/simulate", run_id="r", rehearsal_pct=0.05, stratified=True)
        assert (code, answer["strata_coverage"], answer["tasks_total"]) == (200, 1.0, 1)
        status = client.run_status("r")
        assert status is not None
        assert (status.tasks[0].progress, [one.kpi_name for one in status.kpi_violations]) == (0.4, ["tests"])
        spent = {
            "lane": 4200,
            "provider": "p",
            "tokens_in": 1,
            "tokens_out": 1,
            "tokens_think": 0,
            "time_ms": 5,
            "cost_usd": 0.1,
        }
        code, answer = post("receipts", **told, **spent, energy_kwh=0.1, echo_cos=0.9, status="succeeded")
        assert (code, answer["status"]) == (200, "succeeded")
        assert (ended(client) or status).status == "completed"
        assert post("receipts", run_id="r", task_id="z", **spent, status="succeeded")[0] == 404


def test_pause_and_terminate_hold_in_the_running_process(tmp_path: Path) -> None:
    """In the stub pause did nothing and a terminated run came back as completed."""
    with reference_pas(tmp_path / "data", speed=200) as slow, slow.client() as client:
        client.submit_run(start_message(tasks=2))
        client.submit_card(card_message("a"))
        assert client.pause("r").status == "paused"
        client.submit_card(card_message("b"))
        before = client.run_status("r")
        time.sleep(0.3)
        after = client.run_status("r")
        assert before is not None
        assert after is not None
        assert [task.progress for task in before.tasks] == [task.progress for task in after.tasks]
        assert client.terminate("r", "enough").status == "terminated"
        with pytest.raises(PasRefused):
            client.resume("r")
        time.sleep(0.3)
        status = client.run_status("r")
        assert status is not None
        assert (status.status, status.reason) == ("terminated", "enough")


def test_a_command_really_runs_and_is_paused_and_cancelled(executor: ReferencePas) -> None:
    """Validators need true artifacts; and a cancel that leaves the process running cancels only the books."""
    place = executor.data_dir / "runs" / "commands"

    def command(task: str, code: str) -> None:
        payload = {"command": ["python", "-c", code], "artifacts_dir": str(place / task)}
        client.submit_card(card_message(task, "commands", payload=payload))

    with executor.client() as client:
        client.submit_run(start_message("commands", tasks=3))
        command("good", "open('made.txt', 'w').write('by hand')")
        command("bad", "raise SystemExit(3)")
        # A number that no other test's command line holds.
        command("long", "import time; time.sleep(601.25)")
        until(lambda: is_running(b"601.25"))
        client.pause("commands")
        client.resume("commands")
        until(lambda: [task.status for task in client.run_status("commands").tasks[:2]] == ["succeeded", "failed"])  # type: ignore[union-attr]  # it is known
        client.cancel_card("commands", "long")
        until(lambda: ended(client, "commands"))
        status = client.run_status("commands")
    assert status is not None
    by_name = {task.task_id: task for task in status.tasks}
    assert (place / "good" / "made.txt").read_text() == "by hand"
    assert by_name["good"].receipt is not None
    assert by_name["good"].receipt.artifacts_path == str(place / "good")
    assert "ended with 3" in (by_name["bad"].error or "")
    assert by_name["long"].status == "cancelled"
    until(lambda: not is_running(b"601.25"))


def is_running(words: bytes) -> bool:
    """Whether some process has these words in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words in path.read_bytes():
                return True
    return False


def test_kill_nine_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """Runs, cards, spending and untold events survive; every task ends once; every end is told with one id."""
    took: dict[str, set[bytes]] = {}
    lock = threading.Lock()

    def inbox(request: Request, _number: int) -> Reply:
        with lock:
            took.setdefault(request.headers[EVENT_ID_HEADER.lower()], set()).add(request.body)
        return Reply(202)

    with (
        scripted_server(inbox) as plms,
        reference_pas(tmp_path / "data", plms_url=plms.url, speed=2000) as pas,
        pas.client(attempts=40) as client,
    ):
        client.submit_run(start_message(tasks=24))
        keys = {}
        for number in range(24):
            lane = (4200, 4201, 4202, 5100, 5101, 5102)[number % 6]
            payload = {"artifacts_dir": str(tmp_path / "data" / "r" / str(number))}
            if number % 8 == 0:
                payload |= {"command": ["python", "-c", "import time; time.sleep(0.3); open('x', 'w').write('y')"]}
            card = card_message(str(number), lane=lane, payload=payload)
            keys[number] = client.submit_card(card).pas_task_id
            if number % 12 == 5:
                pas.kill()
                pas.start()
                again = client.submit_card(card)
                assert (again.duplicate, again.pas_task_id) == (True, keys[number])
        for _ in range(2):
            time.sleep(0.15)
            pas.kill()
            pas.start()
        until(lambda: ended(client), 60)
        status = client.run_status("r")
        assert status is not None
        assert (status.status, status.tasks_completed) == ("completed", 24)
        assert {task.pas_task_id for task in status.tasks} == set(keys.values())
        costs = [task.receipt.cost_usd for task in status.tasks if task.receipt is not None]
        assert sum(cost for cost in costs if cost is not None) == status.spend_usd
        # 24 tasks, the end of the run and the bare hint.
        until(lambda: len(took) == 26)
    assert all(len(bodies) == 1 for bodies in took.values())
    assert all((tmp_path / "data" / "r" / str(number)).is_dir() for number in range(24))


def test_events_are_signed_afresh_and_forged_ones_do_not_pass(tmp_path: Path) -> None:
    """A signature made once is stale when the receiver comes back from lunch; a forged event must be recognisable."""
    settings = load_settings({"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path)})
    checked: Counter[str] = Counter()
    times: dict[str, set[str]] = {}

    def inbox(request: Request, _number: int) -> Reply:
        event_id, at = request.headers[EVENT_ID_HEADER.lower()], request.headers[TIMESTAMP_HEADER.lower()]
        try:
            verify(
                webhook_secret(settings), event_id, int(at), request.body, request.headers[SIGNATURE_HEADER.lower()],
                now=datetime.now(UTC),
            )  # fmt: skip
        except Unauthenticated:
            checked["forged"] += 1
            return Reply(401)
        times.setdefault(event_id, set()).add(at)
        if len(times[event_id]) < 2:
            return Reply(503)
        checked["taken"] += 1
        return Reply(202)

    with (
        scripted_server(inbox) as plms,
        reference_pas(tmp_path / "data", plms_url=plms.url, speed=1e6, faults={"forged": 1.0}) as pas,
        pas.client() as client,
    ):
        client.submit_run(start_message(tasks=1))
        client.submit_card(card_message("a"))
        until(lambda: checked["taken"] == 3)
    assert checked["forged"] == 3
    assert all(len(one) >= 2 for one in times.values())


def test_ambiguous_and_slow_submissions_have_their_effect(tmp_path: Path) -> None:
    """The answer is lost or late, the work is not: only the same key makes the repetition safe."""
    faults = {"ambiguous": 0.3, "slow": 0.2}
    with (
        reference_pas(tmp_path / "data", speed=1e6, faults=faults, arguments=("--slow-s", "1.5")) as pas,
        pas.client(timeout_s=0.5, attempts=30, breaks=False) as client,
    ):
        client.submit_run(start_message(tasks=12))
        answers = [client.submit_card(card_message(str(number))) for number in range(12)]
        until(lambda: ended(client))
        status = client.run_status("r")
    assert status is not None
    assert (status.status, len(status.tasks)) == ("completed", 12)
    assert any(answer.duplicate for answer in answers)


def test_strangers_without_the_token_get_nothing(tmp_path: Path) -> None:
    """Whoever reaches the executor may run commands on its machine."""
    with reference_pas(tmp_path / "data", environment={"PLMS_PAS_TOKEN": uuid4().hex}) as pas:
        with pas.client() as known:
            assert known.provider_state().providers["openai/gpt-4"] == "gpt-4-0613"
        assert httpx.get(f"{pas.url}/pas/v1/providers", trust_env=False).status_code == 401
        assert httpx.get(f"{pas.url}/health", trust_env=False).status_code == 200
        stranger = PasClient(pas.url, sleep=time.sleep, chance=lambda: 0.0, monotonic_s=time.monotonic)
        with stranger, pytest.raises(PasUnavailable, match="PLMS_PAS_TOKEN"):
            stranger.health()


def test_an_architect_run_is_worked_under_its_own_id(executor: ReferencePas) -> None:
    """The guide's dialect from one end to the other, with events that carry the executor's id."""
    with executor.client(dialect="architect") as client:
        cards = [card_message("a", "ours", deps=["b"]), card_message("b", "ours")]
        accepted = client.submit_run(start_message("ours", tasks=2), cards)
        assert accepted.run_id != "ours"
        assert client.submit_run(start_message("ours", tasks=2), cards).run_id == accepted.run_id
        assert client.run_status("ours") is None
        until(lambda: ended(client, accepted.run_id))
        status = client.run_status(accepted.run_id)
    assert status is not None
    assert status.status == "completed"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "PLMS_PAS_TOKEN"),
        (["--host", "nowhere.invalid"], "no address"),
        (["--fault", "typo=1"], "no fault"),
        (["--samples", "/nonexistent"], "--samples"),
        (["--lane", "x=1"], "--lane"),
    ],
)
def test_a_wrong_option_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """A traceback does not say what to change."""
    done = serve(tmp_path, *arguments)
    assert done.returncode in (2, 3)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def serve(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plms_pipeline.cli", "pas", "serve", "--port", "0", *arguments],
        env={"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_two_executors_on_one_database_are_refused(executor: ReferencePas) -> None:
    """Both would end every task, and tell it."""
    done = serve(executor.data_dir.parent)
    assert done.returncode == 1
    assert "already runs" in done.stderr


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    """Someone names the registry's file by mistake."""
    import sqlite3

    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE projects (id INTEGER)")
    connection.close()
    done = serve(tmp_path, "--db", str(other))
    assert done.returncode == 2
    assert "not a database of this executor" in done.stderr


def test_it_stops_when_asked_and_says_so(tmp_path: Path) -> None:
    """A service manager that must kill it takes thirty seconds for every restart."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plms_pipeline.cli", "pas", "serve", "--port", "0", "--json"],
        env={"PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert set(json.loads(process.stdout.readline())) == {"url", "db", "plms"}
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_told_ends_can_be_read_by_the_receiver(tmp_path: Path) -> None:
    """Sender and receiver share the models; this is what the receiver will parse, from the wire."""
    bodies: list[bytes] = []

    def inbox(request: Request, _number: int) -> Reply:
        bodies.append(request.body)
        return Reply(202)

    with scripted_server(inbox) as plms, reference_pas(tmp_path / "data", plms_url=plms.url, speed=1e6) as pas:
        with pas.client() as client:
            client.submit_run(start_message(tasks=1))
            client.submit_card(card_message("a"))
        until(lambda: len(bodies) == 3)
    told = [TaskCompleted.model_validate_json(body) for body in bodies if b'"task_completed"' in body]
    assert [(event.task_id, event.status, event.receipt is not None) for event in told] == [("a", "succeeded", True)]
