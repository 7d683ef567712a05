"""The gate into the book of record: every bad value is refused with the right reason, every good one stays what it was."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.intake.parsing import money
from plms_pipeline.intake.reasons import Reason
from plms_pipeline_tests.intake.conftest import GOOD, LIMITS, NOW, checked


def refusal(**changes: str) -> tuple[str, Reason]:
    result = checked([GOOD | changes])
    assert result.receipts == []
    (row,) = result.rejected
    assert row.line == 2
    return row.column, row.reason


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("cost_usd", "-0.01", Reason.NEGATIVE),
        ("cost_usd", "-1e-12", Reason.NEGATIVE),
        ("cost_usd", "NaN", Reason.NOT_A_NUMBER),
        ("cost_usd", "inf", Reason.INFINITE),
        ("cost_usd", "-Infinity", Reason.INFINITE),
        ("cost_usd", "10000.0000001", Reason.ABOVE_LIMIT),
        ("cost_usd", "1e99999", Reason.ABOVE_LIMIT),
        ("cost_usd", "$1.20", Reason.WRONG_TYPE),
        ("cost_usd", "1,20", Reason.WRONG_TYPE),
        ("cost_usd", "1_000", Reason.WRONG_TYPE),
        ("cost_usd", "\u0661\u0662", Reason.WRONG_TYPE),
        ("cost_usd", "0." + "1" * 90, Reason.TOO_LONG),
        ("duration_ms", "-1", Reason.NEGATIVE),
        ("duration_ms", "nan", Reason.NOT_A_NUMBER),
        ("duration_ms", str(30 * 86_400_000 + 1), Reason.ABOVE_LIMIT),
        ("duration_ms", "1.5", Reason.WRONG_TYPE),
        ("duration_ms", "9" * 30, Reason.OVERFLOW),
        ("tokens", "1000000001", Reason.ABOVE_LIMIT),
        ("tokens", "-3", Reason.NEGATIVE),
        ("api_calls", "2147483648", Reason.OVERFLOW),
        ("test_pass_rate", "1.01", Reason.NOT_A_FRACTION),
        ("test_pass_rate", "-0.1", Reason.NEGATIVE),
        ("echo_cos", "-1.5", Reason.NOT_A_FRACTION),
        ("lane", "4299", Reason.UNKNOWN_LANE),
        ("lane", "", Reason.EMPTY),
        ("run_id", "", Reason.EMPTY),
        ("provider", "", Reason.EMPTY),
        ("provider", "m" * 256, Reason.TOO_LONG),
        ("provider", "m\x00", Reason.CONTROL_CHARACTER),
        ("provider", "m\x1b[31m", Reason.CONTROL_CHARACTER),
        ("provider", "m\udcff", Reason.NOT_UTF8),
        ("run_id", "r" * 65, Reason.TOO_LONG),
        ("status", "DONE", Reason.UNKNOWN_WORD),
        ("validation", "pending", Reason.UNKNOWN_WORD),
        ("run_kind", "dress rehearsal", Reason.UNKNOWN_WORD),
        ("attempt", "0", Reason.NOT_A_FRACTION),
        ("write_sandbox", "maybe", Reason.WRONG_TYPE),
        ("write_sandbox", "true", Reason.INCONSISTENT),
        ("completed_at", "2025-07-20T11:00:00Z", Reason.BEFORE_START),
        ("completed_at", "2026-03-01T12:00:01Z", Reason.IN_THE_FUTURE),
        ("completed_at", "2022-12-31T23:59:59Z", Reason.TOO_OLD),
        ("completed_at", "2025-07-20T12:00:00", Reason.NO_TIME_ZONE),
        ("completed_at", "2025-13-20T12:00:00Z", Reason.WRONG_TYPE),
        ("completed_at", "yesterday", Reason.WRONG_TYPE),
        ("started_at", "2025-01-01T00:00:00Z", Reason.ABOVE_LIMIT),
    ],
)
def test_a_bad_cell_is_refused_with_its_column_and_reason(column: str, cell: str, reason: Reason) -> None:
    """If this fails a wrong number enters an append-only book, or a user is told the wrong thing about their file."""
    assert refusal(**{column: cell}) == (column, reason)


def test_the_first_finding_in_column_order_is_the_reason() -> None:
    """A row has one reason: if two were counted, inserted + unchanged + quarantined would exceed the rows."""
    assert refusal(provider="", cost_usd="-1") == ("provider", Reason.EMPTY)


def test_unknown_measures_stay_unknown() -> None:
    """If this fails an unknown cost is learnt from as a free task."""
    (receipt,) = checked([GOOD | {"cost_usd": "", "duration_ms": "", "tokens": ""}]).receipts
    assert (receipt.cost_usd, receipt.duration_ms, receipt.tokens) == (None, None, None)


def test_a_duration_is_derived_only_when_its_column_is_absent() -> None:
    row = {name: cell for name, cell in GOOD.items() if name != "duration_ms"}
    (receipt,) = checked([row]).receipts
    assert receipt.duration_ms == 60_000


def test_an_unknown_start_is_the_end_less_the_duration() -> None:
    row = {name: cell for name, cell in GOOD.items() if name != "started_at"}
    (receipt,) = checked([row]).receipts
    assert receipt.completed_at - receipt.started_at == timedelta(minutes=1)


def test_numbers_as_data_frames_write_them_are_understood() -> None:
    """pandas writes an integer column with a gap as floats; refusing 3000.0 would refuse whole files."""
    (receipt,) = checked([GOOD | {"tokens": "3000.0", "duration_ms": "6e4", "attempt": "1.0"}]).receipts
    assert (receipt.tokens, receipt.duration_ms, receipt.attempt) == (3000, 60_000, 1)


def test_lanes_are_known_by_number_name_and_alias_in_any_case() -> None:
    assert [checked([GOOD | {"lane": lane}]).receipts[0].lane_id for lane in ("4202", "CODE-docs")] == [4202, 4202]


def test_inclusive_token_counts_are_split_into_exclusive_columns() -> None:
    """LiteLLM and OpenTelemetry count cached tokens into the input: adding them again would double them."""
    row = GOOD | {
        "tokens": "", "tokens_input_total": "100", "tokens_cached": "30", "tokens_output_total": "50",
        "tokens_reasoning": "20",
    }  # fmt: skip
    (receipt,) = checked([row]).receipts
    split = (receipt.tokens_input, receipt.tokens_cached, receipt.tokens_output, receipt.tokens_reasoning)
    assert (*split, receipt.tokens) == (70, 30, 30, 20, 150)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"tokens_input": "2000", "tokens_output": "2000"}, "tokens"),
        ({"tokens_input_total": "10", "tokens_cached": "11"}, "tokens_input_total"),
    ],
)
def test_token_parts_that_exceed_their_total_are_refused(changes: dict[str, str], column: str) -> None:
    assert refusal(**changes) == (column, Reason.INCONSISTENT)


def test_token_parts_may_not_exceed_the_limit_together() -> None:
    changes = {"tokens": "", "tokens_input": "600000000", "tokens_output": "600000000"}
    assert refusal(**changes) == ("tokens", Reason.ABOVE_LIMIT)


def test_the_present_moment_itself_is_not_the_future() -> None:
    (receipt,) = checked([GOOD | {"completed_at": NOW.isoformat(), "started_at": ""}]).receipts
    assert receipt.completed_at == NOW


def test_zones_are_turned_into_utc() -> None:
    row = GOOD | {"completed_at": "2025-07-20T01:00:00+02:00", "started_at": ""}
    (receipt,) = checked([row]).receipts
    assert receipt.completed_at.isoformat() == "2025-07-19T23:00:00+00:00"


@given(st.decimals(min_value=0, max_value=10_000, allow_nan=False, places=12))
def test_money_is_rounded_half_even_to_six_places(amount: Decimal) -> None:
    """If this fails cents drift between the source's books and ours. Oracle: exact integer arithmetic."""
    (rounded,) = money([f"{amount}"], limit=Decimal(10_000)).values
    scaled = int(amount * 10**12)
    quotient, rest = divmod(scaled, 10**6)
    half = 5 * 10**5
    expected = quotient + (rest > half or (rest == half and quotient % 2 == 1))
    assert rounded is not None
    assert int(rounded * 10**6) == expected
    assert rounded == amount.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)


