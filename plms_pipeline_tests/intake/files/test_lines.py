"""Text is cut into records without trusting it: a broken row costs itself and nobody else."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.intake.files.lines import CELL_CHARACTERS, lines, records


def cut(text: str, *, spans: bool = False) -> list[tuple[int, list[str] | None]]:
    """The records of two cells; without `spans` none may go over several lines."""
    found = records(lines(io.BytesIO(text.encode())), lambda cells: spans and len(cells) == 2)
    return [(record.line, record.cells) for record in found]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=12))
def test_what_a_csv_writer_writes_is_read_back(rows: list[tuple[str, str]]) -> None:
    """Oracle: the writer of the standard library, with quotes and line breaks in cells."""
    sink = io.StringIO()
    csv.writer(sink).writerows(rows)
    assert [cells for _, cells in cut(sink.getvalue(), spans=True)] == [list(row) for row in rows]


def test_an_open_quote_costs_one_row() -> None:
    """If this fails one stray quote swallows the rest of a file, and nobody is told which rows went."""
    rows = "".join(f"a{i},b\n" for i in range(300))
    found = cut('x,"open\n' + rows + "last,row\n")
    assert found[0] == (1, None)
    assert [cells for _, cells in found[1:]] == [[f"a{i}", "b"] for i in range(300)] + [["last", "row"]]
    assert [line for line, _ in found] == list(range(1, 303))


def test_an_open_quote_that_another_quote_closes_swallows_no_row_between() -> None:
    found = cut('x,"open\na,b\ny,close"\nc,d\n')
    assert found == [(1, None), (2, ["a", "b"]), (3, ["y", 'close"']), (4, ["c", "d"])]


def test_an_open_quote_at_the_end_of_the_file_is_one_broken_row() -> None:
    assert cut('a,b\nx,"open') == [(1, ["a", "b"]), (2, None)]


def test_a_line_of_megabytes_is_one_broken_row_and_little_memory() -> None:
    """If this fails a hostile file of one line fills the memory of the importer."""
    text = "a,b\n" + "x" * (3 << 20) + "\nc,d\n"
    assert cut(text) == [(1, ["a", "b"]), (2, None), (3, ["c", "d"])]
    assert max(len(line.text) for line in lines(io.BytesIO(text.encode()))) <= 1 << 20


def test_a_cell_beyond_the_limit_is_one_broken_row() -> None:
    assert cut("a," + "x" * (CELL_CHARACTERS + 1) + "\nc,d\n") == [(1, None), (2, ["c", "d"])]


@pytest.mark.parametrize(
    ("row", "is_too_long"),
    [
        (b"a," + b"x" * (10 << 20), True),
        (b"a," + b"x" * (CELL_CHARACTERS + 1), True),
        (b'a,"' + b"x" * (CELL_CHARACTERS + 1) + b'"', True),
        (b'a,"open', False),
        (b'a,"b"c', False),
    ],
)
def test_a_row_that_is_too_long_is_told_from_one_whose_quotes_are_wrong(row: bytes, is_too_long: bool) -> None:
    """Whoever has a cell of ten megabytes looked for a quote that was never there."""
    first, last = records(lines(io.BytesIO(row + b"\nc,d\n")), lambda cells: len(cells) == 2)
    assert (first.cells, first.is_too_long) == (None, is_too_long)
    assert last.cells == ["c", "d"]


def test_bytes_that_are_no_utf8_reach_the_rules_as_surrogates() -> None:
    (record,) = records(lines(io.BytesIO(b"m\xff,1\n")))
    assert record.cells == ["m\udcff", "1"]


def test_blank_lines_and_a_byte_order_mark_are_no_rows() -> None:
    assert cut("\ufeffa,b\n\n\nc,d\r\n") == [(1, ["a", "b"]), (4, ["c", "d"])]
