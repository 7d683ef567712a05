"""The champion as an asset that is watched: one look at what it earned since its training."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from plms_pipeline.models.defs.telling import GROUP, OWNERS, result, specs_of
from plms_pipeline.models.stages.names import DATASET_SNAPSHOT, LIVE_MONITOR, PROMOTED_MODEL
from plms_pipeline.resources import Plms, no_retry_for_permanent_errors


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"sqlalchemy"}, code_version="1", deps=[DATASET_SNAPSHOT, PROMOTED_MODEL],
    check_specs=specs_of(LIVE_MONITOR),
    description="What the champion earned on the prices since its training, against what was approved: risk, drift, and what "
    "the decision tree says. Each look is a row; the sensor champion_drifted asks for a training when a look does.",
)  # fmt: skip
def live_monitor(context: dg.AssetExecutionContext, plms: Plms) -> Iterator[dg.MaterializeResult[Any]]:
    """Look once."""
    from plms_pipeline.models.actions.monitoring import look
    from plms_pipeline.models.stages.live import live_stage

    with no_retry_for_permanent_errors():
        found = look(plms.registry(), data_dir=plms.settings().data_dir, clock=plms.clock())
    context.log.info(f"champion_watched action={found.action} rows={found.rows}")
    yield result(live_stage(found.document, action=found.action, sentence=found.sentence))


ASSETS = [live_monitor]
