"""Receipts and logs, and reports that a child left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from plms_pipeline.kpis.files.outputs import MAX_LOG, read_report, write_logs, write_receipt


def test_a_receipt_is_replaced_atomically(tmp_path: Path) -> None:
    """No reader ever sees half of one, and nothing temporary stays."""
    path = tmp_path / "kpi_receipt.json"
    write_receipt(path, {"a": 1})
    write_receipt(path, {"a": "ü"})
    assert json.loads(path.read_text()) == {"a": "ü"}
    assert [each.name for each in tmp_path.iterdir()] == ["kpi_receipt.json"]


def test_nan_never_reaches_a_receipt(tmp_path: Path) -> None:
    """It is not JSON, and half of a file would be left."""
    with pytest.raises(ValueError):
        write_receipt(tmp_path / "r.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_logs_are_bounded_and_empty_ones_are_not_written(tmp_path: Path) -> None:
    """A test that prints for ever must not fill the disk."""
    paths = write_logs(tmp_path, {"a": "x" * (MAX_LOG + 5), "b": "", "c": "\ud800"})
    assert sorted(paths) == ["a", "c"]
    assert Path(paths["a"]).stat().st_size == MAX_LOG


def test_a_report_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    """The child could point it at a file of ours, or make us wait for ever."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_bytes(b"abcdef")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert [read_report(folder, name, 3) for name in ("link", "pipe", "folder", "missing")] == [None] * 4
        assert read_report(folder, "plain", 3) == b"abcd"
    finally:
        os.close(folder)
