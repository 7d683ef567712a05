"""What must somebody hold to do this in the Dagster UI?

Three tables, to be read and reviewed in one sitting: what each mutation of Dagster's GraphQL schema needs, what launching each
of our jobs needs, and what stands behind each permission by which Dagster greys out its buttons. As everywhere, a rule asks
for a scope and never for a role. What has no line is not forgotten: a mutation without one is refused to everybody, a job or
permission without one to whoever does not hold all that an administrator holds, and a test fails until it has one.

A job that decides needs the scope of the same decision over HTTP. What an administrator alone may do is what forges (a check
or materialization reported by hand), what forgets (runs, assets), and what stops the house from working on its own (sensors,
schedules, code, limits).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from plms_pipeline.access.roles import ROLES

WORKS, SIMULATES, APPROVES, OVERRIDES = "projects.start", "projects.simulate", "approvals.write", "kpi.override"
LOOKS = "ops.view"
GUARDS, LANES = "guards.write", "lanes.write"
# Needed where it is not known what would happen.
STRICTEST: frozenset[str] = ROLES["admin"]
# Dagster's own name of the job that materializes whatever assets are selected; a number may follow.
ASSET_JOB = "__ASSET_JOB"


class Target(StrEnum):
    """Where in its arguments a mutation names what it acts upon; each value is the argument's name."""

    NOTHING = ""
    LAUNCH = "executionParams"
    LAUNCHES = "executionParamsList"
    RERUN = "reexecutionParams"
    RUN = "runId"
    RUNS = "runIds"
    BACKFILL = "backfillId"
    NEW_BACKFILL = "backfillParams"
    BACKFILL_AGAIN = "parentRunId"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a mutation needs at least; what it acts upon may need more."""

    scope: str
    target: Target = Target.NOTHING


_LAUNCH = Rule(WORKS, Target.LAUNCH)
_RERUN = Rule(WORKS, Target.RERUN)
_END = Rule(WORKS, Target.RUN)
_ADMIN = Rule(GUARDS)
_POOLS = Rule(LANES)

MUTATIONS: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "launchPipelineExecution": _LAUNCH,
        "launchRun": _LAUNCH,
        "launchMultipleRuns": Rule(WORKS, Target.LAUNCHES),
        "launchPipelineReexecution": _RERUN,
        "launchRunReexecution": _RERUN,
        "launchPartitionBackfill": Rule(WORKS, Target.NEW_BACKFILL),
        "resumePartitionBackfill": Rule(WORKS, Target.BACKFILL),
        "cancelPartitionBackfill": Rule(WORKS, Target.BACKFILL),
        "reexecutePartitionBackfill": Rule(WORKS, Target.BACKFILL_AGAIN),
        "terminatePipelineExecution": _END,
        "terminateRun": _END,
        "terminateRuns": Rule(WORKS, Target.RUNS),
        # A dry run runs the sensor, and ours work in their ticks.
        "sensorDryRun": Rule(WORKS),
        "scheduleDryRun": Rule(WORKS),
        "addDynamicPartition": Rule(WORKS),
        # Only for who looks at the UI for the first time, and for Dagster's makers; both are switched off.
        "setNuxSeen": Rule(WORKS),
        "logTelemetry": Rule(WORKS),
        # What forges.
        "reportRunlessAssetEvents": _ADMIN,
        "reportAssetCheckEvaluations": _ADMIN,
        # What forgets.
        "deletePipelineRun": _ADMIN,
        "deleteRun": _ADMIN,
        "wipeAssets": _ADMIN,
        "deleteDynamicPartitions": _ADMIN,
        # What the house does on its own, and with which code.
        "startSchedule": _ADMIN,
        "stopRunningSchedule": _ADMIN,
        "resetSchedule": _ADMIN,
        "startSensor": _ADMIN,
        "stopSensor": _ADMIN,
        "resetSensor": _ADMIN,
        "setSensorCursor": _ADMIN,
        "setAutoMaterializePaused": _ADMIN,
        "reloadRepositoryLocation": _ADMIN,
        "reloadWorkspace": _ADMIN,
        "shutdownRepositoryLocation": _ADMIN,
        "setAppManagedComponent": _ADMIN,
        "deleteAppManagedComponent": _ADMIN,
        "refreshComponentState": _ADMIN,
        # Pools guard our own heavy ops as lanes guard the executor.
        "setConcurrencyLimit": _POOLS,
        "deleteConcurrencyLimit": _POOLS,
        "freeConcurrencySlotsForRun": _POOLS,
        "freeConcurrencySlots": _POOLS,
    }
)

JOBS: MappingProxyType[str, str] = MappingProxyType(
    {
        # Decisions.
        "approve_project": APPROVES,
        "override_lane": APPROVES,
        "accept_ungated_lane": LANES,
        "request_kpi_override": WORKS,
        "decide_kpi_override": OVERRIDES,
        "decide_candidate": APPROVES,
        "promote_candidate": APPROVES,
        "rollback_champion": APPROVES,
        # Guards.
        "killswitch": GUARDS,
        "reset_guards": GUARDS,
        "silence_alert": GUARDS,
        "test_alert_channels": GUARDS,
        # Work.
        "acknowledge_alert": WORKS,
        "start_project_run": WORKS,
        "replay_run": WORKS,
        "cancel_run": WORKS,
        "rehearse_project": SIMULATES,
        "decide_dead_letters": WORKS,
        "settle_completions": WORKS,
        "dispatch_cards": WORKS,
        "write_session_reports": WORKS,
        "sweep_run_folders": WORKS,
        "nightly": WORKS,
        "lane_review": WORKS,
        "tell_money_and_risk": WORKS,
        "measure_lanes": WORKS,
        "review_evidence": WORKS,
        "verify_golden": WORKS,
        "champion_summary": WORKS,
        "retrain_models": WORKS,
        "retrain_estimates": WORKS,
        "watch_estimates": WORKS,
        # One forgets; the other takes all that is not secret to wherever its configuration says.
        "purge": GUARDS,
        "back_up": GUARDS,
    }
)

# By the names of `dagster._core.workspace.permissions.Permissions`.
PERMISSIONS: MappingProxyType[str, str] = MappingProxyType(
    {
        "launch_pipeline_execution": WORKS,
        "launch_pipeline_reexecution": WORKS,
        "launch_partition_backfill": WORKS,
        "cancel_partition_backfill": WORKS,
        "terminate_pipeline_execution": WORKS,
        "sensor_dry_run": WORKS,
        "schedule_dry_run": WORKS,
        "edit_dynamic_partitions": WORKS,
        "report_runless_asset_events": GUARDS,
        "delete_pipeline_run": GUARDS,
        "wipe_assets": GUARDS,
        "start_schedule": GUARDS,
        "stop_running_schedule": GUARDS,
        "edit_sensor": GUARDS,
        "update_sensor_cursor": GUARDS,
        "toggle_auto_materialize": GUARDS,
        "reload_repository_location": GUARDS,
        "reload_workspace": GUARDS,
        "edit_app_managed_components": GUARDS,
        "refresh_component_state": GUARDS,
        "edit_concurrency_limit": LANES,
    }
)


def scopes_of_job(job: str | None) -> frozenset[str]:
    """What launching, repeating or ending a job needs; None stands for a job that is not known."""
    if job is None:
        return STRICTEST
    if job == ASSET_JOB or (job.startswith(f"{ASSET_JOB}_") and job.removeprefix(f"{ASSET_JOB}_").isdigit()):
        return frozenset({WORKS})
    return frozenset({JOBS[job]}) if job in JOBS else STRICTEST
