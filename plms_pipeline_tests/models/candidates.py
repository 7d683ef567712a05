"""Candidates that really lie on disk, for tests that decide about them: a small training, its evaluation, and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.models.actions.candidates import Trained, register, trials_of
from plms_pipeline.models.actions.deciding import CandidateDecision, Places, decide_candidate
from plms_pipeline.models.actions.promotion import Promoted, promote
from plms_pipeline.models.actions.retraining import SNAPSHOTS
from plms_pipeline.models.evaluation.files import write_evaluation
from plms_pipeline.models.files.candidate import SUMMARY_FILE, folder_of
from plms_pipeline.models.files.reading import sha256_of
from plms_pipeline.models.market.files.keeping import snapshot
from plms_pipeline.models.records import MARKET, Bytes, Candidate
from plms_pipeline.models.training.files import RUNS, RunFolder, environment, write_run
from plms_pipeline.models.training.manifest import Kept, Lineage, Origin
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAUNCHER = Actor("ann", is_verified=True)
REVIEWER = Actor("bob", is_verified=True)
PASSED: tuple[str, ...] = ()


def counted(start: int = 1) -> Callable[[], str]:
    """Ids that are valid, and the same in every run."""
    numbers = count(start)
    return lambda: str(UUID(int=next(numbers)))


@dataclass
class House:
    """A data folder and a registry with what is needed to decide in it."""

    registry: Registry
    places: Places
    ids: Callable[[], str]
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOW))

    @property
    def root(self) -> Path:
        return self.places.root

    def later(self, span: timedelta) -> House:
        return replace(self, clock=FrozenClock(self.clock.at + span))

    def candidate(
        self, name: str, *, blocking: tuple[str, ...] = PASSED, alerts: tuple[str, ...] = (), seed: int = 7,
        data_ok: bool = True, actor: Actor = LAUNCHER, trials: int | None = None,
        summary: Mapping[str, object] | None = None,
    ) -> Candidate:  # fmt: skip
        trained = train_on_disk(
            self.root, name, clock=self.clock, blocking=blocking, alerts=alerts, seed=seed, summary=summary
        )
        hashes = trained.bytes
        known = trials_of(self.registry, trained.family, hashes.data, trained.tries) if trials is None else trials
        trained = replace(trained, data_ok=data_ok, trials=known)
        return register(self.registry, trained, actor=actor, clock=self.clock, expiry=timedelta(days=14))

    def decide(self, candidate_id: str, decision: str, **given: object) -> CandidateDecision:
        words: dict[str, object] = {"actor": REVIEWER, "role": "risk_lead", "reason": "looked at it"} | given
        return decide_candidate(
            self.registry, candidate_id=candidate_id, decision=decision, places=self.places, clock=self.clock,
            ids=self.ids, **words,  # type: ignore[arg-type]
        )  # fmt: skip

    def promote(self, candidate_id: str, **given: object) -> Promoted:
        return promote(
            self.registry, root=self.root, candidate_id=candidate_id, actor=REVIEWER, clock=self.clock, ids=self.ids,
            **given,  # type: ignore[arg-type]
        )  # fmt: skip

    def champion(self, name: str) -> Promoted:
        """A candidate that was approved and promoted."""
        self.candidate(name)
        self.decide(name, "approve")
        return self.promote(name)


def house(registry: Registry, folder: Path) -> House:
    return House(registry, Places(folder / "data", folder / "reports"), counted())


def run_on_disk(
    root: Path, name: str, *, clock: FrozenClock, seed: int = 7, summary: Mapping[str, object] | None = None
) -> RunFolder:
    """A whole run folder with a small summary, in which `summary` has more to say."""
    bars = small_bars()
    kept, _ = snapshot(root / SNAPSHOTS, bars)
    origin = Origin(
        name, clock.now(), "0", environment(), Lineage(None, LAUNCHER.name, "weekly"),
        Kept(f"{SNAPSHOTS}/{kept.name}", sha256_of(kept)),
    )  # fmt: skip
    run = write_run(root / RUNS, bars, small_experiment(seed=seed), small_training(), origin)
    write_evaluation(
        run.path, metrics={}, gates={"passed": True, "gates": []},
        summary={
            "schema_version": 1, "run_id": name, "risk": {"sharpe": 1.0}, "alerts": [], "triggered": [], **(summary or {}),
        },
    )  # fmt: skip
    return run


def train_on_disk(
    root: Path, name: str, *, clock: FrozenClock, blocking: tuple[str, ...] = PASSED, alerts: tuple[str, ...] = (),
    seed: int = 7, trials: int = 1, summary: Mapping[str, object] | None = None,
) -> Trained:  # fmt: skip
    run = run_on_disk(root, name, clock=clock, seed=seed, summary=summary)
    document = run.manifest
    return Trained(
        name, MARKET, folder_of(root, run.path),
        Bytes(
            run.model_sha256, sha256_of(run.path / SUMMARY_FILE), str(document["data"]["content_hash"]),
            run.manifest_sha256, str(document["experiment_sha256"]),
        ),
        trials, alerts, blocking, reason="weekly",
    )  # fmt: skip
