"""The data as assets: the bars as they stand, the snapshot that trainings use, the features made of it."""

# No `from __future__ import annotations`: Dagster compares the annotation of `context` itself, not its text.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from plms_pipeline.models.defs.asking import DataConfig, ExperimentConfig
from plms_pipeline.models.defs.telling import GROUP, OWNERS, result, specs_of
from plms_pipeline.models.stages.names import DATASET_SNAPSHOT, FEATURE_MATRIX, MARKET_BARS
from plms_pipeline.resources import DOCUMENTS, Plms, no_retry_for_permanent_errors


@dg.multi_asset(
    name="dataset",
    specs=[
        dg.AssetSpec(
            MARKET_BARS, group_name=GROUP, owners=OWNERS, kinds={"parquet"}, code_version="1",
            description="The imported prices, one bar per symbol and moment, after the checks: rows that cannot be are taken "
            "out, and what is suspicious is named for a person to judge.",
        ),
        dg.AssetSpec(
            DATASET_SNAPSHOT, group_name=GROUP, owners=OWNERS, kinds={"parquet"}, code_version="1", deps=[MARKET_BARS],
            description="The same bars kept by the hash of their content, so that what a training used can be found and "
            "compared for ever.",
        ).with_io_manager_key(DOCUMENTS),
    ],
    check_specs=[*specs_of(MARKET_BARS), *specs_of(DATASET_SNAPSHOT)],
)  # fmt: skip
def dataset(context: dg.AssetExecutionContext, config: DataConfig, plms: Plms) -> Iterator[dg.MaterializeResult[Any]]:
    """Read, check, keep."""
    from plms_pipeline.models.actions.asking import experiment_of, request_of
    from plms_pipeline.models.actions.stages import data_stages

    data_dir = plms.settings().data_dir
    with no_retry_for_permanent_errors():
        default = experiment_of("ridge", "", data_dir=data_dir)
        asked = request_of(config.dataset, config.symbol, default, data_dir=data_dir)
        data, bars, kept = data_stages(asked, root=data_dir, as_of=plms.clock().now())
    context.log.info(f"dataset_read bars={data.examination.bars.count} findings={len(data.findings)}")
    yield result(bars)
    yield result(kept, {"content_hash": data.digest})


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"numpy"}, code_version="1", check_specs=specs_of(FEATURE_MATRIX),
    description="What the market looked like at the end of each bar, told by that bar and those before it. Kept nowhere: a "
    "training computes it again in less time than reading it would take.",
)  # fmt: skip
def feature_matrix(
    context: dg.AssetExecutionContext, config: ExperimentConfig, plms: Plms, dataset_snapshot: dict[str, Any]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Compute the features once more, and look whether one of them sees the future."""
    from plms_pipeline.models.actions.asking import experiment_of
    from plms_pipeline.models.actions.stages import feature_stage

    data_dir = plms.settings().data_dir
    with no_retry_for_permanent_errors():
        asked = experiment_of(config.experiment, config.experiment_file, data_dir=data_dir)
        stage = feature_stage(data_dir, dataset_snapshot["content_hash"], asked)
    context.log.info(f"features_made rows={stage.facts['dagster/row_count']} features={stage.facts['features']}")
    yield result(stage)


ASSETS = [dataset, feature_matrix]
