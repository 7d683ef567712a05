"""Does the live API keep to its own OpenAPI document, whatever it is sent?

`make prove-api` starts the real `plms serve` with the reference executor behind it, on a fresh instance with the sample
projects, and lets schemathesis loose on every operation of the document with all of its checks: no 5xx, no answer that is not
documented, no bad request accepted, no good one refused, nothing without a token. Signed webhooks are asked with a token of
the executor, everything else with an administrator's. At the end the server's own counters must know of no 5xx either.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

BIN = Path(sys.executable).parent
HOOKS = r"^/(hooks|webhooks)/"
START_TIMEOUT_S = 60.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a fresh instance in `folder`."""
    foreign = ("PLMS_", "DAGSTER_", "REDIS_", "IDEMPOTENCY_")
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


def attack(url: str, token: str, folder: Path, paths: tuple[str, str], options: argparse.Namespace) -> int:
    """Let schemathesis loose on the operations whose path matches; its exit code."""
    config = folder / "schemathesis.toml"
    # Nothing but --seed decides, and what one run found is not carried into the next.
    config.write_text("[generation]\n")
    done = subprocess.run(
        [BIN / "st", "--config-file", str(config), "run", f"{url}/openapi.json", "--checks", "all",
         "--header", f"Authorization: Bearer {token}", *paths, "--max-examples", str(options.examples), "--phases",
         options.phases, "--seed", str(options.seed), "--request-timeout", "60", "--workers", "1", "--continue-on-failure",
         *(("--no-shrink",) if options.quick else ())],
        cwd=folder, check=False,
    )  # fmt: skip
    return done.returncode


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


def prove(options: argparse.Namespace) -> int:
    """Run the proof; 0 when it holds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-prove-api-") as name:
        folder = Path(name)
        environ = environment(folder, **({"PLMS_DATABASE_URL": options.database} if options.database else {}))
        for command in (("db", "upgrade"), ("token", "keys"), ("project", "samples")):
            plms(environ, *command)
        tokens = [
            plms(environ, "token", "issue", "--role", role, "--subject", f"prover-{role}") for role in ("admin", "pas")
        ]
        with server(environ, folder / "pas.log", "pas", "serve", "--port", "0") as pas:
            environ["PLMS_PAS_URL"] = pas
            with server(environ, folder / "api.log", "serve", "--port", "0") as url:
                codes = [
                    attack(url, tokens[0], folder, ("--exclude-path-regex", HOOKS), options),
                    attack(url, tokens[1], folder, ("--include-path-regex", HOOKS), options),
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
    return prove(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
