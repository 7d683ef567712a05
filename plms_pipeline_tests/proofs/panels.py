"""Does every panel of every dashboard show something? (`make prove-panels`)

A demo world on PostgreSQL and Redis: executor, API, guarded UI with its daemon, model server, exporter, nights; projects are
worked and models asked while a real Prometheus with the shipped configuration scrapes the four pages (every five seconds
instead of fifteen) and evaluates the shipped rules. Each question of each panel is asked of its real source until it has an
answer. What never answers is named, and fails.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from deploy.grafana.boards import BOARDS
from deploy.grafana.parts import Query
from plms_pipeline.clock import SystemClock
from plms_pipeline_tests.deploy.asking import statement
from plms_pipeline_tests.deploy.programs import DEPLOY, free_port, program
from plms_pipeline_tests.proofs.api import environment, plms, server
from plms_pipeline_tests.proofs.completions import postgresql
from plms_pipeline_tests.proofs.panels_models import Trader, promoted
from plms_pipeline_tests.redis_servers import redis_server
from plms_pipeline_tests.vectors.live import ROOT, Live, issued, new_key, say
from plms_pipeline_tests.vectors.plans import calculator

SPEED = 60.0
MOST_OPEN = 6
UNDER_WAY = ("QUEUED", "RUNNING")
SCRAPE_S = 5
WAIT_S = 600.0


@dataclass(frozen=True)
class Question:
    """One question of one panel."""

    board: str
    panel: str
    query: Query


def questions() -> list[Question]:
    """All of all dashboards."""
    return [
        Question(board.title, panel.title, query)
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ]


@dataclass
class Sources:
    """Where panels ask."""

    prometheus: str
    registry: Engine
    client: httpx.Client

    def rows(self, query: Query) -> int:
        """How many series or rows answer; 0 also while a source says that it knows no such table."""
        if query.source == "postgresql":
            with self.registry.connect() as connection:
                connection.execute(text("SET TRANSACTION READ ONLY"))
                return len(connection.execute(statement(query)).all())
        answer = self.client.get(f"{self.prometheus}/api/v1/query", params={"query": query.text})
        said = answer.json()
        assert said["status"] == "success", f"{query.text}: {said}"
        return sum(1 for series in said["data"]["result"] if series["value"][1] != "NaN")

    def sick_rules(self) -> list[str]:
        """Rules that Prometheus could not evaluate, and alerts whose words it could not fill in."""
        groups = self.client.get(f"{self.prometheus}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) > 80, len(rules)
        sick = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
        told = [alert for rule in rules for alert in rule.get("alerts", ())]
        return sick + [
            f"{alert['labels']}: {alert['annotations']}" for alert in told if "<error" in str(alert["annotations"])
        ]

    def firing(self) -> list[str]:
        """Alerts that fire now."""
        found = self.client.get(f"{self.prometheus}/api/v1/alerts").json()["data"]["alerts"]
        return sorted({alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"})


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[str]:
    """A real Prometheus with the shipped configuration, faster; its URL.

    Args:
        targets: job → host and port.
    """
    config = folder / "prometheus"
    shutil.copytree(DEPLOY / "prometheus", config)
    port = free_port()
    shipped = yaml.safe_load((config / "prometheus.yml").read_text(encoding="utf-8"))
    shipped["global"] |= {
        "scrape_interval": f"{SCRAPE_S}s",
        "scrape_timeout": f"{SCRAPE_S}s",
        "evaluation_interval": f"{SCRAPE_S}s",
    }
    shipped["scrape_configs"][1]["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (config / "prometheus.yml").write_text(yaml.safe_dump(shipped), encoding="utf-8")
    listed = [{"targets": [address], "labels": {"job": job}} for job, address in targets.items()]
    (config / "targets.yml").write_text(yaml.safe_dump(listed), encoding="utf-8")
    (config / "alertmanagers.yml").write_text("[]\n", encoding="utf-8")
    for path in (config / "rules").glob("*.yml"):
        path.write_text(
            re.sub(r"^    interval: .*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8"
        )
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [program("prometheus"), f"--config.file={config / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def past_nights(reports: Path) -> None:
    """A night that was broken and one that was clean again: files as the night writes them, from a proof of today."""
    nights = sorted((reports / "nightly").iterdir())
    proof = json.loads((nights[-1] / "invariants.json").read_text(encoding="utf-8"))
    now = SystemClock().now()
    for days, status in ((3, "fail"), (2, "pass")):
        at = now - timedelta(days=days)
        place = reports / "nightly" / at.date().isoformat()
        place.mkdir(exist_ok=True)
        told = {**proof, "timestamp": at.isoformat(), "summary": {**proof["summary"], "status": status}}
        (place / "invariants.json").write_text(json.dumps(told), encoding="utf-8")


class Work(threading.Thread):
    """People and clients: projects one after the other, repeated starts, rehearsals, reads, strangers."""

    def __init__(self, live: Live) -> None:
        super().__init__(name="work", daemon=True)
        self._live = live
        self._kinds = sorted((ROOT / "data/samples/projects").glob("*.yaml"))
        self.is_over = threading.Event()
        self.runs = 0
        self._open: list[int] = []
        self.failed: Exception | None = None

    def run(self) -> None:
        """Until told otherwise."""
        try:
            while not self.is_over.is_set():
                if self._has_room():
                    self._project(self._created())
                self.is_over.wait(4)
        except Exception as error:  # told at the end
            self.failed = error

    def _has_room(self) -> bool:
        """Whether few enough are at work that some of them end: lanes are shared fairly by all, so fifty end together, late."""
        self._open = [
            project
            for project in self._open
            if self._live.get(f"/api/projects/{project}/status")["run"]["status"] in UNDER_WAY
        ]
        return len(self._open) < MOST_OPEN

    def _created(self) -> int:
        """A project of each shipped kind, so that every lane has work, then calculators."""
        if self.runs < len(self._kinds):
            kind = self._kinds[self.runs]
            return int(self._live.command("project", "create", "--from", str(kind))["project_id"])
        return self._live.created(calculator())

    def _project(self, project: int) -> None:
        live = self._live
        live.approved(project, budget_usd=40)
        key, body = new_key(), {"run_kind": "baseline"}
        for _ in range(2):
            live.post(f"/api/projects/{project}/start", key=key, body=body)
        self.runs += 1
        self._open.append(project)
        for _ in range(4):
            live.post(f"/api/projects/{project}/simulate")
            live.get(f"/api/projects/{project}/metrics", with_ci=1)
            live.get("/api/portfolio/status")
            live.client.get(f"{live.url}/api/projects/{project}/metrics")


@contextmanager
def demo(folder: Path) -> Iterator[tuple[Live, Sources]]:
    """The whole world, worked and scraped."""
    with ExitStack() as stack:
        url = stack.enter_context(postgresql(folder / "postgresql"))
        redis = stack.enter_context(redis_server())
        environ = environment(
            folder,
            PLMS_DATABASE_URL=url,
            REDIS_URL=redis.url,
            PLMS_API_PORT=str(free_port()),
            PLMS_PORTFOLIO_DAILY_USD="5000",
        )
        for command in (("db", "upgrade"), ("token", "keys"), ("project", "samples")):
            plms(environ, *command)
        plms(environ, "kpi", "warehouse", "load", str(ROOT / "data/samples/artifacts/warehouse.sql"))
        plms(environ, "import", "swebench", str(ROOT / "data/samples/swebench_agent_runs.csv.gz"))
        plms(environ, "nightly")
        past_nights(Path(environ["PLMS_REPORTS_DIR"]))
        tokens = issued(environ)
        environ["PLMS_PAS_URL"] = stack.enter_context(
            server(environ, folder / "pas.log", "pas", "serve", "--port", "0", "--speed", str(SPEED))
        )
        api = stack.enter_context(server(environ, folder / "api.log", "serve"))
        ui = stack.enter_context(server(environ, folder / "ui.log", "ui", "--port", "0"))
        promoted(environ)
        model = stack.enter_context(server(environ, folder / "model.log", "model", "serve", "--port", "0"))
        trader = Trader(model, tokens["operator"])
        stack.callback(_ended, trader)
        trader.start()
        exporter = stack.enter_context(server(environ, folder / "exporter.log", "exporter", "--port", "0"))
        pages = {"plms-api": api, "plms-ui": ui, "plms-model": model, "plms-exporter": exporter}
        client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
        asked = stack.enter_context(
            prometheus(folder, {job: httpx.URL(page).netloc.decode() for job, page in pages.items()})
        )
        registry = create_engine(url)
        stack.callback(registry.dispose)
        yield Live(api, tokens, environ, client), Sources(asked, registry, client)


def _ended(trader: Trader) -> None:
    trader.is_over.set()
    trader.join(60)
    if trader.failed is not None:
        raise trader.failed


def unanswered(sources: Sources, left: list[Question]) -> list[Question]:
    """Questions without an answer so far."""
    still = []
    for question in left:
        try:
            rows = sources.rows(question.query)
        except (httpx.TransportError, DBAPIError) as error:
            say(f"  {question.panel}: {str(error).splitlines()[0]}")
            rows = 0
        if not rows:
            still.append(question)
    return still


def prove(folder: Path, wait_s: float) -> int:
    """0: every question of every panel was answered."""
    left = questions()
    say(f"{len(BOARDS)} dashboards, {sum(len(board.panels) for board in BOARDS)} panels, {len(left)} questions")
    with demo(folder) as (live, sources):
        say(f"the world is up: {live.url}, Prometheus at {sources.prometheus}")
        work = Work(live)
        work.start()
        deadline = time.monotonic() + wait_s
        while left and time.monotonic() < deadline:
            time.sleep(5)
            left = unanswered(sources, left)
            say(f"  {work.runs} runs started; {len(left)} questions without an answer")
        sick = sources.sick_rules()
        say(f"firing meanwhile: {', '.join(sources.firing())}")
        work.is_over.set()
        work.join(60)
        sick += [f"the work ended: {work.failed}"] if work.failed else []
    for question in left:
        say(f"NOTHING: {question.board} / {question.panel}: {question.query.text}")
    for told in sick:
        say(f"SICK: {told}")
    say("every panel shows data" if not left else f"{len(left)} questions were never answered")
    say("every rule was evaluated" if not sick else f"{len(sick)} faults")
    return 1 if left or sick else 0


def main() -> int:
    """Prove it in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=WAIT_S, help="how long to wait for answers")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plms-panels-", ignore_cleanup_errors=True) as name:
        return prove(Path(name), given.seconds)


if __name__ == "__main__":
    sys.exit(main())
