"""Rows whose time of day is unknown stand in one order, whatever the order of the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.intake import rules
from plms_pipeline.intake.batch import Cells
from plms_pipeline.intake.ranks import RankBuilder, day_rows
from plms_pipeline.intake.reasons import Reason
from plms_pipeline_tests.intake.conftest import SWEBENCH, checked

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)
ROWS = st.lists(
    st.tuples(st.sampled_from(["2025-07-20", "2025-07-21", "2025-07-20T10:00:00Z", "2025-02-30", ""]), NAMES, NAMES),
    min_size=1, max_size=60,
)  # fmt: skip


def cells_of(rows: list[tuple[str, str, str]], first: int = 0) -> Cells:
    day, provider, task = (list(column) for column in zip(*rows, strict=True))
    fields = {"completed_at": day, "provider": provider, "task_id": task}
    return Cells(first, list(range(len(rows))), fields, {}, {})


def brute_force(rows: list[tuple[str, str, str]]) -> list[int]:
    usable = {row for row in rows if row[0] in {"2025-07-20", "2025-07-21"} and row[1] and row[2]}
    return [sum(other < row for other in usable if other[0] == row[0]) if row in usable else -1 for row in rows]


@given(ROWS, st.integers(1, 60))
def test_a_rank_is_the_number_of_distinct_keys_of_the_day_that_sort_before(
    rows: list[tuple[str, str, str]], size: int
) -> None:
    """If this fails the canonical order, and with it every forecast, depends on chance. Oracle: brute force in Python's
    code-point order; batches of any size give the same.
    """
    builder = RankBuilder(("provider", "task_id", "completed_at"))
    for first in range(0, len(rows), size):
        builder.add(cells_of(rows[first : first + size], first))
    assert builder.ranks().tolist() == brute_force(rows)


def test_only_whole_dates_are_days() -> None:
    rows = [("2025-07-20", "a", "b"), ("2025-07-20 ", "a", "b"), ("2025-7-20", "a", "b"), ("20250720", "a", "b")]
    assert day_rows(cells_of(rows)) == [0]


def row(instance: str, **changes: str) -> dict[str, str]:
    cells = ("2025-07-20", "m", "django", instance, "0.1", "1", "True")
    return dict(zip(SWEBENCH, cells, strict=True)) | changes


def test_a_broken_row_keeps_its_place_so_that_its_neighbours_keep_theirs() -> None:
    """If this fails, repairing one cost moves every other row of the day."""
    whole = checked([row("a"), row("b"), row("c")], "swebench").receipts
    broken = checked([row("a"), row("b", cost_usd="-1"), row("c")], "swebench").receipts
    assert [receipt.completed_at for receipt in broken] == [whole[0].completed_at, whole[2].completed_at]


def test_the_place_in_the_day_is_no_value_of_the_source() -> None:
    """If this fails, a later file with one more model turns every row of that day into a conflict."""
    alone = checked([row("b")], "swebench").receipts[0]
    together = checked([row("a"), row("b")], "swebench").receipts[1]
    assert alone.completed_at != together.completed_at
    assert alone.row_sha256 == together.row_sha256


def test_a_day_holds_no_more_rows_than_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails rows of one day are filed under the next."""
    monkeypatch.setattr(rules, "SECONDS_OF_A_DAY", 2)
    result = checked([row("a"), row("b"), row("c")], "swebench")
    assert len(result.receipts) == 2
    assert result.rejected[0].reason is Reason.TOO_MANY_IN_A_DAY
