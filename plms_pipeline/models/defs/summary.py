"""The champion, told every night: data, features, files, figures, report and live behaviour, all looked at again."""

from datetime import datetime

import dagster as dg

from plms_pipeline.models.stages import names
from plms_pipeline.resources import Plms

ZONE = "America/New_York"
# After the night of the books has had its hour.
CRON = "30 3 * * *"
# What can be told only where prices were imported.
OF_PRICES = (names.MARKET_BARS, names.DATASET_SNAPSHOT, names.FEATURE_MATRIX, names.LIVE_MONITOR)
OF_CHAMPION = (
    names.CANDIDATE_MODEL, names.CANDIDATE_PREDICTIONS, names.CANDIDATE_EVALUATION, names.OPERATIONS_SUMMARY,
    names.CANDIDATE_REPORT,
)  # fmt: skip

champion_summary = dg.define_asset_job(
    "champion_summary",
    selection=dg.AssetSelection.assets(*OF_PRICES, *OF_CHAMPION),
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
    """One run a night."""
    return champion_request(context.instance, plms, context.scheduled_execution_time)


def champion_request(instance: dg.DagsterInstance, plms: Plms, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """The run that tells the champion of this moment: all of it, or what can be told without imported prices."""
    from plms_pipeline.errors import PlmsError
    from plms_pipeline.models.dataset.files import current_digest
    from plms_pipeline.models.defs.telling import CANDIDATES
    from plms_pipeline.models.records import MARKET
    from plms_pipeline.models.store import champions

    try:
        with plms.registry().reading() as session:
            champion = champions.current(session, MARKET)
        wanted = OF_CHAMPION if current_digest(plms.settings().data_dir) is None else (*OF_PRICES, *OF_CHAMPION)
    except PlmsError as error:
        return dg.SkipReason(f"{error.code}: {error.message}")
    if champion is None:
        return dg.SkipReason("There is no champion yet: decide about a candidate with the job decide_candidate.")
    # A champion that was trained elsewhere has no partition yet.
    instance.add_dynamic_partitions(str(CANDIDATES.name), [champion.candidate_id])
    return dg.RunRequest(
        run_key=str(at.date()), partition_key=champion.candidate_id, tags={"plms/at": at.isoformat()},
        asset_selection=[dg.AssetKey(name) for name in wanted],
    )  # fmt: skip


JOBS = [champion_summary]
SCHEDULES = [nightly_champion_summary]