def test_a_cost_that_rounds_to_zero_stays_a_fact() -> None:
    (receipt,) = checked([GOOD | {"cost_usd": "0.0000004"}]).receipts
    assert receipt.cost_usd == 0


def test_minus_zero_is_zero_also_for_the_digest() -> None:
    """If this fails a file written by another tool conflicts with itself."""
    first, second = (checked([GOOD | {"cost_usd": cell}]).receipts[0] for cell in ("0", "-0.0"))
    assert first == second


BAD_CELLS = {
    "cost_usd": st.one_of(
        st.floats(max_value=-1e-9, allow_infinity=False).map(repr),
        st.floats(min_value=10_000.01, allow_infinity=False).map(repr),
        st.sampled_from(["nan", "inf", "-inf", "abc", "1;2", "0x10", "1e", "--1", "1.2.3"]),
    ),
    "tokens": st.one_of(
        st.integers(max_value=-1).map(str), st.integers(min_value=LIMITS.max_tokens + 1).map(str),
        st.sampled_from(["1.5", "NaN", "ten"]),
    ),
    "duration_ms": st.one_of(st.integers(max_value=-1).map(str), st.integers(min_value=LIMITS.max_duration_ms + 1).map(str)),
    "lane": st.integers(min_value=0, max_value=4199).map(str),
    "completed_at": st.one_of(
        st.datetimes(min_value=NOW.replace(tzinfo=None) + timedelta(microseconds=1)).map(lambda t: t.isoformat() + "+00:00"),
        st.sampled_from(["", "2025-02-30", "20.07.2025", "1753000000"]),
    ),
    "provider": st.one_of(
        st.just(""), st.text("ab", min_size=256, max_size=300), st.text("\x00\x07\x7f\u2028", min_size=1, max_size=4)
    ),
}  # fmt: skip


@given(st.data())
def test_any_bad_cell_is_refused_and_names_itself(data: st.DataObject) -> None:
    """If this fails some bad value slips through: the registry's constraints would then stop a whole batch."""
    column = data.draw(st.sampled_from(sorted(BAD_CELLS)))
    cell = data.draw(BAD_CELLS[column])
    result = checked([GOOD, GOOD | {"run_id": "r2", column: cell}])
    assert [receipt.run_id for receipt in result.receipts] == ["r1"]
    (row,) = result.rejected
    assert (row.line, row.column, row.value) == (3, column, cell)


TEXT = st.text(max_size=40)


@given(
    st.lists(
        st.fixed_dictionaries({name: st.one_of(st.just(cell), TEXT) for name, cell in GOOD.items()}),
        min_size=1,
        max_size=8,
    )
)
def test_every_row_is_either_a_receipt_or_refused(rows: list[dict[str, str]]) -> None:
    """If this fails rows vanish without anybody being told."""
    result = checked(rows)
    lines = sorted([receipt.line for receipt in result.receipts] + [row.line for row in result.rejected])
    assert lines == list(range(2, len(rows) + 2))
