"""How does a training become a candidate that waits for a person?

Its row is written when its folder is whole: a folder without a row is a training that nobody waits for, and harmless. How much
was tried on the same data and over the lineage is counted here and not believed: whoever tries twenty experiments and tells of
the best one has been lucky, and the deflated Sharpe ratio takes that luck off.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict, NotFound, PlmsError
from plms_pipeline.models.decision.tree import DATA_NOT_OK, recommend
from plms_pipeline.models.files.candidate import SUMMARY_FILE, folder_of
from plms_pipeline.models.files.reading import sha256_of
from plms_pipeline.models.records import MARKET, Bytes, Candidate, NewCandidate
from plms_pipeline.models.store import candidates as store
from plms_pipeline.models.store import trials
from plms_pipeline.models.training.trials import Trial, count, trial
from plms_pipeline.registry.engine import Registry

if TYPE_CHECKING:
    from plms_pipeline.models.actions.request import Request
    from plms_pipeline.models.actions.retraining import Retrained, Told

MORE_TRIALS = "more_trials_than_judged"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training of any family tells of itself.

    Attributes:
        folder: of the run, relative to the data folder.
        trials: with how many candidates on these data it was judged, itself included.
        alerts: stable codes of broken limits.
        blocking: names of the gates that did not pass.
        data_ok: whether the checks of its data found no error.
        started_from_sha256: of the model that it was started from.
        started_from: the candidate whose that model is; the oldest with these bytes when None.
        tried: every try of this training; only its experiment when empty.
    """

    candidate_id: str
    family: str
    folder: str
    bytes: Bytes
    trials: int
    alerts: tuple[str, ...]
    blocking: tuple[str, ...]
    data_ok: bool = True
    started_from_sha256: str | None = None
    reason: str | None = None
    started_from: str | None = None
    tried: tuple[Trial, ...] = ()

    @property
    def tries(self) -> tuple[Trial, ...]:
        """What was tried."""
        return self.tried or (trial(self.bytes.experiment),)


def trained_market(done: Retrained, root: Path) -> Trained:
    """What a retraining on prices tells of itself.

    Raises:
        BadInput: its folder lies outside of the data folder (`outside_of_data`).
    """
    from plms_pipeline.models.market.findings import errors

    document = done.run.manifest
    lineage = document.get("lineage") or {}
    alerts = done.summary.get("alerts") or []
    return Trained(
        str(document["run_id"]), str(document["family"]), folder_of(root, done.run.path),
        Bytes(
            done.run.model_sha256, sha256_of(done.run.path / SUMMARY_FILE), done.data.digest, done.run.manifest_sha256,
            str(document["experiment_sha256"]),
        ),
        done.trials, tuple(str(one["code"]) for one in alerts), tuple(gate.name for gate in done.verdict.blocking),
        not errors(done.data.findings), lineage.get("started_from_sha256"), lineage.get("reason"),
        lineage.get("started_from"), done.tried,
    )  # fmt: skip


def trials_of(
    registry: Registry, family: str, data_sha256: str, tried: Collection[Trial], *, started_from: str | None = None,
    at_least: int = 1,
) -> int:  # fmt: skip
    """How many were tried by a family on the same data and over the lineage, those of this training included (`trials.count`).

    Args:
        tried: what this training tries itself.
        started_from: the candidate that it starts from.
        at_least: what the caller knows of trials elsewhere; it may only raise the count.
    """
    with registry.reading() as session:
        return _trials(session, family, data_sha256, tried, started_from, at_least)


def _trials(
    session: Session, family: str, data_sha256: str, tried: Collection[Trial], started_from: str | None, at_least: int
) -> int:
    here = trials.tried_on(session, family, {data_sha256}) | set(tried)
    elsewhere = trials.ancestors_data(session, started_from) - {data_sha256}
    ancestors = {one.experiment for one in trials.tried_on(session, family, elsewhere)}
    return max(count(here, ancestors), at_least, 1)


