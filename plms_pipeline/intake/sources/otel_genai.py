"""How do OpenTelemetry GenAI spans become receipts?

Attribute names as in https://github.com/open-telemetry/semantic-conventions-genai (development status: the older names
of v1.36 and before are read too); files as in https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/ (JSON lines
of `TracesData`), one span per line (OTLP's own object, or what the Python SDK's console exporter prints when told
`formatter=lambda span: span.to_json(indent=None) + "\\n"`), or flat rows (CSV, Parquet, JSON lines) with the attribute names as
columns. In OTLP's JSON 64-bit integers are strings and times are nanoseconds,
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding; the console exporter writes times as ISO 8601 and ids as 0x….

One inference span is one run with one task. Spans of agents, workflows and tools are left out: their usage repeats that of
the inference spans below them, and counting both would double the tokens. `gen_ai.usage.input_tokens` includes cached
input, so it is the total. The conventions have no price: cost stays unknown. A lane comes from the attribute `plms.lane`
on span or resource, otherwise from `--set lane=…` or `--map`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from plms_pipeline.intake.mapping import Flat, Source, Take

NOT_INFERENCE: Final = frozenset({"create_agent", "invoke_agent", "execute_tool", "invoke_workflow", "plan"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_IDS: Final = {"traceId": "trace_id", "spanId": "span_id"}
_TIMES: Final = {"startTimeUnixNano": "start_time", "endTimeUnixNano": "end_time"}
_ERROR_CODES: Final = frozenset({"2", "STATUS_CODE_ERROR", "ERROR", "Error"})


def status_of(code: str) -> str:
    """Span status code → FAIL for errors, SUCCESS for unset and ok."""
    return "FAIL" if code in _ERROR_CODES else "SUCCESS"


def attribute_value(value: Any) -> Any:
    """One OTLP `AnyValue` → a plain value; arrays and maps are of no use here and give None."""
    if not isinstance(value, dict):
        return value
    for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if kind in value:
            return value[kind]
    return None


def _attributes(holder: Any) -> Flat:
    pairs = holder.get("attributes") if isinstance(holder, dict) else None
    if isinstance(pairs, dict):
        return {str(name): value for name, value in pairs.items() if isinstance(value, (str, int, float))}
    if not isinstance(pairs, list):
        return {}
    return {
        str(pair["key"]): attribute_value(pair.get("value"))
        for pair in pairs
        if isinstance(pair, dict) and "key" in pair
    }


def _is_inference(flat: Flat) -> bool:
    operation = flat.get("gen_ai.operation.name")
    if operation in NOT_INFERENCE:
        return False
    return operation is not None or any(name.startswith("gen_ai.usage.") for name in flat)


def _listed(holder: Any, *names: str) -> list[dict[str, Any]]:
    for name in names:
        found = holder.get(name) if isinstance(holder, dict) else None
        if isinstance(found, list):
            return [item for item in found if isinstance(item, dict)]
    return []


def expand(line: Flat) -> list[Flat]:
    """The inference spans of one JSON line: OTLP's `TracesData`, one span of OTLP or a console, or a flat one."""
    if "resourceSpans" in line:
        rows = [
            _span(_attributes(resource_spans.get("resource")), span)
            for resource_spans in _listed(line, "resourceSpans")
            for scope_spans in _listed(resource_spans, "scopeSpans", "instrumentationLibrarySpans")
            for span in _listed(scope_spans, "spans")
        ]
    elif isinstance(line.get("attributes"), (list, dict)):
        rows = [_span(_attributes(line.get("resource")), _from_console(line))]
    else:
        rows = [line]
    return [row for row in rows if _is_inference(row)]


def _span(shared: Flat, span: Flat) -> Flat:
    status = span.get("status")
    top = {name: value for name, value in span.items() if isinstance(value, (str, int, float))}
    code = status.get("code", status.get("status_code")) if isinstance(status, dict) else None
    return {**shared, **top, **_attributes(span), "status.code": code}


def _from_console(span: Flat) -> Flat:
    """A span with OTLP's names: the same span must have the same key, whichever way it was written."""
    context = span.get("context")
    if not isinstance(context, dict):
        return span
    ids = {ours: str(context.get(theirs, "")).removeprefix("0x") for ours, theirs in _IDS.items()}
    return {**span, **ids, **{ours: nanoseconds(span.get(theirs)) for ours, theirs in _TIMES.items()}}


def nanoseconds(moment: Any) -> str:
    """An ISO 8601 moment with zone → nanoseconds since 1970-01-01T00:00Z; anything else as it is, for the rules to refuse."""
    try:
        parsed = datetime.fromisoformat(str(moment))
    except ValueError:
        return str(moment)
    if parsed.tzinfo is None:
        return str(moment)
    return str((parsed - _EPOCH) // timedelta(microseconds=1) * 1000)


SOURCE: Final = Source(
    name="otel-genai",
    describes="file of OpenTelemetry GenAI spans",
    takes={
        "run_id": Take(("spanId", "span_id"), required=True),
        "project": Take(("service.name",)),
        "task_id": Take(("traceId", "trace_id"), required=True),
        "lane": Take(("plms.lane",), required=True),
        "provider": Take(("gen_ai.response.model", "gen_ai.request.model"), required=True),
        "status": Take(("status.code", "status_code"), convert=status_of),
        "started_at": Take(("startTimeUnixNano", "start_time_unix_nano"), unit="epoch_ns", required=True),
        "completed_at": Take(("endTimeUnixNano", "end_time_unix_nano"), unit="epoch_ns", required=True),
        "tokens_input_total": Take(("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"), required=True),
        "tokens_output_total": Take(("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"), required=True),
        "tokens_cached": Take(("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")),
        "tokens_reasoning": Take(("gen_ai.usage.reasoning.output_tokens",)),
        "task_kind": Take(("gen_ai.operation.name",)),
    },
    key=("task_id", "run_id"),
    constants={"status": "SUCCESS", "api_calls": "1"},
    expand=expand,
    line="one OTLP object with resourceSpans, or one span, of an operation that has gen_ai.usage.* attributes",
)
