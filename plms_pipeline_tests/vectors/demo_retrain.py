"""A model from prices to its service and back (`make demo-retrain`): what the gates say of the S&P 500, and of a signal.

On a fresh instance in a temporary folder. Twenty years of the index are imported, trained on and judged; the gates say that it
is noise, and not even the risk lead can let it go live. Then a generated market with a planted signal: the candidate waits,
whoever trained it may not sign it, somebody else may, `/predict` of a real server answers with it, a second one replaces it,
and a rollback brings the first back. What it shows is also what it asserts.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import PlmsError
from plms_pipeline.models.actions.asking import request_of
from plms_pipeline.models.actions.deciding import Places, decide_candidate
from plms_pipeline.models.actions.promotion import promote, rollback
from plms_pipeline.models.actions.stages import candidate_stages, recommendation, written_report
from plms_pipeline.models.actions.training import candidate_for
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.models.records import MARKET, Candidate
from plms_pipeline.models.stages.names import CANDIDATE_EVALUATION, OPERATIONS_SUMMARY
from plms_pipeline.models.stages.stage import figure
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.proofs.api import environment, plms, plms_all, server
from plms_pipeline_tests.vectors.live import ROOT, issued, say

INDEX = ROOT / "data" / "samples" / "sp500_daily.csv.gz"
REPORTS = ROOT / "reports" / "demo-retrain"
SIGNAL = World(symbols=4, bars=4_000, signal_to_noise=0.25)
SEED = 1
WAIT_S = 30.0
CLOCK = SystemClock()
ENGINEER = Actor("an-engineer", is_verified=True)
LEAD = Actor("the-risk-lead", is_verified=True)


@dataclass(frozen=True)
class House:
    """A fresh instance: its environment, its books, and its folders."""

    environ: dict[str, str]
    registry: Registry
    root: Path
    reports: Path

    def trained(self, reason: str, **sections: Any) -> Candidate:
        """Train on what is imported, as the job retrain_models does, and tell what came of it."""
        began = time.monotonic()
        asked = request_of("", "", experiment(sections), data_dir=self.root, requested_by=ENGINEER.name, reason=reason)
        found = candidate_for(
            self.registry, asked, candidate_id=str(uuid4()), root=self.root, actor=ENGINEER, clock=CLOCK,
            expiry=timedelta(days=14), code_version="demo",
        )  # fmt: skip
        say(
            f"  trained in {time.monotonic() - began:.1f} s: candidate {found.candidate_id}, trial {found.trials} on these data"
        )
        for stage in candidate_stages(found, self.root):
            if stage.asset == OPERATIONS_SUMMARY:
                told = ("sharpe", "max_drawdown", "total_return", "deflated_sharpe", "periods")
                say("  out of sample: " + ", ".join(f"{name} {figure(stage.facts[name])}" for name in told))
            if stage.asset == CANDIDATE_EVALUATION:
                for check in stage.checks:
                    say(
                        f"    {'pass' if check.passed else 'FAIL'}  {check.name}"
                        + (f": {check.why}" if check.why else "")
                    )
        return found

    def decided(self, found: Candidate, decision: str, who: Actor, reason: str) -> str:
        """A person's word about a candidate; what it is then, or the code of the refusal."""
        try:
            done = decide_candidate(
                self.registry, candidate_id=found.candidate_id, decision=decision, reason=reason, actor=who,
                role="risk_lead", places=Places(self.root, self.reports), clock=CLOCK, ids=lambda: str(uuid4()),
            )  # fmt: skip
        except PlmsError as error:
            say(f"  {who.name} says {decision}: refused, {error.code}: {error.message}")
            return error.code
        say(f"  {who.name} says {decision}: {done.candidate.state}")
        return done.candidate.state

    def promoted(self, found: Candidate) -> None:
        """Carry an approval out, as the sensor decision_recorded does."""
        done = promote(
            self.registry, root=self.root, candidate_id=found.candidate_id, actor=LEAD, clock=CLOCK,
            ids=lambda: str(uuid4()),
        )  # fmt: skip
        say(f"  promoted: champion number {done.champion.sequence}")

    def kept_report(self, found: Candidate, name: str) -> None:
        """The report and the summary, where they outlive this demonstration."""
        stage = written_report(found, self.root)
        REPORTS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stage.paths["page"], REPORTS / f"{name}.html")
        shutil.copyfile(
            self.root / found.folder / "evaluation" / "operations_summary.json", REPORTS / f"{name}-summary.json"
        )
        say(f"  report and summary: {REPORTS / name}.html, {name}-summary.json")


