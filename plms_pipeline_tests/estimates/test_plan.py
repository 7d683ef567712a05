from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput
from plms_pipeline.estimates.plan import Work, lane_of, parse_plan, tasks_of

LANES = {"4200": 4200, "code-api": 4200, "4201": 4201, "tests": 4201}


def test_a_plan_names_lanes_as_people_do_and_adds_up() -> None:
    """One line per card is as good as one line with a count."""
    text = "Lane, Provider ,tasks\nCode-API,m,2\n4200,m,3\ntests,n,\n"
    assert parse_plan(text, "plan.csv", LANES) == [Work(4200, "m", 5), Work(4201, "n", 1)]


def test_columns_that_are_left_out_come_from_the_command_line() -> None:
    """A list of task counts for one lane and provider needs no repetition."""
    assert parse_plan("tasks\n2\n3\n", "p", LANES, lane="4201", provider="m") == [Work(4201, "m", 5)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has the columns (none)"),
        ("lane,provider\n", "holds no task"),
        ("lane,model\n4200,m\n", "has the columns lane, model"),
        ("lane,lane,provider\n", "has the columns"),
        ("lane,provider\n9999,m\n", "line 2, column lane: '9999' is no registered lane"),
        ("lane,provider\n4200,\n", "line 2, column provider"),
        ("lane,provider,tasks\n4200,m,-1\n", "line 2, column tasks: '-1' is no number of tasks"),
        ("lane,provider,tasks\n4200,m,1.5\n", "column tasks"),
        ("lane,provider,tasks\n4200,m\n", "line 2: it has not 3 columns"),
        ("lane,provider\n4200,m,7\n", "line 2: it has not 2 columns"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(text: str, says: str) -> None:
    """A plan that is read wrongly is a budget that is wrong; the person must find the line."""
    with pytest.raises(BadInput) as refused:
        parse_plan(text, "plan.csv", LANES)
    assert says in refused.value.message


@given(st.text(max_size=20))
def test_no_text_makes_the_parsers_crash(text: str) -> None:
    """Whatever a person types is refused in one sentence, never with a traceback."""
    for parse in (
        lambda: tasks_of(text, "--tasks"),
        lambda: lane_of(text, LANES),
        lambda: parse_plan(text, "p", LANES),
    ):
        try:
            said = str(parse())
        except BadInput as refused:
            said = refused.message
        assert said
        assert "Traceback" not in said
