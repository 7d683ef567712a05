"""What stands behind the server that is measured?

A fresh instance in a temporary folder: registry at head, keys, the shipped receipts as history, the reference executor at the
speed of the clock, the server, and a hundred approved projects of eight tasks each, made over HTTP. At that speed a run takes
its real minutes, as with agents that really work.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.common import ROOT
from plms_pipeline.estimates.actions.believing import summarise_stale_days
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings

BIN = Path(sys.executable).parent
PROJECTS = 100
ROLES = ("viewer", "operator", "approver", "pas")
PROVIDER = "GPT-5 (2025-08-07) (medium reasoning)"
# Two kinds of task in three gated lanes and one without gates; half of them wait for the other half.
LANES = (4200, 4202, 5102, 6100)


@dataclass
class World:
    """A running server: its address, tokens by role, projects, environment."""

    url: str
    tokens: dict[str, str]
    environ: dict[str, str]
    folder: Path
    projects: list[int] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def ask(self, question: str) -> list[Any]:
        """The rows of a question to the registry, from outside of the server."""
        with closing(sqlite3.connect(f"file:{self.folder / 'data' / 'registry.db'}?mode=ro", uri=True)) as books:
            return books.execute(question).fetchall()

    def request(self, name: str, method: str, path: str, *, role: str = "operator", body: Any = None) -> dict[str, str]:
        """A request for the load generator, byte for byte."""
        text = "" if body is None else json.dumps(body)
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.tokens[role]}"]
        if method == "POST":
            head += ["Content-Type: application/json", f"Content-Length: {len(text)}", "Idempotency-Key: %K"]
        return {"name": name, "raw": "\r\n".join((*head, "", text))}


class Load:
    """The load generator, a process of its own."""

    def __init__(self, world: World) -> None:
        self._host, self._port = world.address
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.http_load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, kind: str, **plan: Any) -> dict[str, Any]:
        """Carry out one plan."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"kind": kind, "host": self._host, "port": self._port, **plan}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended ({process.wait()})")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@contextmanager
def world(folder: Path, **more: str) -> Iterator[World]:
    """A fresh instance with everything running; ended when the block ends."""
    foreign = ("PLMS_", "DAGSTER_", "REDIS_", "IDEMPOTENCY_")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    port = _free_port()
    environ |= {
        "PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports"), "PLMS_LOG_LEVEL": "WARNING",
        "PLMS_API_PORT": str(port), "PLMS_GIT_COMMIT": "0" * 40, **more,
    }  # fmt: skip
    _plms(environ, "db", "upgrade")
    _plms(environ, "token", "keys")
    _plms(environ, "import", "swebench", "data/samples/swebench_agent_runs.csv.gz")
    _summarise(environ)
    tokens = {
        role: json.loads(_plms(environ, "token", "issue", "--role", role, "--subject", f"bench-{role}", "--json"))[
            "token"
        ]
        for role in ROLES
    }
    with ExitStack() as stack:
        pas = [BIN / "plms", "pas", "serve", "--port", "0", "--speed", "1", "--json"]
        environ["PLMS_PAS_URL"] = stack.enter_context(_serving(environ, folder / "pas.log", pas))
        server = [sys.executable, "-m", "bench.http_server", str(port)]
        url = stack.enter_context(_serving(environ, folder / "api.log", server))
        made = World(url, tokens, environ, folder)
        made.projects = asyncio.run(_projects(made))
        yield made


def _summarise(environ: dict[str, str]) -> None:
    """What the night does with imported days: without it every question about the priors reads all receipts again."""
    settings = load_settings(environ)
    registry = Registry.open(settings.database_url)
    try:
        for _ in summarise_stale_days(registry, alpha=settings.alpha):
            pass
    finally:
        registry.close()


async def _projects(made: World) -> list[int]:
    """A hundred approved projects."""
    import httpx

    async with httpx.AsyncClient(base_url=made.url, timeout=60, trust_env=False) as client:

        async def post(path: str, body: Any, role: str = "operator") -> Any:
            head = {"Authorization": f"Bearer {made.tokens[role]}"}
            answer = await client.post(path, json=body, headers=head)
            if not answer.is_success:
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
            return answer.json()

        async def one(number: int) -> int:
            project = int((await post("/api/projects/create", document(number)))["project_id"])
            at = f"/api/projects/{project}"
            await post(f"{at}/estimate", None)
            await post(f"{at}/submit", {"reason": "for the bench"})
            await post(f"{at}/approve", {"budget_cost_usd_max": 100_000, "reason": "for the bench"}, "approver")
            return project

        made_here = []
        for first in range(0, PROJECTS, 4):
            made_here += await asyncio.gather(*(one(number) for number in range(first, min(first + 4, PROJECTS))))
        return made_here


def document(number: int) -> dict[str, Any]:
    """The plan of a project: eight tasks, two in each of four lanes, the second of each pair after the first."""
    tasks = []
    for lane in LANES:
        first = {"key": f"t{lane}a", "name": f"First in {lane}", "lane": lane, "complexity": "simple", "kind": "make"}
        second = {**first, "key": f"t{lane}b", "name": f"Second in {lane}", "depends_on": [f"t{lane}a"]}
        tasks += [first, second]
    return {
        "name": f"Bench {number}", "provider": PROVIDER, "budget": {"usd": 100_000}, "tasks": tasks
    }  # fmt: skip


@contextmanager
def _serving(environ: dict[str, str], log: Path, command: list[Any]) -> Iterator[str]:
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(log.read_text()[-2000:])
            yield str(json.loads(line)["url"])
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _plms(environ: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [BIN / "plms", *arguments], env=environ, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"plms {' '.join(arguments)}: {done.stderr.strip()[-1000:]}")
    return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(question: Any, *, what: str, wait_s: float = 60.0, pause_s: float = 0.1) -> Any:
    """Ask until the answer is neither None nor False."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        found = question()
        if found is not None and found is not False:
            return found
        time.sleep(pause_s)
    raise RuntimeError(f"{what} did not come in {wait_s:.0f} s")
