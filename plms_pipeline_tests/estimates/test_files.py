from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.estimates.files import MAX_PLAN_BYTES, NEWEST_BACKTEST, last_backtest, read_plan


def test_a_plan_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    """A wrong path, a picture and a disk image are the everyday mistakes."""
    with pytest.raises(BadInput, match="cannot be read"):
        read_plan(tmp_path / "none.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        read_plan(tmp_path)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(BadInput, match="is no text"):
        read_plan(picture)
    large = tmp_path / "large.csv"
    with large.open("wb") as stream:
        stream.truncate(MAX_PLAN_BYTES + 1)
    with pytest.raises(BadInput, match="16 MiB"):
        read_plan(large)


def test_a_spreadsheets_byte_order_mark_is_no_column(tmp_path: Path) -> None:
    """Plans are written in spreadsheets."""
    path = tmp_path / "plan.csv"
    path.write_bytes("\ufefflane,provider\n".encode())
    assert read_plan(path).startswith("lane")


@pytest.mark.parametrize("text", [None, "", "[1]", "{broken"])
def test_without_a_readable_night_there_is_no_coverage(tmp_path: Path, text: str | None) -> None:
    """A forecast must not fail because the night did."""
    if text is not None:
        (tmp_path / "documents").mkdir()
        (tmp_path / "documents" / NEWEST_BACKTEST).write_text(text)
    assert last_backtest(tmp_path) == {}