@contextmanager
def fresh(folder: Path) -> Iterator[House]:
    """An empty instance at head, with keys for tokens."""
    environ = environment(folder)
    plms_all(environ, ("db", "upgrade"), ("token", "keys"))
    settings = load_settings(environ)
    registry = Registry.open(settings.database_url)
    try:
        yield House(environ, registry, settings.data_dir, settings.reports_dir)
    finally:
        registry.close()


def the_index(house: House) -> None:
    """Twenty years of an index, told honestly."""
    say("The S&P 500, 1999 to 2018, one bar a day:")
    plms(house.environ, "import", "prices", str(INDEX))
    found = house.trained("what is there to be learnt from an index?")
    house.kept_report(found, "sp500")
    assert not found.gates_passed, "the shipped index passed its gates: look for the future in its features"
    in_the_way = recommendation(house.registry, found, house.root, now=CLOCK.now())
    say(f"  the decision tree says {in_the_way.facts['action']}")
    assert house.decided(found, "approve", LEAD, "the curve looks good") == "gates_failed"
    assert house.decided(found, "reject", LEAD, "no more than noise") == "rejected"


def the_signal(house: House, folder: Path) -> None:
    """A market in which something can be learnt, from its import to a rollback."""
    say(f"A generated market with a signal (signal to noise {SIGNAL.signal_to_noise}):")
    prices = folder / "signal.csv.gz"
    write_prices(prices, generate(SIGNAL, SEED).raw)
    plms(house.environ, "import", "prices", "--replace", str(prices))
    first = house.trained("a planted signal")
    house.kept_report(first, "signal")
    assert first.gates_passed
    assert first.state == "waiting"
    assert house.decided(first, "approve", ENGINEER, "my own work") == "same_person"
    assert house.decided(first, "approve", LEAD, "out of sample, after costs, four symbols") == "approved"
    house.promoted(first)
    token = issued(house.environ)["operator"]
    with ExitStack() as stack:
        url = stack.enter_context(server(house.environ, folder / "model.log", "model", "serve", "--port", "0"))
        client = stack.enter_context(httpx.Client(timeout=30, trust_env=False))
        client.headers["Authorization"] = f"Bearer {token}"
        answers(client, url, first, "the first candidate")
        second = house.trained("less afraid of its own coefficients", model={"kind": "ridge", "alpha": 1000.0})
        assert second.trials == first.trials + 1
        assert house.decided(second, "approve", LEAD, "the same signal, smoother") == "approved"
        house.promoted(second)
        answers(client, url, second, "the second candidate")
        done = rollback(
            house.registry, places=Places(house.root, house.reports), family=MARKET, reason="as a demonstration", actor=LEAD,
            clock=CLOCK, ids=lambda: str(uuid4()),
        )  # fmt: skip
        say(f"  rolled back: champion number {done.champion.sequence} is {done.champion.candidate_id}")
        answers(client, url, first, "the first candidate again")


def answers(client: httpx.Client, url: str, wanted: Candidate, words: str) -> None:
    """`/predict` answers with the model of a candidate, within seconds of its promotion and without a restart."""
    began = time.monotonic()
    while True:
        answer = client.post(f"{url}/predict", json={})
        if answer.status_code == 200 and wanted.bytes.model in answer.text:
            break
        assert time.monotonic() - began < WAIT_S, f"{words} did not answer: {answer.status_code} {answer.text[:300]}"
        time.sleep(0.1)
    found = answer.json()
    shown = ", ".join(f"{one['symbol']} {one['position']:+.2f}" for one in found["predictions"])
    say(f"  /predict answers with {words} after {time.monotonic() - began:.1f} s: positions {shown}")
    assert found["rows"] == SIGNAL.symbols


def main() -> int:
    """Show it, and say how long it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-retrain-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with fresh(folder) as house:
            the_index(house)
            the_signal(house, folder)
    say(f"{time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
