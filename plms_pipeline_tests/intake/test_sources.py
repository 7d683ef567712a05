"""The sources we know, against what their owners publish."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.identity import NAMESPACE
from plms_pipeline.intake.sources.litellm import lane_of_tags
from plms_pipeline.intake.sources.metr import lane_of_family
from plms_pipeline.intake.sources.otel_genai import expand, nanoseconds
from plms_pipeline.intake.sources.swebench import lane_of_owner
from plms_pipeline_tests.intake.conftest import LIMITS, Importer, checked

METR_LANES = {
    "ai_rd_nanogpt_chat_rl": 6100, "ai_rd_fix_embedding": 6100, "hypothesis_testing": 6101, "env_scientist": 6101,
    "symbolic_regression": 6101, "audio_classification": 6101, "cuda_backtesting": 6101, "munge_data": 5102,
    "data_deduplication": 5102, "interpret_data": 5102, "local_research": 5101, "local_research_tex": 5101,
    "wikipedia_research": 5101, "gaia": 5101, "auto_days_since": 5101, "debug_small_libs": 4201, "password_check": 4201,
    "credit_card_validity": 4201, "web_hacking": 4200, "pico_ctf": 4200, "avoid_shutdown": 4200, "esolang": 4200,
    "reverse_hash": 4200, "blackbox": 4200, "number_list_steganography": 4200, "a_family_of_next_year": 4200,
}  # fmt: skip


@pytest.mark.parametrize(("family", "lane"), METR_LANES.items())
def test_metr_families_belong_to_their_lanes(family: str, lane: int) -> None:
    assert int(lane_of_family(family)) == lane


def test_swebench_owners_belong_to_their_lanes() -> None:
    owners = ("sphinx-doc", "pytest-dev", "pylint-dev", "django", "somebody-new")
    assert [lane_of_owner(owner) for owner in owners] == ["4202", "4201", "4201", "4200", "4200"]


def test_a_metr_row_becomes_a_receipt() -> None:
    row = {
        "run_id": "v_1", "task_id": "gaia/1", "task_family": "gaia", "model": "o1", "started_at": "1728944057723",
        "completed_at": "1728945858454", "score_binarized": "1", "fatal_error_from": "usageLimits",
    }  # fmt: skip
    (receipt,) = checked([row], "metr").receipts
    assert receipt.duration_ms == 1728945858454 - 1728944057723
    assert (receipt.status, receipt.validation, receipt.test_pass_rate) == ("FAIL", "passed", 1.0)
    assert (receipt.lane_id, receipt.provider, receipt.project, receipt.cost_usd) == (5101, "o1", "o1", None)
    assert receipt.natural_key == "v_1"


def test_a_run_id_is_the_uuid5_of_source_and_natural_key() -> None:
    """If this changes, importing last year's file again doubles every run in the books."""
    row = {
        "run_date": "2025-07-20", "model": "m", "repo_owner": "django", "instance_id": "i", "cost_usd": "1",
        "api_calls": "1", "resolved": "True",
    }  # fmt: skip
    (receipt,) = checked([row], "swebench").receipts
    assert str(NAMESPACE) == "ab50abcf-f563-5e10-b2b6-8d50400b53c4"
    assert receipt.run_id == "6039a53c-b25a-53fb-aaee-df7e846c843b"
    digest = hashlib.sha1(NAMESPACE.bytes + b"swebench\tm\ti\t2025-07-20").digest()[:16]
    assert UUID(bytes=digest, version=5) == UUID(receipt.run_id)
    assert receipt.natural_key == "m\ti\t2025-07-20"


