"""A reference PAS as a real process on a free port, for tests and proofs.

    with reference_pas(tmp_path / "data", plms_url=…, speed=1e5, faults={"lost": 0.1}) as pas:
        client = pas.client()

`plms_url` may be given later to a restarted process; without one, events go to a closed port and wait in the outbox.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from plms_pipeline.pas.breaker import BreakerPolicy
from plms_pipeline.pas.client import Dialect, PasClient

START_S = 60.0
NOWHERE = "http://127.0.0.1:9"


@dataclass
class ReferencePas:
    """One reference PAS; `kill` and `start` may be called again and again, the address stays the same."""

    data_dir: Path
    plms_url: str = NOWHERE
    speed: float = 1000.0
    seed: int = 7
    faults: Mapping[str, float] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    url: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        switches = [part for name, rate in self.faults.items() for part in ("--fault", f"{name}={rate}")]
        # The test's own environment may name another data directory or settings that its servers should not see.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLMS_")}
        environment |= {"PLMS_DATA_DIR": str(self.data_dir), **self.environment}
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "plms_pipeline.cli", "pas", "serve", "--json", "--port", str(self.port),
                "--speed", str(self.speed), "--seed", str(self.seed), "--plms", self.plms_url, *switches, *self.arguments,
            ],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the reference PAS did not start; its error stands above"
        self.url = json.loads(line)["url"]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL: what a crash leaves."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        self._end(signal.SIGTERM)

    def client(
        self, *, dialect: Dialect = "pas", timeout_s: float = 10.0, attempts: int = 6, breaks: bool = True
    ) -> PasClient:
        """A client of this process, with the machine's own clock and dice; `breaks`: with its circuit breaker."""
        return PasClient(
            self.url, sleep=time.sleep, chance=random.random, monotonic_s=time.monotonic, dialect=dialect,
            timeout_s=timeout_s, attempts=attempts, policy=None if breaks else BreakerPolicy(failures=10**6),
            token=self.environment.get("PLMS_PAS_TOKEN"),
        )  # fmt: skip

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_S)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None


@contextmanager
def reference_pas(
    data_dir: Path,
    *,
    plms_url: str = NOWHERE,
    speed: float = 1000.0,
    seed: int = 7,
    faults: Mapping[str, float] | None = None,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[ReferencePas]:
    """A running reference PAS with its database, its webhook secret and its artifacts below `data_dir`.

    Args:
        data_dir: PLMS_DATA_DIR of the process; share it with `plms serve` and both know the same webhook secret.
        plms_url: where events go.
        speed: virtual seconds per real second.
        seed: of every choice.
        faults: probability per fault (`plms pas serve --fault list`).
        arguments: more of `plms pas serve`.
        environment: settings of the process, such as PLMS_PAS_TOKEN.
    """
    pas = ReferencePas(
        data_dir=data_dir, plms_url=plms_url, speed=speed, seed=seed, faults=faults or {}, arguments=arguments,
        environment=environment or {},
    )  # fmt: skip
    pas.start()
    try:
        yield pas
    finally:
        pas.stop()
