"""Everything of ours that runs behind the pages, over one data directory: API, executor, Dagster UI."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from plms_pipeline.access.files import make_keys
from plms_pipeline.access.roles import ROLES
from plms_pipeline.access.tokens import issue

LOCATION = "plms_pipeline.definitions"
ROWS = 400
PROJECT = 2
INDEX, SIGNAL, SMOOTHER = "sp500_daily.csv.gz", "signal.csv.gz", "smoother.yaml"
# Deadlines are for what hangs: on a machine that others use too, everything takes several times as long.
WAIT_S = 300.0
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
# As a link inside of the UI does. False where no page of the UI is open yet.
FOLLOW = """path => {
  if (!document.querySelector("#root")) return false;
  history.pushState({}, "", path);
  dispatchEvent(new PopStateEvent("popstate", {state: {}}));
  return true;
}"""
# The Launchpad keeps what was typed under the name of the job.
TYPED = """([job, text]) => Object.entries(localStorage).some(([name, kept]) =>
  name.includes(job) && kept.includes(JSON.stringify(text).slice(1, -1)))"""
VALUES = ("text", "mdStr", "boolValue", "intValue")


def environ_of(data_dir: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PLMS_", "DAGSTER_"))}
    paths = {"PLMS_DATA_DIR": str(data_dir), "PLMS_REPORTS_DIR": str(data_dir / "reports")}
    return {**kept, **paths, "MPLBACKEND": "agg"}


def sample(source: Path, target: Path, rows: int) -> Path:
    """The first rows of a shipped sample: enough for every asset, few enough for a short night."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        lines = [line for line, _ in zip(file, range(rows + 1), strict=False)]
    target.write_text("".join(lines), encoding="utf-8")
    return target


@dataclass(frozen=True)
class Ui:
    """A running UI; what happened is asked over GraphQL, what a person sees in the browser."""

    url: str
    # By role; none where everybody may do everything.
    tokens: dict[str, str] = field(default_factory=dict)

    def sign_in(self, page: Any, role: str = "admin") -> None:
        """Give a page the session of somebody with a role; what it showed to somebody else is left."""
        page.goto("about:blank")
        session = {"name": "plms_session", "value": self.tokens[role], "url": self.url, "httpOnly": True}
        page.context.add_cookies([{**session, "sameSite": "Strict"}])

    def visit(self, page: Any, path: str) -> None:
        """Go to a page of Dagster's as a click on a link does, for which the UI is not loaded and compiled anew."""
        if not page.url.startswith(f"{self.url}/") or not page.evaluate(FOLLOW, path):
            page.goto(f"{self.url}{path}")

    def launch(self, page: Any, job: str, config: dict[str, Any], shot: Path | None = None) -> str:
        """Fill in the Launchpad as a person does and press the button; the id of the run that came of it."""
        self.visit(page, playground(job))
        page.locator(".CodeMirror").first.wait_for()
        text = json.dumps(config, indent=2)
        page.evaluate("text => document.querySelector('.CodeMirror').CodeMirror.setValue(text)", text)
        eventually(lambda: page.evaluate(TYPED, [job, text]), page)
        page.get_by_text("No errors").first.wait_for()
        button = page.get_by_role("button", name="Launch run", exact=False).first
        if shot is not None:
            page.screenshot(path=str(shot))
        button.click()
        page.wait_for_url("**/runs/**")
        return str(page.url.rpartition("/runs/")[2].partition("?")[0])

    def graphql(self, query: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.tokens['admin']}"} if self.tokens else {}
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, headers=headers, timeout=120)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data

    def ended(self, run_id: str) -> None:
        """Wait until a run has ended, well or not."""
        query = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'
        eventually(lambda: self.graphql(query)["runOrError"]["status"] in ENDED, every_s=0.5)

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first, its tags as a mapping."""
        query = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
        found = self.graphql(query)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]


def playground(job: str) -> str:
    """Where the Launchpad of a job is."""
    return f"/locations/{LOCATION}/jobs/{job}/playground"


def eventually(condition: Callable[[], Any], page: Any = None, every_s: float = 0.2) -> Any:
    """What a condition says as soon as it is something; a page goes on meanwhile, whose events come while Playwright waits."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        if page is None:
            time.sleep(every_s)
        else:
            page.wait_for_timeout(every_s * 1000)
    return pytest.fail(f"it did not happen within {WAIT_S:.0f} s")


def tokens_of(data_dir: Path) -> dict[str, str]:
    """Keys, and a token for `a-<role>` of each role; what `plms token keys` and `plms token issue` do."""
    now = datetime.now(UTC)
    key = make_keys(data_dir, alg="HS256", now=now, rotate=False).current
    return {
        role: issue(
            key, subject=f"a-{role}", role=role, issuer="plms", audience="plms-api", now=now, ttl=timedelta(hours=1),
            token_id=role,
        )
        for role in ROLES
    }  # fmt: skip


def plms(environ: dict[str, str], *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
    """What a command of ours prints."""
    done = subprocess.run(
        [sys.executable, "-m", "plms_pipeline.cli", *arguments], env=environ, cwd=environ["PLMS_DATA_DIR"],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode in allowed, (
        f"plms {' '.join(arguments)} exited {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout


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
        return json.loads(plms(self.environ, *arguments, "--json"))

    def launched(self, page: Any, job: str, config: dict[str, Any], shot: Path | None = None) -> dict[str, str]:
        """Fill in the Launchpad as a person does and press the button; the metadata of the run that came of it."""
        return self._outcome(self.ui.launch(page, job, {"ops": {self._op(job): {"config": config}}}, shot))

    def _op(self, job: str) -> str:
        query = (
            f'{{ pipelineOrError(params: {{repositoryLocationName: "{LOCATION}", repositoryName: "__repository__", '
            f'pipelineName: "{job}"}}) {{ ... on Pipeline {{ solids {{ name }} }} }} }}'
        )
        return str(self.ui.graphql(query)["pipelineOrError"]["solids"][0]["name"])

    def _outcome(self, run_id: str) -> dict[str, str]:
        query = (
            f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status eventConnection(limit: 1000) {{ events {{ __typename '
            "... on ExecutionStepOutputEvent { metadataEntries { label ... on TextMetadataEntry { text } "
            "... on MarkdownMetadataEntry { mdStr } ... on BoolMetadataEntry { boolValue } "
            "... on IntMetadataEntry { intValue } } } "
            "... on ExecutionStepFailureEvent { error { message } } } } } } }"
        )
        self.ui.ended(run_id)
        run = self.ui.graphql(query)["runOrError"]
        events = run["eventConnection"]["events"]
        assert run["status"] == "SUCCESS", [event.get("error") for event in events if event.get("error")]
        return {
            entry["label"]: str(next((entry[key] for key in VALUES if key in entry), ""))
            for event in events
            for entry in event.get("metadataEntries", ())
        }  # fmt: skip


@contextmanager
def served(environ: dict[str, str], log: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """A server of ours, and the line in which it says that it is ready."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "plms_pipeline.cli", *arguments, "--json"], env=environ, cwd=environ["PLMS_DATA_DIR"],
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)
