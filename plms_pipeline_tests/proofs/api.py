"""Does the live API keep to its own OpenAPI document, whatever it is sent?

`make prove-api` starts the real `plms serve` with the reference executor behind it, on a fresh instance with the sample
projects, and lets schemathesis loose on every operation of the document with all of its checks: no 5xx, no answer that is not
documented, no bad request accepted, no good one refused, nothing without a token. Signed webhooks are asked with a token of
the executor, everything else with an administrator's. At the end the server's own counters must know of no 5xx either.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import httpx
from prometheus_client.parser import text_string_to_metric_families

BIN = Path(sys.executable).parent
HOOKS = r"^/(hooks|webhooks)/"
IDS = r"\{(project|run)_id\}"
KNOWN_PROJECT = 42
# With ids that are given, a bad id cannot be tried: schemathesis would take the good one's answer for the bad one's.
GOOD = ("--mode", "positive")
START_TIMEOUT_S = 60.0


class Options(argparse.Namespace):
    """The command line."""

    examples: int
    seed: int
    phases: str
    database: str | None
    quick: bool


def free_port() -> int:
    """A port that nobody uses now: the executor must know where the API will be before it is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a fresh instance in `folder`."""
    foreign = ("PLMS_", "DAGSTER_", "REDIS_", "IDEMPOTENCY_", "SLACK_", "PD_ROUTING_", "ALERT_EMAIL", "ENV_NAME")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    ours = {
        "PLMS_DATA_DIR": str(folder / "data"),
        "PLMS_REPORTS_DIR": str(folder / "reports"),
        "PLMS_LOG_LEVEL": "WARNING",
    }
    return {**kept, **ours, **more}


def plms(environ: dict[str, str], *arguments: str) -> str:
    """Run `plms`, and give what it printed."""
    done = subprocess.run([BIN / "plms", *arguments], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"plms {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def plms_all(environ: dict[str, str], *commands: Sequence[str]) -> list[str]:
    """Run commands of `plms` one after the other in one child, which imports what they need once; what each printed.

    A child of a fork: whoever calls has no threads yet. For what prepares a proof; what it is about runs as the real `plms`.
    """
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=_run_all, args=(environ, commands, writer))
    child.start()
    writer.close()
    said: list[str] = []
    try:
        while len(said) < len(commands):
            code, printed, errors = reader.recv()
            if code:
                sys.exit(f"plms {' '.join(commands[len(said)])} ended with {code}: {errors.strip()}")
            said.append(printed.strip())
    except EOFError:
        sys.exit(f"plms {' '.join(commands[len(said)])} said nothing")
    finally:
        child.join()
        reader.close()
    return said


def _run_all(environ: dict[str, str], commands: Sequence[Sequence[str]], told: Connection) -> None:
    os.environ.clear()
    os.environ.update(environ)
    from plms_pipeline.cli import main as run

    for command in commands:
        printed, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(errors):
            code = run(command)
        told.send((code, printed.getvalue(), errors.getvalue()))
        if code:
            return


@contextmanager
def server(environ: dict[str, str], log: Path, *arguments: str) -> Iterator[str]:
    """A `plms` that serves; its URL. Ended with SIGTERM."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [BIN / "plms", *arguments, "--json"], env=environ, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit(f"plms {' '.join(arguments)} did not start: {log.read_text()}")
            yield str(json.loads(line)["url"])
        finally:
            process.terminate()
            try:
                process.wait(START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()  # type: ignore[union-attr] - opened with a pipe


# What schemathesis cannot know. JSON may hold NUL, our databases may not: it is refused everywhere, which test_envelope shows.
# A body over the limit is refused with 413 whatever else is wrong with it.
CONFIG = """
[generation]
allow-x00 = false

# A stream ends with its reader; whoever tries everything would wait for ever (test_watch and test_runway_stream look at them).
[[operations]]
include-path = ["/api/events", "/api/projects/{project_id}/budget-runway/stream"]
enabled = false

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "503"]

# A silence names a rule or a subject and ends within 30 days, whatever the unit: 400 bad_silence, as documented in the text.
# A simulation needs its key in one of its two modes only, which OpenAPI cannot say: 400 without it, likewise.
[[operations]]
include-path = ["/api/alerts/silences", "/api/alerts/{alert_id}/silence", "/api/projects/{project_id}/simulate"]

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "429"]

# The key of the document's example is used with one body and then with others: 422 idempotency_key_reused, as it must be.
[[operations]]
include-path = "/api/runs/{run_id}/replay"

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

# In the sources' API DELETE cancels a project, and its books stay readable: that it is gone afterwards would be the defect.
[[operations]]
include-path-regex = "^/api/projects/[{]project_id[}]"

[operations.checks.use_after_free]
enabled = false
"""


def attack(url: str, token: str, folder: Path, selected: Sequence[str], known: dict[str, str], options: Options) -> int:
    """Let schemathesis loose on the selected operations; its exit code.

    Args:
        selected: its options that choose operations.
        known: parameters that are not made up but always these.
        options: examples, phases, seed.

    What it prints is kept beside the server's logs, and shown when it found something: it looks like the closing words of
    a test runner, which whoever reads the log of many steps should not take for those of the tests.
    """
    config = folder / "schemathesis.toml"
    given = "".join(f'"{name}" = "{value}"\n' for name, value in known.items())
    config.write_text(CONFIG + (f"\n[parameters]\n{given}" if given else ""))
    done = subprocess.run(
        # All checks are on; named on the command line, the exception above would not count.
        [BIN / "st", "--config-file", str(config), "run", f"{url}/openapi.json",
         "--header", f"Authorization: Bearer {token}", *selected, "--max-examples", str(options.examples),
         "--phases", options.phases, "--seed", str(options.seed), "--request-timeout", "60", "--workers", "1",
         "--continue-on-failure", *(("--no-shrink",) if options.quick else ())],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        say(done.stdout + done.stderr)
    cases = re.search(r"Test cases:\s+(.+)", done.stdout)
    say(f"{' '.join(selected)}: {cases[1] if cases else 'no test cases'}")
    return done.returncode if cases else 1


def known_things(url: str, tokens: dict[str, str], log: Path) -> dict[str, str]:
    """A project with a run that was worked to its end, made over HTTP: ids that lead behind the first look-up."""

    def post(path: str, who: str, body: dict[str, object]) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {tokens[who]}", "Idempotency-Key": str(uuid4())}
        answer = httpx.post(f"{url}/api/projects/{KNOWN_PROJECT}/{path}", headers=headers, json=body, timeout=60)
        if answer.status_code != 200:
            sys.exit(f"{path}: {answer.status_code} {answer.text}\n{log.read_text()[-4000:]}")
        found: dict[str, object] = answer.json()
        return found

    post("estimate", "admin", {})
    post("submit", "admin", {})
    post("approve", "approver", {"budget_cost_usd_max": 60, "reason": "for the proof"})
    run_id = str(post("start", "admin", {"run_kind": "baseline"})["run_id"])
    headers = {"Authorization": f"Bearer {tokens['admin']}"}
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        project = httpx.get(f"{url}/api/projects/{KNOWN_PROJECT}", headers=headers, timeout=60).json()
        if project["status"] in {"completed", "needs_review"}:
            return {"path.project_id": str(KNOWN_PROJECT), "path.run_id": run_id}
        time.sleep(0.2)
    sys.exit(f"the run {run_id} did not end in {START_TIMEOUT_S:.0f} s")


def count_5xx(url: str) -> dict[str, float]:
    """Answers with 5xx by endpoint, as the server counted them."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=30).text):
        for sample in family.samples:
            if sample.name == "plms_api_answers_total" and sample.labels["status"] == "5xx" and sample.value:
                found[f"{sample.labels['method']} {sample.labels['endpoint']}"] = sample.value
    return found


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def prove(options: Options) -> int:
    """Run the proof; 0 when it holds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-prove-api-") as name:
        folder = Path(name)
        environ = environment(folder, **({"PLMS_DATABASE_URL": options.database} if options.database else {}))
        roles = ("admin", "approver", "pas")
        issue = [("token", "issue", "--role", role, "--subject", f"the-{role}") for role in roles]
        issued = plms_all(environ, ("db", "upgrade"), ("token", "keys"), ("project", "samples"), *issue)[-len(roles) :]
        tokens = dict(zip(roles, issued, strict=True))
        environ["PLMS_API_PORT"] = str(free_port())
        with server(environ, folder / "pas.log", "pas", "serve", "--port", "0") as pas:
            environ["PLMS_PAS_URL"] = pas
            with server(environ, folder / "api.log", "serve") as url:
                known = known_things(url, tokens, folder / "api.log")
                codes = [
                    attack(url, tokens["admin"], folder, ("--exclude-path-regex", HOOKS), {}, options),
                    attack(url, tokens["admin"], folder, ("--include-path-regex", IDS, *GOOD), known, options),
                    attack(url, tokens["pas"], folder, ("--include-path-regex", HOOKS), {}, options),
                ]
                errors = count_5xx(url)
                ready = httpx.get(f"{url}/readyz", timeout=30)
        log = (folder / "api.log").read_text()
    bugs = log.count("event=unexpected_error")
    holds = not any(codes) and not errors and not bugs and ready.status_code == 200
    say(f"schemathesis: {codes}; 5xx counted by the server: {errors or 'none'}; unexpected errors in its log: {bugs}; "
          f"afterwards {ready.json()['status']}; {time.monotonic() - began:.0f} s")  # fmt: skip
    if bugs:
        say(log[-6000:])
    say("the API keeps to its document" if holds else "NOT PROVEN")
    return 0 if holds else 1


def main() -> int:
    """Parse the command line and prove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=60, help="test cases per operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    parser.add_argument("--database", help="PLMS_DATABASE_URL of an empty database; SQLite when omitted")
    parser.add_argument("--quick", action="store_true", help="do not shrink what fails")
    return prove(parser.parse_args(namespace=Options()))


if __name__ == "__main__":
    sys.exit(main())
