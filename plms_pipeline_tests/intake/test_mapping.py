"""Somebody else's columns become ours, or the error says which are missing."""

from __future__ import annotations

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.batch import RawBatch
from plms_pipeline.intake.mapping import fit, parse_pairs, to_cells
from plms_pipeline.intake.sources import SOURCES
from plms_pipeline_tests.intake.conftest import SWEBENCH

REQUIRED = ("run_id", "lane", "provider", "status", "completed_at")


def test_a_foreign_file_is_told_which_columns_are_expected() -> None:
    """If this fails the user of a wrong file must read our code to learn what a right one is."""
    with pytest.raises(BadInput, match="Expected columns") as caught:
        fit(SOURCES["swebench"], ["Date", "Open"], renames={}, constants={}, thing="sp500.csv")
    message = caught.value.message
    assert all(column in message for column in (*SWEBENCH, "sp500.csv", "Date", "Open", "--map"))


def test_a_renamed_column_feeds_the_field_of_its_new_name() -> None:
    plan = fit(
        SOURCES["receipts"], [*REQUIRED[:-1], "ended"], renames={"ended": "completed_at"}, constants={}, thing="f"
    )
    cells = to_cells(plan, RawBatch(0, [2], {column: [column.upper()] for column in plan.columns}, []))
    assert cells.fields["completed_at"] == ["ENDED"]
    assert cells.origin("completed_at") == "ended"


def test_a_foreign_source_can_be_given_one_of_our_fields() -> None:
    """LiteLLM logs know no lane; without this its users would have to rewrite their export."""
    columns = ["request_id", "model", "startTime", "endTime", "spend", "team_id"]
    plan = fit(SOURCES["litellm"], columns, renames={"team_id": "lane"}, constants={}, thing="f")
    assert plan.takes["lane"].columns == ("team_id",)


def test_a_constant_stands_in_for_a_required_column() -> None:
    plan = fit(SOURCES["receipts"], [*REQUIRED[2:], "run_id"], renames={}, constants={"lane": "4200"}, thing="f")
    cells = to_cells(plan, RawBatch(0, [2, 3], {column: ["x", "y"] for column in plan.columns}, []))
    assert cells.fields["lane"] == ["4200", "4200"]


def test_columns_that_are_not_read_are_named() -> None:
    """A misspelt `cost` would otherwise lose all money without a word."""
    plan = fit(SOURCES["receipts"], [*REQUIRED, "cost"], renames={}, constants={}, thing="f")
    assert plan.ignored == ("cost",)


def test_the_first_filled_column_of_several_wins() -> None:
    plan = fit(
        SOURCES["otel-genai"],
        ["spanId", "traceId", "gen_ai.response.model", "gen_ai.request.model", "startTimeUnixNano", "endTimeUnixNano",
         "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"],
        renames={}, constants={"lane": "4200"}, thing="f",
    )  # fmt: skip
    raw = {column: ["", ""] for column in plan.columns}
    raw |= {"gen_ai.response.model": ["answered", ""], "gen_ai.request.model": ["asked", "asked"]}
    assert to_cells(plan, RawBatch(0, [2, 3], raw, [])).fields["provider"] == ["answered", "asked"]


@pytest.mark.parametrize(
    ("renames", "constants", "words"),
    [
        ({"nope": "cost_usd"}, {}, "no column 'nope'"),
        ({"run_id": "cost_eur"}, {}, "did you mean 'cost_usd'"),
        ({}, {"lan": "4200"}, "did you mean 'lane'"),
    ],
)
def test_an_option_that_names_nothing_is_refused(
    renames: dict[str, str], constants: dict[str, str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        fit(SOURCES["receipts"], REQUIRED, renames=renames, constants=constants, thing="f")


@pytest.mark.parametrize(
    ("name", "renames", "constants", "field"),
    [
        ("receipts", {"a": "cost_usd", "b": "cost_usd"}, {}, "cost_usd"),
        ("receipts", {"a": "lane"}, {"lane": "4200"}, "lane"),
        ("litellm", {"a": "spend", "b": "cost_usd"}, {}, "cost_usd"),
        ("litellm", {"a": "cost_usd", "b": "spend"}, {}, "cost_usd"),
        ("litellm", {"a": "lane"}, {"lane": "4200"}, "lane"),
        ("litellm", {"a": "spend"}, {"cost_usd": "1"}, "cost_usd"),
    ],
)
def test_a_field_that_is_given_twice_is_refused(
    name: str, renames: dict[str, str], constants: dict[str, str], field: str
) -> None:
    """The second one won without a word, and the books held the wrong column for ever."""
    columns = [*SOURCES[name].columns, "a", "b"]
    with pytest.raises(BadInput, match=f"both give '{field}'"):
        fit(SOURCES[name], columns, renames=renames, constants=constants, thing="f")


def test_two_columns_of_a_source_that_feed_one_field_may_both_be_renamed() -> None:
    """The answering model first, else the one that was asked: an export may have renamed both."""
    columns = [*SOURCES["otel-genai"].columns, "a", "b"]
    renames = {"a": "gen_ai.response.model", "b": "gen_ai.request.model"}
    plan = fit(SOURCES["otel-genai"], columns, renames=renames, constants={}, thing="f")
    assert plan.takes["provider"].columns == ("a", "b")


@pytest.mark.parametrize("pair", ["lane", "=4200", "lane=", "="])
def test_a_pair_without_both_sides_is_refused(pair: str) -> None:
    with pytest.raises(BadInput, match="LEFT=RIGHT"):
        parse_pairs("--set", [pair])


def test_a_value_may_hold_an_equals_sign_but_a_side_not_stand_twice() -> None:
    assert parse_pairs("--set", ["project=a=b"]) == {"project": "a=b"}
    with pytest.raises(BadInput, match="twice"):
        parse_pairs("--set", ["lane=1", "lane=2"])
