"""The champion, told every night: data, features, files, figures, report and live behaviour, all looked at again."""

import dagster as dg

from plms_pipeline.models.stages import names
from plms_pipeline.resources import Plms

ZONE = "America/New_York"
# After the night of the books has had its hour.
CRON = "30 3 * * *"
TOLD = (
    names.MARKET_BARS, names.DATASET_SNAPSHOT, names.FEATURE_MATRIX, names.CANDIDATE_MODEL, names.CANDIDATE_PREDICTIONS,
    names.CANDIDATE_EVALUATION, names.OPERATIONS_SUMMARY, names.CANDIDATE_REPORT,
    names.LIVE_MONITOR,
)  # fmt: skip

champion_summary = dg.define_asset_job(
    "champion_summary",
    selection=dg.AssetSelection.assets(*TOLD),
    description="Tells everything about the champion anew, as it lies on the disk now; its partition is the champion. Changes "
    "nothing but the report.",
    tags={"dagster/max_runtime": "1800", "plms/exclusive": "champion_summary"},
)


@dg.schedule(
    name="nightly_champion_summary",
    job=champion_summary,
    cron_schedule=CRON,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:30 in New York; without a champion there is nothing to tell.",
)
def nightly_champion_summary(context: dg.ScheduleEvaluationContext, plms: Plms) -> dg.RunRequest | dg.SkipReason:
    """One run a night, about the champion of that moment."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.defs.telling import CANDIDATES
    from plms_pipeline.models.records import MARKET
    from plms_pipeline.models.store import champions

    try:
        with plms.registry().reading() as session:
            champion = champions.current(session, MARKET)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if champion is None:
        return dg.SkipReason("There is no champion yet: decide about a candidate with the job decide_candidate.")
    # A champion that was trained elsewhere has no partition yet.
    context.instance.add_dynamic_partitions(str(CANDIDATES.name), [champion.candidate_id])
    at = context.scheduled_execution_time
    return dg.RunRequest(run_key=str(at.date()), partition_key=champion.candidate_id, tags={"plms/at": at.isoformat()})


JOBS = [champion_summary]
SCHEDULES = [nightly_champion_summary]
