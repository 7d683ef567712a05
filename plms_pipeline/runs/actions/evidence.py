"""Which evidence does the life of a run owe, and who writes its heat?

What is owed is a row of the transaction that makes it owed. Settings that do not say where evidence lies, or an observer
that is switched off, owe nothing: the pipeline goes on. Heat is written when the run is closed, after the transaction that
ended it: so it is late evidence by nature, and a closing that does not come is seen as such.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from contextlib import ExitStack

from sqlalchemy.orm import Session

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, PlmsError
from plms_pipeline.evidence.actions.asking import record
from plms_pipeline.evidence.actions.owing import owe
from plms_pipeline.evidence.obligations import (
    HEAT,
    EvidenceConfig,
    Need,
    Record,
    evidence_config,
    heat_need,
    kpi_need,
    snapshot_need,
)
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.heat import run_heat
from plms_pipeline.runs.session import report_of
from plms_pipeline.runs.store import sessions
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)


def owed_by(settings: Settings) -> EvidenceConfig | None:
    """The configuration of what is owed; None when nothing is."""
    if not settings.late_obs_enabled:
        return None
    try:
        return evidence_config(settings)
    except BadInput as error:
        log.warning("evidence_not_owed code=%s detail=%s", error.code, error.message)
        return None


def owe_snapshot(session: Session, config: EvidenceConfig | None, run_id: str, *, clock: Clock) -> None:
    """A run was submitted: which providers serve it is owed."""
    _owe(session, config, [snapshot_need(run_id)], clock=clock)


def owe_kpi_receipts(
    session: Session, config: EvidenceConfig | None, tasks: Iterable[tuple[str, str]], *, clock: Clock
) -> None:
    """Tasks, as (run, task), completed whose work is judged: what was measured is owed."""
    _owe(session, config, [kpi_need(run_id, task_id) for run_id, task_id in tasks], clock=clock)


def owe_heat(session: Session, config: EvidenceConfig | None, run_ids: Collection[str], *, clock: Clock) -> None:
    """Runs ended: how hot they ran is owed."""
    if config is not None and config.owes_heat:
        _owe(session, config, [heat_need(config, run_id) for run_id in run_ids], clock=clock)


def _owe(session: Session, config: EvidenceConfig | None, needs: list[Need], *, clock: Clock) -> None:
    if config is not None and needs:
        owe(session, needs, config, now=clock.now())


def write_heat(registry: Registry, *, settings: Settings, clock: Clock, run_ids: Collection[str]) -> int:
    """Write the heat of runs that ended; how many. What cannot be written is told, and seen by whoever waits for it."""
    config = owed_by(settings)
    if config is None or not config.owes_heat or not run_ids:
        return 0
    written = 0
    with ExitStack() as stack:
        put = None
        if config.backend == "redis" and settings.redis_url is not None:
            from plms_pipeline.evidence.client import RedisEvidence

            redis = RedisEvidence(settings.redis_url)
            stack.callback(redis.close)
            put = redis.put
        for run_id in run_ids:
            try:
                found = _heat_record(registry, config, run_id, clock=clock)
                if found is not None:
                    record(registry, config, found, clock=clock, put_in_redis=put)
                    written += 1
            except PlmsError as error:
                log.warning("heat_not_written run_id=%s code=%s", run_id, error.code)
    return written


def _heat_record(registry: Registry, config: EvidenceConfig, run_id: str, *, clock: Clock) -> Record | None:
    with registry.reading() as session:
        facts = sessions.facts_of(session, run_id)
    if facts is None:
        return None
    now = clock.now()
    heat = run_heat(facts, report_of(facts, now=now))
    if heat is None:
        return None
    return Record(HEAT, run_id, f"{now.timestamp():.6f}", heat_need(config, run_id).obligation_id, heat.fields())
