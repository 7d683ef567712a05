"""Trainings that may be promoted, promotions as the books have them, and a model server over both."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState
from plms_pipeline.clock import Clock, FrozenClock
from plms_pipeline.decisions import store as decisions
from plms_pipeline.decisions.record import Decided
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import retrain
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.files.keeping import read_bars, write_prices
from plms_pipeline.models.records import MARKET, Bytes, Champion, NewCandidate
from plms_pipeline.models.serving.metrics import ServingMetrics
from plms_pipeline.models.serving.routes import SERVER
from plms_pipeline.models.serving.service import ModelServer
from plms_pipeline.models.store import candidates, champions, switches
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline.web.serving.routes import create_model_app
from plms_pipeline_tests.api_world import KEY, World
from plms_pipeline_tests.models.worlds import market

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUMMARY = Path("evaluation") / "operations_summary.json"


@dataclass(frozen=True)
class Trained:
    """A training below a data folder."""

    folder: str
    data: str
    manifest: str
    model: str
    evaluation: str
    experiment: str


@cache
def _shelf() -> Path:
    """Where trainings lie that tests copy: each is trained once per process."""
    return Path(mkdtemp(prefix="plms-shelf-"))


@cache
def _trained(alpha: float, *, alt: bool) -> Trained:
    root = _shelf() / f"{alpha}-{alt}"
    root.mkdir()
    write_prices(root / "market.csv", market(bars=400, alt=alt).raw)
    asked = experiment(
        {"walk_forward": {"train": 150, "test": 40}, "model": {"kind": "ridge", "alpha": alpha}, "seed": 7}
    )
    done = retrain(
        Request(root / "market.csv", asked, gates=GateConfig(resamples=200)), root=root, clock=FrozenClock(AT),
        run_id=f"run-{alpha}", code_version="0",
    )  # fmt: skip
    summary = (done.run.path / SUMMARY).read_bytes()
    return Trained(
        str(done.run.path.relative_to(root)), done.data.digest, done.run.manifest_sha256, done.run.model_sha256,
        hashlib.sha256(summary).hexdigest(), asked.digest(),
    )  # fmt: skip


def trained(root: Path, alpha: float = 10.0, *, alt: bool = False) -> Trained:
    """A training below `root`, in a folder of its own."""
    found = _trained(alpha, alt=alt)
    source = _shelf() / f"{alpha}-{alt}"
    folder = f"automation_runs/alpha-{alpha:g}"
    if not (root / folder).exists():
        shutil.copytree(source / found.folder, root / folder)
        (root / "market_snapshots").mkdir(exist_ok=True)
        shutil.copy(source / "market_snapshots" / f"{found.data}.parquet", root / "market_snapshots")
    return Trained(folder, found.data, found.manifest, found.model, found.evaluation, found.experiment)


def promote(registry: Registry, of: Trained, *, caps: Mapping[str, float] | None = None, at: datetime = AT) -> Champion:
    """The promotion of a training, as the books have it; a candidate with the same bytes is promoted again."""
    decision, promotion = str(uuid4()), str(uuid4())
    with registry.writing() as session:
        known = candidates.by_model(session, of.model)
        if known is None:
            candidates.add(session, _candidate(of, f"candidate-{of.model[:8]}", at))
            known = candidates.by_model(session, of.model)
        assert known is not None
        decisions.append(
            session,
            Decided(
                decision_id=decision, kind="model.promotion", subject_type="candidate", subject_id=known.candidate_id,
                decision="approve", reason="It earns more than it costs.", requested_by="a-launcher", actor="a-reviewer",
                actor_verified=True, role="approver", evidence_sha256=of.model, payload={}, decided_at=at,
            ),
        )  # fmt: skip
        before = champions.current(session, MARKET)
        champions.add(
            session, promotion_id=promotion, family=MARKET, sequence=1 + (before.sequence if before else 0),
            kind="promotion", candidate_id=known.candidate_id, hashes=(of.model, of.evaluation, of.data), caps=caps,
            decision_id=decision, promoted_at=at, promoted_by="a-reviewer",
        )  # fmt: skip
        found = champions.current(session, MARKET)
    assert found is not None
    return found


def _candidate(of: Trained, candidate_id: str, at: datetime) -> NewCandidate:
    return NewCandidate(
        candidate_id=candidate_id, family=MARKET, folder=of.folder,
        bytes=Bytes(of.model, of.evaluation, of.data, of.manifest, of.experiment), trials=1, gates_passed=True, alerts=(),
        action="promote", blockers=(), started_from=None, requested_by="a-launcher", requested_by_verified=True,
        reason=None, created_at=at, expires_at=at + timedelta(days=7),
    )  # fmt: skip


def turn(registry: Registry, *, enabled: bool, reason: str = "A test of the switch.") -> None:
    """Turn the guardrails."""
    with registry.writing() as session:
        switches.turn(session, MARKET, enabled=enabled, reason=reason, by="a-risk-lead", at=AT)


def snapshot(root: Path, of: Trained) -> Bars:
    """The bars that a training was made from."""
    return read_bars(root / "market_snapshots" / f"{of.data}.parquet")


@dataclass
class Serving:
    """A model server without its thread, and its application."""

    world: World
    server: ModelServer

    @property
    def app(self) -> Any:
        return self.world.app

    def headers(self, role: str = "operator") -> dict[str, str]:
        return self.world.headers(role)


def serving(settings: Settings, registry: Registry, clock: Clock, *, everybody: Principal | None = None) -> Serving:
    """A server that has looked once."""
    keys = {KEY.kid: KEY}
    door = Doorkeeper(
        lambda _now: keys, clock, issuer=settings.jwt_issuer, audience=settings.jwt_audience, everybody=everybody
    )
    state = AppState(
        settings=settings, registry=registry, clock=clock, ids=lambda: str(uuid4()), door=door, pas=lambda: None,
        stopwatch=time.perf_counter,
    )  # fmt: skip
    server = ModelServer(settings, registry, clock, ServingMetrics())
    state.extras[SERVER] = server
    server.look()
    return Serving(World(state, create_model_app(state)), server)
