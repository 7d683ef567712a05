"""Do the executor's commands tell the truth, to people and to scripts?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plms_pipeline.cli import main
from plms_pipeline_tests.pas.reference.conftest import card_message, start_message
from plms_pipeline_tests.pas.server import ReferencePas, reference_pas


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferencePas]:
    """One for all tests that only ask it."""
    with reference_pas(tmp_path_factory.mktemp("pas") / "data", speed=1e6) as running:
        yield running


@pytest.fixture
def pas(executor: ReferencePas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReferencePas:
    monkeypatch.setenv("PLMS_DATA_DIR", str(executor.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("PLMS_PAS_URL", executor.url)
    return executor


@pytest.mark.live
def test_health_says_where_and_what_it_can(pas: ReferencePas, capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing on call asks: is it there, and is it the one that we mean."""
    assert main(["pas", "health", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["url"], told["status"], told["dialect"]) == (pas.url, "ok", "pas")
    assert "pause_task" in told["capabilities"]
    assert told["providers"]["openai/gpt-4"]
    assert main(["pas", "health"]) == 0
    assert f"url: {pas.url}" in capsys.readouterr().out


@pytest.mark.live
def test_status_shows_tasks_money_and_reasons(pas: ReferencePas, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is stuck is looked at here first."""
    with pas.client() as client:
        client.submit_run(start_message("run-1", tasks=1))
        client.submit_card(card_message("first", "run-1", budget_usd=0.000001))
        deadline = time.monotonic() + 20
        while (status := client.run_status("run-1")) is None or status.tasks_failed == 0:
            assert time.monotonic() < deadline
    assert main(["pas", "status", "run-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["status"] == "failed"
    assert main(["pas", "status", "run-1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "needs_review, 0 of 1 tasks good, 1 not" in shown


@pytest.mark.live
def test_an_unknown_run_is_no_data(pas: ReferencePas, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 would read as a run without tasks."""
    assert main(["pas", "status", "nobody"]) == 3
    assert "does not know run nobody" in capsys.readouterr().err


def test_an_absent_executor_is_exit_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts tell "away" from "no" by the exit code; people by the address to look at."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PLMS_PAS_URL", "http://127.0.0.1:9")
    assert main(["pas", "health", "--json"]) == 4
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "pas_unavailable"


def test_the_faults_can_be_listed(tmp_path: Path) -> None:
    """Nobody remembers fourteen names."""
    done = subprocess.run(
        [sys.executable, "-m", "plms_pipeline.cli", "pas", "serve", "--fault", "list", "--json"],
        env={"PLMS_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert {"lost", "kpi_red", "ambiguous"} <= set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "address", ["notaurl", "127.0.0.1:6100", "ftp://x", "http://", "http://a b", "http://[::1", ""]
)
def test_an_address_that_is_none_is_refused_before_anything_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    """It was served all the same, and every event waited for ever in the executor's outbox."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    assert main(["pas", "serve", "--port", "0", "--plms", address, "--db", str(tmp_path / "pas.db")]) == 2
    assert "is no address; give one such as http://127.0.0.1:6100" in capsys.readouterr().err
    assert not (tmp_path / "pas.db").exists()
