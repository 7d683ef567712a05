"""The one Definitions object: merges what each domain offers, nothing else."""

from __future__ import annotations

import dagster as dg

from plms_pipeline.alerts import defs as alerts
from plms_pipeline.estimates import defs as estimates
from plms_pipeline.evidence import defs as evidence
from plms_pipeline.intake import defs as intake
from plms_pipeline.invariants import defs as invariants
from plms_pipeline.kpis import defs as kpis
from plms_pipeline.letters import defs as letters
from plms_pipeline.models import defs as models
from plms_pipeline.monitoring import defs as monitoring
from plms_pipeline.monitoring.backup import defs as backup
from plms_pipeline.monitoring.growth import defs as growth
from plms_pipeline.portfolio import defs as portfolio
from plms_pipeline.resources import DOCUMENTS, Documents, Plms
from plms_pipeline.runs import defs as runs

_JOBS = [
    *monitoring.JOBS,
    *growth.JOBS,
    *backup.JOBS,
    *evidence.JOBS,
    *runs.JOBS,
    *portfolio.JOBS,
    *alerts.JOBS,
    *models.JOBS,
]
_SCHEDULES = [
    *monitoring.SCHEDULES,
    *growth.SCHEDULES,
    *backup.SCHEDULES,
    *runs.SCHEDULES,
    *portfolio.SCHEDULES,
    *models.SCHEDULES,
]
_SENSORS = [
    *runs.SENSORS,
    *evidence.SENSORS,
    *portfolio.SENSORS,
    *alerts.SENSORS,
    *models.SENSORS,
    *letters.SENSORS,
    letters.retry_sensor(_JOBS),
]

defs = dg.Definitions(
    assets=[
        *intake.ASSETS,
        *estimates.ASSETS,
        *kpis.ASSETS,
        *evidence.ASSETS,
        *invariants.ASSETS,
        *monitoring.ASSETS,
        *runs.ASSETS,
        *letters.ASSETS,
        *portfolio.ASSETS,
        *alerts.ASSETS,
        *models.ASSETS,
    ],
    asset_checks=[*invariants.CHECKS, *runs.CHECKS, *portfolio.CHECKS, *alerts.CHECKS, *models.CHECKS],
    jobs=_JOBS,
    schedules=_SCHEDULES,
    sensors=[*_SENSORS, alerts.rules_sensor([one.name for one in (*_SENSORS, *_SCHEDULES)])],
    resources={
        "plms": Plms(),
        DOCUMENTS: Documents(),
        **intake.resources(),
        **monitoring.resources(),
        **runs.resources(),
    },
    # A step in a process of its own costs two seconds of imports and buys nothing here: the steps share two cores.
    executor=dg.in_process_executor,
)
