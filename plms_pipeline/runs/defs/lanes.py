"""What corrections of lanes teach, in Dagster: the asset `lane_classifier`, retrained every night."""

from datetime import timedelta
from typing import Any

import dagster as dg

from plms_pipeline.resources import DOCUMENTS, Plms, no_retry_for_permanent_errors


@dg.asset(
    io_manager_key=DOCUMENTS,
    group_name="runs",
    owners=["team:plms"],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26)),
    kinds={"scikitlearn", "json"},
    code_version="1",
    description="A small classifier that suggests lanes for new tasks, retrained from the tasks whose lane a person corrected. "
    "Arrays in JSON, never a pickle. It speaks only with 20 corrections or more and when, held out, it is right no less often "
    "than the keywords.",
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("state", "string", description="trained or too_little"),
                dg.TableColumn("corrections", "int", description="tasks whose lane a person corrected"),
                dg.TableColumn("lanes", "list", description="lanes with three corrections or more"),
                dg.TableColumn("words", "list", description="words that it knows"),
                dg.TableColumn("weights", "list", description="lane × word"),
                dg.TableColumn("accuracy", "float", description="held out"),
                dg.TableColumn("keyword_accuracy", "float", description="of the keywords on the same tasks"),
            ]
        )
    },
)
def lane_classifier(context: dg.AssetExecutionContext, plms: Plms) -> dg.MaterializeResult[Any]:
    """Train on what was corrected by now."""
    from plms_pipeline.runs.actions.lane_learning import corrections
    from plms_pipeline.runs.lane_classifier import document_of, train

    with no_retry_for_permanent_errors():
        found = corrections(plms.registry())
        model = train(found)
    document = document_of(model, len(found))
    context.log.info("lane_classifier state=%s corrections=%d", document["state"], len(found))
    figures: dict[str, Any] = {
        name: document[name] for name in ("accuracy", "keyword_accuracy", "speaks") if name in document
    }
    lanes = ", ".join(str(lane) for lane in document.get("lanes", []))
    return dg.MaterializeResult(
        value=document,
        metadata={
            "dagster/row_count": len(found), "state": document["state"], "lanes": lanes,
            "words": len(document.get("words", [])), **figures,
        },
    )  # fmt: skip


ASSETS = [lane_classifier]