def register(registry: Registry, trained: Trained, *, actor: Actor, clock: Clock, expiry: timedelta) -> Candidate:
    """Let a training wait for a decision. Done again with the same training it changes nothing.

    Args:
        actor: who launched the training, and so can never sign it.
        expiry: how long it waits.

    Raises:
        Conflict: another training has this id (`candidate_exists`).
    """
    now = clock.now()
    with registry.writing() as session:
        known = store.find(session, trained.candidate_id)
        if known is not None:
            if known.bytes != trained.bytes:
                raise Conflict(
                    f"Candidate {trained.candidate_id} is another training; ids are given once.",
                    code="candidate_exists",
                )
            return known
        origin = _origin(session, trained)
        parent = origin.candidate_id if origin else None
        counted = _trials(session, trained.family, trained.bytes.data, trained.tries, parent, trained.trials)
        blockers = list(trained.blocking)
        if not trained.data_ok:
            blockers.append(DATA_NOT_OK)
        if counted > trained.trials:
            # Somebody registered another experiment on the same data meanwhile: this one was judged as if there were fewer.
            blockers.append(MORE_TRIALS)
        said = recommend(alerts=trained.alerts, blocking=trained.blocking, data_ok=trained.data_ok)
        store.add(
            session,
            NewCandidate(
                trained.candidate_id, trained.family, trained.folder, trained.bytes, counted,
                not trained.blocking and counted == trained.trials, trained.alerts, said.action, tuple(blockers),
                parent, actor.name[:255], actor.is_verified, trained.reason, now,
                now + expiry,
            ),
        )  # fmt: skip
        trials.add(session, trained.candidate_id, trained.family, trained.bytes.data, trained.tries)
        audit.record(
            session, at=now, actor=actor, action="candidate.register", subject=f"candidate:{trained.candidate_id}",
            outcome=said.action, details={"family": trained.family, "trials": counted},
        )  # fmt: skip
        return require(session, trained.candidate_id)


def _origin(session: Session, trained: Trained) -> Candidate | None:
    """The candidate that a training started from; the same bytes may be those of several, so it goes by the name first."""
    if trained.started_from is not None:
        return store.find(session, trained.started_from)
    return None if trained.started_from_sha256 is None else store.by_model(session, trained.started_from_sha256)


def require(session: Session, candidate_id: str) -> Candidate:
    """The candidate with this id.

    Raises:
        NotFound: there is none (`unknown_candidate`).
    """
    found = store.find(session, candidate_id)
    if found is None:
        raise NotFound(
            f"There is no candidate {candidate_id[:64]!r}; `plms model list` shows them.", code="unknown_candidate"
        )
    return found


def retrain_candidate(
    registry: Registry, asked: Request, *, root: Path, clock: Clock, run_id: str, code_version: str, actor: Actor,
    expiry: timedelta, told: Told = lambda _stage, _what: None,
) -> tuple[Retrained, Candidate]:  # fmt: skip
    """Train on prices with the trials that the registry counts, and let the candidate wait for a decision.

    Raises:
        BadInput, NoData, VerdictNo: as `retraining.retrain`; nothing is left behind.
        PlmsError: the registry refused or was away once the run was whole: its folder stays, harmless, and the message says
            where.
    """
    # A server that shows candidates does not load what trains them.
    from plms_pipeline.models.actions.retraining import retrain
    from plms_pipeline.models.annotations.actions import listed

    parent = None if asked.start is None else asked.start.candidate_id

    def counted(data: str, tried: Collection[Trial]) -> int:
        return trials_of(registry, MARKET, data, tried, started_from=parent, at_least=asked.trials)

    done = retrain(
        asked,
        root=root,
        clock=clock,
        run_id=run_id,
        code_version=code_version,
        told=told,
        trials_of=counted,
        said=lambda symbols: listed(registry, symbols=symbols),
    )
    try:
        return done, register(registry, trained_market(done, root), actor=actor, clock=clock, expiry=expiry)
    except PlmsError as error:
        raise type(error)(
            f"{error.message} The training itself is whole and lies at {done.run.path}; it is no candidate and nothing waits "
            "for it, so it can stay or be removed. Train again to have one.",
            code=error.code,
        ) from error
