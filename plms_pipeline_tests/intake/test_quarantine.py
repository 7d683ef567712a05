"""The list of refused rows is safe to open and says the same every time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import Unavailable
from plms_pipeline.intake.files.quarantine import QuarantineFile, quarantine_path
from plms_pipeline.intake.quarantine import VALUE_CHARACTERS, safe, write_header, write_rows
from plms_pipeline.intake.reasons import Reason, Rejected, rejected


@given(st.text(max_size=300))
def test_no_cell_is_a_formula_or_breaks_its_line(cell: str) -> None:
    """If this fails, opening the quarantine in a spreadsheet runs what a stranger wrote into a model name."""
    shown = safe(cell)
    assert shown.isprintable()
    assert len(shown) <= 10 * VALUE_CHARACTERS + 40
    assert not shown.startswith(("=", "+", "@", "\t", "|", "%")) or shown.lstrip("+-").replace(".", "").isdigit()


@pytest.mark.parametrize("cell", ["=cmd|'/c calc'!A0", "@SUM(A1)", "-2+3+cmd", "+1+1", "\t=1"])
def test_a_formula_is_shown_as_text(cell: str) -> None:
    assert safe(cell).startswith(("'", "\\t"))


def test_a_negative_number_stays_readable() -> None:
    assert safe("-0.25") == "-0.25"


def test_a_long_value_is_cut_and_says_so() -> None:
    assert safe("a" * 500) == "a" * VALUE_CHARACTERS + "… (500 characters)"


def test_undecodable_bytes_are_spelt_out() -> None:
    assert safe("m\udcff\n") == "m\\udcff\\n"


def test_a_list_reads_back_as_csv() -> None:
    sink = io.StringIO()
    write_header(sink)
    write_rows(sink, "runs.csv", [rejected(7, "cost_usd", 'a,"b"', Reason.NEGATIVE)])
    (row,) = csv.DictReader(io.StringIO(sink.getvalue()))
    assert (row["file"], row["line"], row["column"], row["value"]) == ("runs.csv", "7", "cost_usd", 'a,"b"')
    assert (row["reason"], row["rule"]) == ("negative", "a measurement cannot be negative")


def test_a_list_appears_only_when_the_import_ends(tmp_path: Path) -> None:
    """If this fails a killed import leaves half a list that looks whole."""
    path = quarantine_path(tmp_path, "swebench", "ab" * 32)
    assert path == tmp_path / "quarantine" / "swebench-abababababab.csv"
    with QuarantineFile(path, "f") as quarantine:
        quarantine.add([rejected(2, "", "", Reason.EMPTY)])
        assert not path.exists()
    assert len(path.read_text().splitlines()) == 2
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def _add_and_die(quarantine: QuarantineFile, rows: Iterator[Rejected]) -> None:
    quarantine.add(rows)
    raise RuntimeError


def test_an_import_that_fails_leaves_the_old_list(tmp_path: Path) -> None:
    path = quarantine_path(tmp_path, "metr", "00" * 32)
    path.parent.mkdir()
    path.write_text("old")
    broken = iter([rejected(2, "", "", Reason.EMPTY)])
    with pytest.raises(RuntimeError), QuarantineFile(path, "f") as quarantine:
        _add_and_die(quarantine, broken)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_import_that_refuses_nothing_removes_the_list_and_makes_no_folder(tmp_path: Path) -> None:
    path = quarantine_path(tmp_path, "metr", "00" * 32)
    with QuarantineFile(path, "f"):
        pass
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("old")
    with QuarantineFile(path, "f"):
        pass
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_an_outage_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_text("a file stands where the folder should be")
    quarantine = QuarantineFile(quarantine_path(tmp_path, "metr", "00" * 32), "f")
    with pytest.raises(Unavailable, match="import the file again"):
        quarantine.add([rejected(2, "", "", Reason.EMPTY)])
