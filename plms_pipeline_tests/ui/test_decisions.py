"""A project is approved, started, reviewed and let pass by somebody who never leaves the Launchpad."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from plms_pipeline.settings import project_root
from plms_pipeline_tests.ui.conftest import LOCATION, ROWS, Ui, _environ, _sample

pytestmark = pytest.mark.ui

PROJECT = 2
WAIT_S = 150
VALUES = ("text", "mdStr", "boolValue", "intValue")


def free_port() -> int:
    """A port that was free a moment ago; two servers must know each other before either runs."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class House:
    """Everything that runs: API, executor and UI over one data directory."""

    ui: Ui
    environ: dict[str, str]

    def plms(self, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "plms_pipeline.cli", *arguments, "--json"], env=self.environ, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def launched(self, page: Any, job: str, config: dict[str, Any], shot: Path | None = None) -> dict[str, str]:
        """Fill in the Launchpad as a person does and press the button; the metadata of the run that came of it."""
        op = self._op(job)
        page.goto(f"{self.ui.url}/locations/{LOCATION}/jobs/{job}/playground")
        page.locator(".CodeMirror").first.wait_for()
        text = json.dumps({"ops": {op: {"config": config}}}, indent=2)
        page.evaluate("text => document.querySelector('.CodeMirror').CodeMirror.setValue(text)", text)
        button = page.get_by_role("button", name="Launch run", exact=False).first
        page.wait_for_timeout(800)
        if shot is not None:
            page.screenshot(path=str(shot))
        button.click()
        page.wait_for_url("**/runs/**")
        run_id = page.url.rpartition("/runs/")[2].partition("?")[0]
        return self._outcome(run_id)

    def _op(self, job: str) -> str:
        query = (
            f'{{ pipelineOrError(params: {{repositoryLocationName: "{LOCATION}", repositoryName: "__repository__", '
            f'pipelineName: "{job}"}}) {{ ... on Pipeline {{ solids {{ name }} }} }} }}'
        )
        return str(self.ui.graphql(query)["pipelineOrError"]["solids"][0]["name"])

    def _outcome(self, run_id: str) -> dict[str, str]:
        deadline = time.monotonic() + WAIT_S
        query = (
            f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status eventConnection(limit: 1000) {{ events {{ __typename '
            "... on ExecutionStepOutputEvent { metadataEntries { label ... on TextMetadataEntry { text } "
            "... on MarkdownMetadataEntry { mdStr } ... on BoolMetadataEntry { boolValue } "
            "... on IntMetadataEntry { intValue } } } "
            "... on ExecutionStepFailureEvent { error { message } } } } } } }"
        )
        while time.monotonic() < deadline:
            run = self.ui.graphql(query)["runOrError"]
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                events = run["eventConnection"]["events"]
                assert run["status"] == "SUCCESS", [event.get("error") for event in events if event.get("error")]
                return {
                    entry["label"]: str(next((entry[key] for key in VALUES if key in entry), ""))
                    for event in events
                    for entry in event.get("metadataEntries", ())
                }  # fmt: skip
            time.sleep(0.5)
        pytest.fail(f"run {run_id} has not ended after {WAIT_S} s")


@contextmanager
def served(environ: dict[str, str], log: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """A server of ours, and the line in which it says that it is ready."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "plms_pipeline.cli", *arguments, "--json"], env=environ, stdout=subprocess.PIPE,
            stderr=errors, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Samples, some history, an executor at a thousand times speed, API and UI; one person works here alone."""
    root = project_root()
    assert root is not None
    folder = tmp_path_factory.mktemp("house")
    api, pas = free_port(), free_port()
    environ = {
        **_environ(folder / "data"), "PLMS_AUTH": "disabled", "PLMS_API_PORT": str(api),
        "PLMS_PAS_URL": f"http://127.0.0.1:{pas}",
    }  # fmt: skip
    (folder / "data").mkdir()
    house = House(Ui(""), environ)
    house.plms("db", "upgrade")
    house.plms("project", "samples")
    samples = root / "data" / "samples"
    house.plms(
        "import", "swebench", str(_sample(samples / "swebench_agent_runs.csv.gz", folder / "swebench.csv", ROWS))
    )
    house.plms("kpi", "warehouse", "load", str(samples / "artifacts" / "warehouse.sql"))
    house.plms("project", "estimate", str(PROJECT))
    house.plms("project", "submit", str(PROJECT))
    with ExitStack() as stack:
        stack.enter_context(served(environ, folder / "pas.log", "pas", "serve", "--port", str(pas)))
        stack.enter_context(served(environ, folder / "api.log", "serve", "--port", str(api)))
        ready = stack.enter_context(served(environ, folder / "ui.log", "ui", "--port", "0", "--no-browser"))
        assert ready["load_errors"] == []
        yield House(Ui(ready["url"]), environ)


def test_a_project_is_approved_started_and_let_pass_from_the_launchpad(
    house: House, page: Any, screenshots: Path
) -> None:
    """What a person decides twice a year must be possible without a manual: forms, a button, and what came of it."""
    approved = house.launched(
        page, "approve_project", {"project_id": PROJECT, "decision": "approve", "reason": "within plan"},
        screenshots / "approve-launchpad.png",
    )  # fmt: skip
    assert approved["status"] == "approved"
    assert "Data-Ingest" in approved["plan"]

    started = house.launched(
        page, "start_project_run", {"project_id": PROJECT, "wait_s": 120}, screenshots / "start-launchpad.png"
    )
    run_id = started["run_id"]
    assert (started["status"], started["validation"]) == ("SUCCESS", "failed")
    page.screenshot(path=str(screenshots / "start-run.png"))

    asked = house.launched(
        page, "request_kpi_override", {"run_id": run_id, "reason": "six families have no run to load", "teach": False}
    )
    assert "row_count_delta" in asked["kpi_receipts"]
    assert "families" in asked["kpi_receipts"]
    decided = house.launched(
        page, "decide_kpi_override",
        {"run_id": run_id, "decision": "approve", "reason": "known and accepted",
         "evidence_sha256": asked["evidence_sha256"]},
        screenshots / "override-launchpad.png",
    )  # fmt: skip
    assert (decided["validation"], decided["effective_verdict"]) == ("failed", "passed")
    assert decided["project_status"] == "completed"
    page.get_by_text("decide_override").first.wait_for()
    page.screenshot(path=str(screenshots / "override-run.png"))
    told = house.plms("project", "show", str(PROJECT))
    assert told["status"] == "completed"
    launches = {run["jobName"]: run["tags"]["plms/launched_from"] for run in house.ui.runs()}
    assert launches["decide_kpi_override"] == "ui"


def test_the_session_report_of_the_run_says_that_it_was_let_pass(house: House, page: Any, screenshots: Path) -> None:
    """The report is what people read a month later: the measured verdict, and who let it pass, why."""
    [run] = [run for run in house.plms("run", "list")["runs"] if run["project_id"] == PROJECT]
    report = Path(house.environ["PLMS_REPORTS_DIR"]) / "sessions" / run["run_id"] / "session_report.md"
    deadline = time.monotonic() + WAIT_S
    while "known and accepted" not in report.read_text():
        assert time.monotonic() < deadline, report.read_text()
        time.sleep(1)
    assert "GATE_STATUS: overridden to pass (failed)" in report.read_text()
    page.goto(f"{house.ui.url}/assets/session_reports?view=overview")
    page.get_by_role("button", name="Materialize").first.click()
    seen = (
        '{ assetOrError(assetKey: {path: ["session_reports"]}) { ... on Asset { assetMaterializations(limit: 1) '
        "{ metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } } } } }"
    )
    found: list[Any] = []
    while not found:
        assert time.monotonic() < deadline
        time.sleep(1)
        found = house.ui.graphql(seen)["assetOrError"]["assetMaterializations"]
    assert any(run["run_id"] in entry.get("mdStr", "") for entry in found[0]["metadataEntries"])
    page.goto(f"{house.ui.url}/assets/session_reports?view=overview")
    page.get_by_text("Metadata", exact=True).first.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=str(screenshots / "session-reports.png"))


def test_the_api_shows_the_same_decision(house: House) -> None:
    """One book, whichever window it is read through."""
    answer = httpx.get(f"http://127.0.0.1:{house.environ['PLMS_API_PORT']}/api/decisions?subject=run", timeout=30)
    decisions = answer.raise_for_status().json()["decisions"]
    assert [one["decision"] for one in decisions] == ["approve", "request"]
