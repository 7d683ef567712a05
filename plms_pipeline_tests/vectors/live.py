"""A live server to ask: one of one's own on a fresh instance, or any other by its URL.

`PLMS_API_BASE_URL` with a token in `PLMS_API_TOKEN` (and of a second person in `PLMS_APPROVER_TOKEN`) names another server;
without them a fresh instance with the sample projects is started in a temporary folder: API, reference executor, keys.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from plms_pipeline.access.files import signing_keys
from plms_pipeline.access.tokens import issue
from plms_pipeline.clock import SystemClock
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.proofs.api import environment, free_port, plms, server

ROOT = Path(__file__).parents[2]
ROLES = ("viewer", "operator", "approver", "admin")
WAIT_S = 60.0
OPEN = ("planning", "pending_approval", "approved", "executing", "validating")


@dataclass
class Live:
    """A server that answers, and who asks it."""

    url: str
    tokens: dict[str, str]
    environ: dict[str, str] | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False))

    def ask(
        self, method: str, path: str, *, role: str = "operator", key: str | None = None, body: Any = None, **query: Any
    ) -> httpx.Response:
        """One request with a role's token."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if self.tokens.get(role) else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.client.request(method, self.url + path, headers=headers, json=body, params=query or None)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.ask("GET", path, role="viewer", **query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, *, role: str = "operator", body: Any = None, key: str | None = None) -> Any:
        """The JSON of a POST that must succeed."""
        answer = self.ask("POST", path, role=role, body=body, key=key)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def approved(self, project_id: int, *, budget_usd: float = 100.0) -> int:
        """Estimate, submit and have a project approved by a second person."""
        self.post(f"/api/projects/{project_id}/estimate")
        self.post(f"/api/projects/{project_id}/submit", body={"reason": "ready"})
        self.post(
            f"/api/projects/{project_id}/approve", role="approver",
            body={"budget_cost_usd_max": budget_usd, "reason": "within the quarter"},
        )  # fmt: skip
        return project_id

    def created(self, document: dict[str, Any]) -> int:
        """A new project from a plan."""
        return int(self.post("/api/projects/create", body=document)["project_id"])

    def until(self, question: Callable[[], Any], *, what: str, wait_s: float = WAIT_S) -> Any:
        """Ask until the answer is neither None nor False."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            found = question()
            if found is not None and found is not False:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come in {wait_s:.0f} s")

    def ended(self, project_id: int, run_id: str) -> dict[str, Any]:
        """The status of a project once this run, its newest, has ended."""

        def look() -> dict[str, Any] | None:
            status: dict[str, Any] = self.get(f"/api/projects/{project_id}/status")
            run = status["run"]
            done = run and run["run_id"] == run_id and run["status"] in ("SUCCESS", "FAIL", "SKIPPED")
            return status if done else None

        found: dict[str, Any] = self.until(look, what=f"the end of run {run_id}")
        return found

    def command(self, *arguments: str) -> Any:
        """The JSON of a `plms` command on the server's own instance."""
        assert self.environ is not None, "the server is not ours"
        return json.loads(plms(self.environ, *arguments, "--json"))


@contextmanager
def fresh(*, speed: float = 1000.0, receipts: bool = False, more: Mapping[str, str] | None = None) -> Iterator[Live]:
    """A fresh instance: registry, keys, the sample projects, executor and API.

    Args:
        speed: virtual seconds of the executor per second.
        receipts: import the shipped receipts, so that forecasts rest on something.
        more: further settings.
    """
    with tempfile.TemporaryDirectory(prefix="plms-live-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environ = environment(folder, PLMS_API_PORT=str(free_port()), **(more or {}))
        for command in (("db", "upgrade"), ("token", "keys"), ("project", "samples")):
            plms(environ, *command)
        plms(environ, "kpi", "warehouse", "load", str(ROOT / "data/samples/artifacts/warehouse.sql"))
        if receipts:
            plms(environ, "import", "swebench", str(ROOT / "data/samples/swebench_agent_runs.csv.gz"))
        tokens = issued(environ)
        with server(environ, folder / "pas.log", "pas", "serve", "--port", "0", "--speed", str(speed)) as pas:
            environ["PLMS_PAS_URL"] = pas
            with (
                server(environ, folder / "api.log", "serve") as url,
                httpx.Client(timeout=60, trust_env=False) as client,
            ):
                yield Live(url, tokens, environ, client)


def issued(environ: dict[str, str]) -> dict[str, str]:
    """A token for each role, as `plms token issue` makes it, without a process for each."""
    settings, now = load_settings(environ), SystemClock().now()
    key = signing_keys(settings.data_dir).current
    return {
        role: issue(
            key, subject=f"the-{role}", role=role, issuer=settings.jwt_issuer, audience=settings.jwt_audience, now=now,
            ttl=timedelta(hours=1), token_id=str(uuid4()),
        )
        for role in ROLES
    }  # fmt: skip


@contextmanager
def any_server(*, receipts: bool = False) -> Iterator[Live]:
    """The server that the environment names, or a fresh one (`receipts`: with the shipped receipts in its books)."""
    url = os.environ.get("PLMS_API_BASE_URL")
    if url is None:
        with fresh(receipts=receipts) as live:
            yield live
        return
    token = os.environ.get("PLMS_API_TOKEN", "")
    approver = os.environ.get("PLMS_APPROVER_TOKEN", token)
    tokens = {"viewer": token, "operator": token, "approver": approver, "admin": approver}
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield Live(url.rstrip("/"), tokens, None, client)


def new_key() -> str:
    """An Idempotency-Key that nobody used."""
    return str(uuid4())


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
