"""How do LiteLLM's spend logs become receipts?

The table `LiteLLM_SpendLogs` of the LiteLLM proxy, exported as CSV, Parquet or JSON lines. Columns as in its schema,
https://github.com/BerriAI/litellm/blob/main/schema.prisma (`request_id` is the primary key; `spend` is dollars;
`startTime` and `endTime` are stored without a zone, in UTC; `status` is success or failure;
https://docs.litellm.ai/docs/proxy/cost_tracking describes the rest).

One request is one run with one task, because the log does not say which requests belong to one piece of work. It does not
know our lanes either: a request tag `lane:4200` is read, otherwise give `--set lane=4200` or `--map team_id=lane` with the
team's name as a lane alias. `prompt_tokens` includes cached tokens, so it is the total of the input. Nobody judged a
request: validation is `ungated`.
"""

from __future__ import annotations

import json
from typing import Final

from plms_pipeline.intake.mapping import Source, Take

_STATUS: Final = {"success": "SUCCESS", "": "SUCCESS", "failure": "FAIL"}
LANE_TAG: Final = "lane:"


def status_of(cell: str) -> str:
    """LiteLLM's words → ours; logs older than the column have an empty cell and hold successes only."""
    return _STATUS.get(cell.lower(), cell)


def lane_of_tags(cell: str) -> str:
    """The lane that a request was tagged with: `["lane:4200", "team:x"]` → `4200`; a plain word stays as it is."""
    if not cell.startswith("["):
        return cell
    try:
        tags = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    words = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return next((word.removeprefix(LANE_TAG).strip() for word in words if word.startswith(LANE_TAG)), "")


SOURCE: Final = Source(
    name="litellm",
    describes="LiteLLM spend log",
    takes={
        "run_id": Take(("request_id",), required=True),
        "task_id": Take(("request_id",)),
        "lane": Take(("request_tags",), convert=lane_of_tags, required=True),
        "provider": Take(("model", "model_group"), required=True),
        "status": Take(("status",), convert=status_of),
        "started_at": Take(("startTime",), unit="iso_utc", required=True),
        "completed_at": Take(("endTime",), unit="iso_utc", required=True),
        "duration_ms": Take(("request_duration_ms",)),
        "cost_usd": Take(("spend",), required=True),
        "tokens": Take(("total_tokens",)),
        "tokens_input_total": Take(("prompt_tokens",)),
        "tokens_output_total": Take(("completion_tokens",)),
        "task_kind": Take(("call_type",)),
    },
    key=("run_id",),
    constants={"status": "SUCCESS", "api_calls": "1"},
)
