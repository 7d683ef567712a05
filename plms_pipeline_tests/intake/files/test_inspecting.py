"""What is not a table is refused before anything is written, with the thing, the rule and the remedy."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import zlib
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.files.inspecting import inspect, unchanged

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 64
EXPECTED = ("run_id", "lane")


def refused(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        inspect(path, EXPECTED)
    assert str(path) in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "empty_file", "is empty"),
        (PNG, "not_a_table", "a PNG image"),
        (b"PK\x03\x04" + b"x" * 50, "not_a_table", "spreadsheet"),
        ("run_id,lane\n".encode("utf-16"), "not_a_table", "UTF-16"),
        (b"run_id\x00,lane\n", "not_a_table", "binary data"),
        (gzip.compress(b"", mtime=0), "empty_file", "unpacks to nothing"),
        (gzip.compress(PNG, mtime=0), "not_a_table", "a PNG image"),
        (gzip.compress(random.Random(0).randbytes(100_000), mtime=0)[:-5000], "damaged_gzip", "truncated or damaged"),
        (
            gzip.compress(b"run_id,lane\n" * 1000, mtime=0)[:-4] + b"\x00\x00\x00\x00",
            "damaged_gzip",
            "truncated or damaged",
        ),
        (b"\x1f\x8b\x08\x00garbage that is no gzip at all", "damaged_gzip", "truncated or damaged"),
        (gzip.compress(b"PAR1" + b"x" * 50, mtime=0), "bad_input", "unpack it first"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, code: str, words: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == code
    assert words in error.message
    if code in {"empty_file", "not_a_table"}:
        assert "run_id, lane" in error.message


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere.csv").code == "file_missing"
    assert refused(tmp_path).code == "not_a_file"


def test_a_device_is_refused() -> None:
    """If this fails `plms import receipts /dev/zero` runs for ever."""
    assert refused(Path("/dev/null")).code == "not_a_file"


def test_an_exploding_archive_is_refused_early(tmp_path: Path) -> None:
    """If this fails a file of a few kilobytes keeps a machine busy for hours."""
    path = tmp_path / "bomb.csv.gz"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = b"\x00" * (1 << 20)
    path.write_bytes(b"".join(packer.compress(chunk) for _ in range(200)) + packer.flush())
    assert refused(path).code == "gzip_bomb"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_table_is_known_by_the_bytes_on_disk(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "runs.csv"
    data = pack(b"run_id,lane\nr,1\n")  # type: ignore[operator]
    path.write_bytes(data)
    read: list[int] = []
    inspected = inspect(path, EXPECTED, progress=read.append)
    assert inspected.sha256 == hashlib.sha256(data).hexdigest()
    assert (inspected.kind, inspected.lines, sum(read)) == ("csv", 2, len(data))
    assert unchanged(inspected)


def test_a_file_that_grows_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(b"a,b\n")
    inspected = inspect(path, EXPECTED)
    path.write_bytes(b"a,b\n1,2\n")
    assert not unchanged(inspected)
    path.unlink()
    assert not unchanged(inspected)


def test_json_lines_are_known_by_their_first_sign(tmp_path: Path) -> None:
    path = tmp_path / "spans.txt"
    path.write_bytes(b'\xef\xbb\xbf {"a": 1}\n')
    assert inspect(path, EXPECTED).kind == "jsonl"


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    """If this fails `plms import receipts PIPE` hangs before it says a word."""
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe").code == "not_a_file"


def test_a_file_name_that_is_no_text_still_has_a_name(tmp_path: Path) -> None:
    """The name goes into the audit log, and PostgreSQL refuses text that is not UTF-8, after the rows have landed."""
    path = tmp_path / "runs\udcff.csv"
    path.write_bytes(b"a,b\n")
    assert inspect(path, EXPECTED).thing == "runs?.csv"
