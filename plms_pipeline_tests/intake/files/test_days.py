"""A partition key becomes a path only when it is a day, and a file appears whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.intake.files.days import DayFiles, day_of_key, parquet_bytes


@pytest.mark.parametrize(
    "key",
    ["../../../evil", "/etc/passwd", "2025-07-20/../../x", "2025-7-20", "2025-02-30", "", "2025-07-20\n", "٢٠٢٥-٠٧-٢٠"],
)
def test_a_key_that_is_no_day_is_refused(key: str) -> None:
    """If this fails a partition key from outside writes wherever it likes (seen with Dagster's own manager)."""
    with pytest.raises(BadInput, match="no partition of receipts"):
        day_of_key(key)


@given(st.dates())
def test_a_day_and_its_key_are_one(day: date) -> None:
    assert day_of_key(day.isoformat()) == day


def test_a_missing_and_a_damaged_file_say_what_to_do(tmp_path: Path) -> None:
    files = DayFiles(tmp_path)
    day = date(2025, 7, 20)
    with pytest.raises(NoData, match="materialize that partition"):
        files.read(day)
    assert files.rows_sha256(day) is None
    files.write(day, b"not parquet")
    with pytest.raises(NoData, match="damaged"):
        files.read(day)
    assert files.rows_sha256(day) is None


def test_bytes_that_lie_there_already_are_not_written(tmp_path: Path) -> None:
    files, day = DayFiles(tmp_path), date(2025, 7, 20)
    data = parquet_bytes(pa.table({"a": [1]}))
    assert files.write(day, data)
    inode = files.path(day).stat().st_ino
    assert not files.write(day, data)
    assert files.path(day).stat().st_ino == inode


def test_a_folder_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "receipts").write_text("a file stands where the folder should be")
    with pytest.raises(Unavailable, match="cannot be written"):
        DayFiles(tmp_path).write(date(2025, 7, 20), b"x")
