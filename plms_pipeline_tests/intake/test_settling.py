"""New, unchanged or conflict: each valid row is exactly one of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.reasons import Reason
from plms_pipeline.intake.seen import Seen
from plms_pipeline.intake.settling import KnownRow, RunFacts, conflict, facts_of, last_attempts, settle, spans
from plms_pipeline_tests.intake.conftest import GOOD, checked


def receipts(*changes: dict[str, str]) -> list[Receipt]:
    names = {name: GOOD.get(name, "") for change in changes for name in (*GOOD, *change)}
    rows = [names | GOOD | change for change in changes]
    return checked(rows).receipts


def test_the_first_of_equal_rows_is_new_and_the_others_unchanged() -> None:
    first, second = receipts({}, {})
    settled = settle("receipts", [first, second], {}, {})
    assert (settled.fresh, settled.unchanged, settled.conflicts) == ([first], 1, [])


def test_an_earlier_line_with_other_values_is_named() -> None:
    """If this fails the user is told that something conflicts, but not with what."""
    settled = settle("receipts", receipts({}, {"cost_usd": "9"}), {}, {})
    (row,) = settled.conflicts
    assert (row.line, row.column, row.value, row.reason) == (3, "cost_usd", "9.000000", Reason.CONFLICT)
    assert "line 2 of this file says '0.180000'" in row.text


def test_a_known_row_is_compared_by_its_digest() -> None:
    (receipt,) = receipts({})
    known = {receipt.run_id: facts_of("receipts", receipt)}
    same = settle("receipts", [receipt], known, {receipt.key: KnownRow(receipt.row_sha256, 4200)})
    other = settle("receipts", [receipt], known, {receipt.key: KnownRow("0" * 64, 4200)})
    assert (same.unchanged, other.clashes) == (1, [receipt])


def test_a_run_of_another_source_cannot_be_added_to() -> None:
    """If this fails an import forges receipts onto a run that our own executor made."""
    known = {"r1": RunFacts("plms", "m1", "baseline", "passed", write_sandbox=False)}
    (row,) = settle("receipts", receipts({}), known, {}).conflicts
    assert (row.column, row.reason) == ("run_id", Reason.CONFLICT)
    assert "'plms'" in row.text


def test_rows_of_one_run_agree_about_its_verdict() -> None:
    settled = settle(
        "receipts", receipts({"task_id": "a", "validation": "passed"}, {"task_id": "b", "validation": "failed"}), {}, {}
    )
    assert len(settled.fresh) == 1
    assert settled.conflicts[0].column == "validation"


def test_a_conflict_without_a_visible_difference_is_still_one() -> None:
    (receipt,) = receipts({})
    row = conflict(receipt, receipt._asdict(), "the registry")
    assert row.reason is Reason.CONFLICT


def test_the_last_attempt_decides_and_spans_cover_all() -> None:
    rows = receipts({"attempt": "2", "completed_at": "2025-07-20T14:00:00Z"}, {"attempt": "1", "status": "FAIL"})
    assert last_attempts(rows)["r1", "r1"].status == "SUCCESS"
    span = spans(rows, "run_id")["r1"]
    assert (span.started_at.hour, span.completed_at.hour) == (11, 14)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30), st.integers(1, 7))
def test_a_dry_run_over_batches_counts_as_one_batch_does(pairs: list[tuple[int, int]], size: int) -> None:
    """If this fails a dry run promises another result than the import then has."""
    rows = [GOOD | {"run_id": f"r{run}", "cost_usd": str(cost)} for run, cost in pairs]
    valid = checked(rows).receipts
    whole = settle("receipts", valid, {}, {})
    seen, fresh, unchanged, conflicts = Seen(), 0, 0, 0
    for i in range(0, len(valid), size):
        repeats = seen.split(valid[i : i + size])
        settled = settle("receipts", repeats.fresh, {}, {})
        seen.remember(settled.fresh)
        fresh += len(settled.fresh)
        unchanged += repeats.unchanged + settled.unchanged
        conflicts += len(repeats.conflicts) + len(settled.conflicts)
    assert (fresh, unchanged, conflicts) == (len(whole.fresh), whole.unchanged, len(whole.conflicts))


def test_attempts_at_one_task_stay_in_its_lane() -> None:
    """If this fails a receipt stands in another lane than its task, and the nightly proof of the books fails."""
    rows = receipts({"attempt": "1"}, {"attempt": "2", "lane": "4201"}, {"attempt": "3"})
    settled = settle("receipts", rows, {}, {})
    assert [receipt.attempt for receipt in settled.fresh] == [1, 3]
    assert (settled.conflicts[0].column, settled.conflicts[0].value) == ("lane", "4201")
    known = {rows[0].run_id: facts_of("receipts", rows[0])}
    later = settle("receipts", rows[1:2], known, {rows[0].key: KnownRow("0" * 64, 4200)})
    assert later.conflicts[0].column == "lane"
