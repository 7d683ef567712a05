"""A prepared data directory, a real `plms ui` on a free port, and a real Chromium."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from plms_pipeline.access.files import make_keys
from plms_pipeline.access.roles import ROLES
from plms_pipeline.access.tokens import issue
from plms_pipeline.settings import load_settings, project_root

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
LOCATION = "plms_pipeline.definitions"
ROWS = 400


def _environ(data_dir: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PLMS_", "DAGSTER_"))}
    paths = {"PLMS_DATA_DIR": str(data_dir), "PLMS_REPORTS_DIR": str(data_dir / "reports")}
    return {**kept, **paths, "MPLBACKEND": "agg"}


def _plms(data_dir: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    command = [sys.executable, "-m", "plms_pipeline.cli", *arguments]
    done = subprocess.run(
        command, env=_environ(data_dir), cwd=data_dir, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode not in allowed:
        pytest.fail(f"plms {' '.join(arguments)} exited {done.returncode}: {done.stdout}{done.stderr}")


def _sample(source: Path, target: Path, rows: int) -> Path:
    """The first rows of a shipped sample: enough for every asset, few enough for a short night."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        lines = [line for line, _ in zip(file, range(rows + 1), strict=False)]
    target.write_text("".join(lines), encoding="utf-8")
    return target


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after one small night, with an artifact in it that fails its gates."""
    root = project_root()
    assert root is not None
    samples, folder = root / "data" / "samples", tmp_path_factory.mktemp("ui")
    data_dir = folder / "data"
    data_dir.mkdir()
    _plms(data_dir, "db", "upgrade")
    for source in ("swebench", "metr"):
        sample = _sample(samples / f"{source}_agent_runs.csv.gz", folder / f"{source}.csv", ROWS)
        _plms(data_dir, "import", source, str(sample))
    _plms(data_dir, "kpi", "warehouse", "load", str(samples / "artifacts" / "warehouse.sql"))
    for artifact in ("4201-delimited-text", "4202-operator-guide"):
        _plms(data_dir, "kpi", "inbox", "add", str(samples / "artifacts" / artifact))
    # Whether the books of so small a sample balance is not the question here; that there is a report is.
    _plms(data_dir, "nightly", allowed=(0, 1))
    assert list((data_dir / "reports" / "nightly").glob("*/summary.json"))
    return data_dir


@dataclass(frozen=True)
class Ui:
    """A running UI; what happened is asked over GraphQL, what a person sees in the browser."""

    url: str
    # By role; none where everybody may do everything.
    tokens: dict[str, str] = field(default_factory=dict)

    def sign_in(self, page: Any, role: str = "admin") -> None:
        """Give a page the session of somebody with a role."""
        session = {"name": "plms_session", "value": self.tokens[role], "url": self.url, "httpOnly": True}
        page.context.add_cookies([{**session, "sameSite": "Strict"}])

    def graphql(self, query: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.tokens['admin']}"} if self.tokens else {}
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, headers=headers, timeout=30)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first, its tags as a mapping."""
        query = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
        found = self.graphql(query)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]


def _tokens(data_dir: Path) -> dict[str, str]:
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


@contextmanager
def opened(data_dir: Path) -> Iterator[Ui]:
    """`plms ui`, with its daemon, on a free port over a data directory; people sign in."""
    tokens = _tokens(data_dir)
    command = [sys.executable, "-m", "plms_pipeline.cli", "ui", "--port", "0", "--no-browser", "--json"]
    log = data_dir.parent / "ui.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env=_environ(data_dir), cwd=data_dir, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        ready = json.loads(line)
        assert ready["load_errors"] == []
        assert ready["asks_to_sign_in"]
        yield Ui(ready["url"], tokens)
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="session")
def ui(prepared: Path) -> Iterator[Ui]:
    """The UI over a data directory after one small night."""
    with opened(prepared) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The Chromium on PATH, headless."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"none of {', '.join(BROWSERS)} is on PATH; install one, for example `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh page; an error in its console that is not ours to judge is ignored, an exception is not."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    opened = context.new_page()
    crashes: list[str] = []
    opened.on("pageerror", lambda error: crashes.append(str(error)))
    opened.set_default_timeout(20_000)
    yield opened
    context.close()
    assert crashes == []


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where people find the pictures: reports/ui, or where PLMS_REPORTS_DIR points."""
    folder = load_settings().reports_dir / "ui"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def other_site() -> Iterator[Any]:
    """Another origin on this machine, which serves whatever page a test puts on it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = site.page.encode()  # type: ignore[attr-defined]  # a test's own attribute
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Silence."""

    site = HTTPServer(("127.0.0.1", 0), Handler)
    site.page = ""  # type: ignore[attr-defined]
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    yield site
    site.shutdown()
    site.server_close()
    thread.join()