@pytest.mark.live
def test_the_swebench_sample_lands_whole(sqlite_importer: Importer, samples: object) -> None:
    """Compared with pandas' reading of the same file, not with our own."""
    path: Path = samples("swebench")  # type: ignore[operator]
    result = sqlite_importer("swebench", path)
    frame = pd.read_csv(path)
    assert (result.rows, result.inserted, result.n_quarantined) == (len(frame), len(frame), 0)
    with sqlite_importer.registry.engine.connect() as connection:
        stored = pd.read_sql("SELECT * FROM task_receipts", connection)
        runs = pd.read_sql("SELECT * FROM project_runs", connection)
    key = stored["natural_key"].str.split("\t", expand=True)
    merged = frame.merge(
        stored.assign(model=key[0], instance_id=key[1], run_date=key[2]), on=["model", "instance_id", "run_date"],
        suffixes=("", "_ours"),
    )  # fmt: skip
    assert len(merged) == len(frame)
    assert (merged["cost_usd_ours"] - (merged["cost_usd"] * 1e6)).abs().max() <= 0.5000001
    assert (merged["api_calls_ours"] == merged["api_calls"]).all()
    assert (merged["test_pass_rate"] == merged["resolved"].astype(float)).all()
    assert stored["duration_ms"].isna().all()
    assert (stored["status"] == "SUCCESS").all()
    assert runs["validation"].eq("passed").sum() == frame["resolved"].sum()
    assert runs["verdict_by"].eq("source").all()
    ordered = frame.sort_values(["run_date", "model", "instance_id"], kind="stable")
    seconds = ordered.groupby("run_date").cumcount()
    expected = pd.to_datetime(ordered["run_date"]) + pd.to_timedelta(seconds, unit="s")
    ours = merged.set_index(["run_date", "model", "instance_id"])["completed_at"].loc[
        list(ordered[["run_date", "model", "instance_id"]].itertuples(index=False, name=None))
    ]
    assert list(pd.to_datetime(ours)) == list(expected)


def test_the_metr_sample_lands_whole(sqlite_importer: Importer, samples: object) -> None:
    path: Path = samples("metr")  # type: ignore[operator]
    result = sqlite_importer("metr", path)
    frame = pd.read_csv(path).set_index("run_id")
    assert (result.rows, result.inserted, result.n_quarantined) == (len(frame), len(frame), 0)
    with sqlite_importer.registry.engine.connect() as connection:
        stored = pd.read_sql("SELECT * FROM task_receipts", connection).set_index("natural_key").loc[frame.index]
    assert (stored["duration_ms"] == frame["completed_at"] - frame["started_at"]).all()
    assert (
        pd.to_datetime(stored["completed_at"]).astype("datetime64[ms]").astype("int64") == frame["completed_at"]
    ).all()
    assert ((stored["status"] == "FAIL") == frame["fatal_error_from"].notna()).all()
    assert stored["cost_usd"].isna().all()


def test_lite_llm_tags_name_a_lane() -> None:
    assert lane_of_tags('["team:x", "lane:4200"]') == "4200"
    assert lane_of_tags("[]") == lane_of_tags("") == ""
    assert lane_of_tags("[not json") == "[not json"


def test_a_lite_llm_row_becomes_a_receipt() -> None:
    row = {
        "request_id": "chatcmpl-1", "call_type": "acompletion", "spend": "0.0012345678", "total_tokens": "30",
        "prompt_tokens": "20", "completion_tokens": "10", "startTime": "2025-07-20 12:00:00.5",
        "endTime": "2025-07-20 12:00:02", "model": "gpt-x", "request_tags": '["lane:4201"]', "status": "failure",
    }  # fmt: skip
    (receipt,) = checked([row], "litellm").receipts
    assert (receipt.lane_id, receipt.duration_ms, receipt.tokens, receipt.status) == (4201, 1500, 30, "FAIL")
    assert str(receipt.cost_usd) == "0.001235"
    assert receipt.validation == "ungated"


def span(operation: str, **attributes: object) -> dict[str, object]:
    listed = [{"key": "gen_ai.operation.name", "value": {"stringValue": operation}}]
    for key, value in attributes.items():
        kind = "intValue" if isinstance(value, int) else "stringValue"
        listed.append({"key": key, "value": {kind: str(value)}})
    return {
        "traceId": "t1", "spanId": f"s-{operation}", "name": operation, "startTimeUnixNano": "1753012800000000321",
        "endTimeUnixNano": "1753012801500000321", "attributes": listed, "status": {"code": 2},
    }  # fmt: skip


