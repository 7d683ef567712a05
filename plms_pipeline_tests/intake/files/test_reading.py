"""CSV, Parquet and JSON lines become the same cells."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.files.inspecting import inspect
from plms_pipeline.intake.files.reading import columns_of, read
from plms_pipeline.intake.sources import SOURCES

SOURCE = SOURCES["receipts"]


def batches(path: Path, columns: tuple[str, ...], size: int = 10_000) -> list[dict[str, list[str]]]:
    inspected = inspect(path, SOURCE.required)
    return [{name: list(cells) for name, cells in b.columns.items()} for b in read(inspected, SOURCE, columns, size)]


def columns(path: Path) -> tuple[str, ...]:
    return columns_of(inspect(path, SOURCE.required), SOURCE)


def test_batches_hold_at_most_their_size_and_count_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a,b\n" + "".join(f"{i},x\n" for i in range(25)) + "broken\n")
    found = list(read(inspect(path, ()), SOURCE, ("a",), 10))
    assert [(batch.first, len(batch), len(batch.broken)) for batch in found] == [(0, 10, 0), (10, 10, 0), (20, 5, 1)]
    assert list(found[2].lines) == [22, 23, 24, 25, 26]
    assert (found[2].broken[0].line, found[2].broken[0].reason) == (27, "wrong_cell_count")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.csv", "a,b\n1," + "x" * (10 << 20) + "\n2,y\n"),
        ("f.jsonl", f'{{"a": "1", "b": "{"x" * (17 << 20)}"}}\n{{"a": "2"}}\n'),
    ],
    ids=["csv", "jsonl"],
)
def test_a_row_of_megabytes_is_refused_as_too_long(name: str, text: str, tmp_path: Path) -> None:
    """The quarantine said "the quotes of the row are not closed" of a row without a quote."""
    path = tmp_path / name
    path.write_text(text)
    (batch,) = read(inspect(path, ()), SOURCE, ("a",))
    (broken,) = batch.broken
    assert broken.reason == "too_long"
    assert "bytes" in broken.text
    assert len(broken.value) <= 200
    assert list(batch.columns["a"]) == ["2"]


def test_cells_are_stripped(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a , b\n x ,\ty \n")
    assert batches(path, ("a", "b")) == [{"a": ["x"], "b": ["y"]}]


def test_parquet_of_any_types_reads_as_its_csv_would(tmp_path: Path) -> None:
    """If this fails the same rows have other digests in another format, and importing both makes conflicts."""
    moment = datetime(2025, 7, 20, 12, tzinfo=UTC)
    table = pa.table(
        {
            "moment": pa.array([moment, None], pa.timestamp("ns", tz="UTC")),
            "day": pa.array([moment.date(), None], pa.date32()),
            "money": pa.array([Decimal("0.180000"), None], pa.decimal128(14, 6)),
            "float": pa.array([0.1, None], pa.float64()),
            "int": pa.array([3, None], pa.int64()),
            "flag": pa.array([True, None]),
            "text": pa.array([" m ", None]),
            "bytes": pa.array([b"\xff", None], pa.binary()),
            "coded": pa.array(["x", None]).dictionary_encode(),
        }
    )
    path = tmp_path / "f.parquet"
    pq.write_table(table, path)
    (found,) = batches(path, tuple(table.column_names))
    assert {name: cells[0] for name, cells in found.items()} == {
        "moment": "2025-07-20T12:00:00+00:00", "day": "2025-07-20", "money": "0.180000", "float": "0.1", "int": "3",
        "flag": "true", "text": "m", "bytes": "\udcff", "coded": "x",
    }  # fmt: skip
    assert {cells[1] for cells in found.values()} == {""}


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(b"PAR1 and then nothing of the kind")
    with pytest.raises(BadInput, match="damaged Parquet"):
        columns(path)
    pq.write_table(pa.table({"a": list(range(5000))}), path)
    data = bytearray(path.read_bytes())
    data[50:3000] = b"\x00" * 2950
    path.write_bytes(data)
    with pytest.raises(BadInput, match="damaged Parquet"):
        batches(path, ("a",))


def test_json_lines_read_as_cells(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    rows = [{"a": 1, "b": None, "c": True}, {"a": "x", "d": [1]}, {"a": 0.5}]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n[1, 2]\nnot json\n" + "[" * 100_000 + "\n")
    assert columns(path) == ("a", "b", "c", "d")
    inspected = inspect(path, ())
    (batch,) = read(inspected, SOURCE, ("a", "b", "c", "d"))
    assert batch.columns["a"] == ("1", "x", "0.5")
    assert (batch.columns["b"], batch.columns["c"]) == (("", "", ""), ("true", "", ""))
    assert batch.columns["d"] == ("", "[1]", "")
    assert [row.line for row in batch.broken] == [4, 5, 6]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("run_id;lane;provider", "separated by ';'"),
        ("run_id\tlane", r"separated by '\\t'"),
        ("run_id,run_id,lane", "twice"),
        ("run_id,\x01", "no readable header"),
        ("m\udcff,a", "no readable header"),
        ('"run_id', "no header row"),
    ],
)
def test_a_bad_header_is_refused_in_words(tmp_path: Path, header: str, words: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(header.encode("utf-8", "surrogateescape") + b"\n1,2\n")
    with pytest.raises(BadInput, match=words):
        columns(path)


def test_a_line_break_is_allowed_in_a_column_that_is_not_read(tmp_path: Path) -> None:
    """Logs carry prompts with line breaks; a key with one is an open quote, and the rows behind it are rows."""
    path = tmp_path / "f.csv"
    path.write_text('a,messages\n1,"line\nbreak"\n"2\n3",x\n4,y\n')
    (batch,) = read(inspect(path, ()), SOURCE, ("a",))
    assert list(batch.columns["a"]) == ["1", '3"', "4"]
    assert [(row.line, row.reason) for row in batch.broken] == [(4, "bad_quoting")]
