"""How does what somebody asked for become a candidate that waits?

Training and registering in one call, done again with the same id it is the same candidate: a run that died after its
training is repeated by Dagster, and must not leave a second one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.models.actions.candidates import register, trained_market, trials_of
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import retrain
from plms_pipeline.models.annotations.actions import listed
from plms_pipeline.models.records import MARKET, Candidate
from plms_pipeline.models.store import candidates
from plms_pipeline.registry.engine import Registry


def candidate_for(
    registry: Registry, asked: Request, *, candidate_id: str, root: Path, actor: Actor, clock: Clock, expiry: timedelta,
    code_version: str, told: Callable[[str, str], None] = lambda _stage, _what: None,
) -> Candidate:  # fmt: skip
    """Train a candidate and let it wait; the one with this id, if there is one already.

    Args:
        candidate_id: validated.
        root: the data folder.
        actor: who launched it, and so can never sign it.
        expiry: how long it waits.
        told: hears the name of each stage as it begins, and what it works on.

    Raises:
        BadInput, NoData, VerdictNo: as `retraining.retrain`.
    """
    with registry.reading() as session:
        known = candidates.find(session, candidate_id)
    if known is not None:
        return known
    parent = None if asked.start is None else asked.start.candidate_id
    done = retrain(
        asked, root=root, clock=clock, run_id=candidate_id, code_version=code_version, told=told,
        trials_of=lambda data, tried: trials_of(
            registry, MARKET, data, tried, started_from=parent, at_least=asked.trials
        ),
        said=lambda symbols: listed(registry, symbols=symbols),
    )  # fmt: skip
    return register(registry, trained_market(done, root), actor=actor, clock=clock, expiry=expiry)


def is_trained(registry: Registry, data_hash: str) -> bool:
    """Whether the newest candidate for prices was trained on this content."""
    with registry.reading() as session:
        newest = candidates.listed(session, family=MARKET, limit=1)
    return bool(newest) and newest[0].bytes.data == data_hash