def test_otlp_lines_become_receipts_and_agent_spans_do_not(sqlite_importer: Importer, tmp_path: Path) -> None:
    """An agent span repeats the usage of the calls below it: counted too, every token would count twice."""
    usage = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.cache_read.input_tokens": 60,
    }
    chat = span("chat", **{"gen_ai.response.model": "m-1", **usage})
    line = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "plms.lane", "value": {"stringValue": "4200"}}]},
                "scopeSpans": [{"spans": [span("invoke_agent", **usage), chat]}],
            }
        ]
    }
    path = tmp_path / "spans.jsonl"
    path.write_text(json.dumps(line) + "\n\n" + '{"resourceSpans": []}\n{"broken": \n[1]\n')
    result = sqlite_importer("otel-genai", path)
    assert (result.rows, result.inserted, dict(result.quarantined)) == (3, 1, {"not_json": 2})
    with sqlite_importer.registry.reading() as session:
        from plms_pipeline.registry.tables import TaskReceipt

        receipt = session.query(TaskReceipt).one()
    assert (receipt.tokens, receipt.tokens_input, receipt.tokens_cached, receipt.tokens_output) == (140, 40, 60, 40)
    assert (receipt.duration_ms, receipt.status, receipt.lane_id, receipt.cost_usd) == (1500, "FAIL", 4200, None)


USAGE = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 40}
CONSOLE = {
    "name": "chat m-1", "kind": "SpanKind.CLIENT", "parent_id": None, "events": [], "links": [],
    "context": {"trace_id": "0xt1", "span_id": "0xs-chat", "trace_state": "[]"},
    "start_time": "2025-07-20T12:00:00.000000Z", "end_time": "2025-07-20T12:00:01.500000Z",
    "status": {"status_code": "ERROR", "description": "x"},
    "attributes": {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-1", "tags": ["a"], **USAGE},
    "resource": {"attributes": {"plms.lane": "4200", "service.name": "p"}, "schema_url": ""},
}  # fmt: skip


def test_a_span_has_one_key_in_every_shape(sqlite_importer: Importer, tmp_path: Path) -> None:
    """One span per line and the console exporter's print were "columns missing" to people who had all of them."""
    bare = span("chat", **{"gen_ai.response.model": "m-1", "plms.lane": "4200", "service.name": "p", **USAGE})
    bare |= {"startTimeUnixNano": "1753012800000000000", "endTimeUnixNano": "1753012801500000000"}
    for name, line in (("bare", bare), ("console", CONSOLE)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    result = sqlite_importer("otel-genai", tmp_path / "bare.jsonl")
    assert (result.rows, result.inserted) == (1, 1)
    result = sqlite_importer("otel-genai", tmp_path / "console.jsonl")
    assert (result.rows, result.inserted, result.unchanged) == (1, 0, 1)
    with sqlite_importer.registry.reading() as session:
        from plms_pipeline.registry.tables import TaskReceipt

        receipt = session.query(TaskReceipt).one()
    assert (receipt.tokens, receipt.duration_ms, receipt.status, receipt.lane_id) == (140, 1500, "FAIL", 4200)


@pytest.mark.parametrize("moment", [None, 5, "noon", "2025-07-20T12:00:00", {}])
def test_a_console_time_that_is_none_is_left_to_the_rules(moment: object) -> None:
    """It becomes a refused row that names the column, not a traceback."""
    assert nanoseconds(moment) == str(moment)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(CONSOLE, indent=4), "jq -c . FILE"),
        (json.dumps([CONSOLE]), "jq -c '.\\[\\]' FILE"),
        (json.dumps(span("invoke_agent", **USAGE)), "resourceSpans, or one span"),
        ('{"hello": 1}', "resourceSpans, or one span"),
    ],
)
def test_spans_in_another_shape_are_told_what_is_expected(
    sqlite_importer: Importer, tmp_path: Path, text: str, words: str
) -> None:
    """`Columns are missing, found: none` sends people to look for columns."""
    path = tmp_path / "spans.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(BadInput, match=words):
        sqlite_importer("otel-genai", path)


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"attributes": None},
        {"attributes": 5},
        {"attributes": [], "context": []},
        {"resourceSpans": None},
        {"resourceSpans": [1, {"scopeSpans": [{"spans": "x"}]}]},
    ],
)
def test_odd_otlp_lines_hold_no_rows(line: dict[str, object]) -> None:
    assert expand(line) == []


def test_a_day_only_row_may_not_stand_in_the_future() -> None:
    row = {
        "run_date": LIMITS.now.date().isoformat(), "model": "m", "repo_owner": "django", "instance_id": "i",
        "cost_usd": "1", "api_calls": "1", "resolved": "True",
    }  # fmt: skip
    assert len(checked([row], "swebench").receipts) == 1
    assert checked([row | {"run_date": "2026-03-02"}], "swebench").receipts == []
