from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plms_pipeline.errors import BadInput, NoData, NotFound
from plms_pipeline.models.market.bars import content_hash, to_frame
from plms_pipeline.models.market.checks import examine
from plms_pipeline.models.market.files.keeping import read_bars, snapshot, write_bars, write_prices, write_rejected
from plms_pipeline.models.market.files.reading import read_prices
from plms_pipeline_tests.models.worlds import small_bars

SAMPLE = Path(__file__).resolve().parents[3] / "data" / "samples" / "sp500_daily.csv.gz"
HEADER = "Date,Ticker,Open,High,Low,Close,Volume\n"
ROW = "2024-01-02,A,1.0,2.0,0.5,1.5,100\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_index_is_read_whole() -> None:
    """The demonstration begins with this file."""
    bars = examine(read_prices(SAMPLE)).bars
    assert bars.count == 5031
    assert bars.symbols == ("SP500",)
    assert str(bars.timestamp[0])[:10] == "1999-01-04"
    assert bars.close[0] == 1228.099976


def test_the_same_bars_hash_alike_from_every_format_and_order(tmp_path: Path) -> None:
    """A file that was copied, sorted, zipped or touched holds no new data and must not start a retraining."""
    bars = small_bars(2, 120)
    frame = to_frame(bars).drop(columns="alt")
    plain = tmp_path / "a.csv"
    frame.sample(frac=1.0, random_state=1).to_csv(plain, index=False)
    zipped = tmp_path / "b.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    os.utime(zipped, (1, 1))
    table = tmp_path / "c.parquet"
    frame.to_parquet(table)
    hashes = {content_hash(examine(read_prices(path)).bars) for path in (plain, zipped, table)}
    assert len(hashes) == 1


def test_one_broken_cell_costs_one_row(tmp_path: Path) -> None:
    """Twenty years of prices must not be refused for one dash."""
    rows = ROW + "2024-01-03,A,1.0,2.0,0.5,oops,100\nnever,A,1,2,0.5,1,1\n2024-01-04,A,,2.0,0.5,1.5,100\n"
    found = examine(read_prices(write(tmp_path / "x.csv", HEADER + rows)))
    assert found.bars.count == 1
    assert found.rejected.rows.line.tolist() == [2, 3, 4]


def test_columns_are_found_by_their_names_in_any_order(tmp_path: Path) -> None:
    """Every vendor writes them otherwise."""
    text = "Volume,close/last,LOW,High,open,time,symbol\n7,1.5,0.5,2,1,2024-01-02T16:00:00-05:00,A\n"
    bars = examine(read_prices(write(tmp_path / "x.csv", text))).bars
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]) == (1.0, 2.0, 0.5, 1.5, 7.0)
    assert str(bars.timestamp[0]) == "2024-01-02T21:00:00.000000"


def test_a_file_without_symbols_takes_the_given_one_or_its_name(tmp_path: Path) -> None:
    """One file per symbol is how most people keep their prices."""
    path = write(tmp_path / "spy_daily.csv", "date,open,high,low,close\n2024-01-02,1,2,0.5,1.5\n")
    assert read_prices(path).symbol.tolist() == ["SPY"]
    assert read_prices(path, symbol="X").symbol.tolist() == ["X"]


def test_adjusted_prices_scale_all_four(tmp_path: Path) -> None:
    """Only adjusting the close would put it outside its own high and low."""
    text = "date,open,high,low,close,adj close,volume\n2024-01-02,10,20,5,16,8,100\n"
    bars = examine(read_prices(write(tmp_path / "a.csv", text), adjusted=True)).bars
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]) == (5.0, 10.0, 2.5, 8.0, 100.0)
    with pytest.raises(BadInput, match="no adjusted close"):
        read_prices(write(tmp_path / "b.csv", HEADER + ROW), adjusted=True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"Date,Open,High,Low\n2024-01-02,1,2,1\n", "no column for close"),
        (b"Date,Open,High,Low,Close,Last\n2024-01-02,1,2,1,1,1\n", "two columns for close"),
        (HEADER.encode() + b"2024-01-02,A,1\n", "no CSV of prices"),
        (HEADER.encode() + b"02.01.2024,A,1,2,1,1,1\n", "no readable timestamp"),
        (b'{"date": "2024-01-02", "open": 1}\n', "JSON lines"),
        ((HEADER + ROW).replace(",", ";").encode(), "separated by ';'"),
        ((HEADER + ROW).replace("\n", "\r").encode(), "carriage return"),
        (HEADER.encode() + b"2024-01-02,\xe9,1,2,1,1,1\n", "invalid UTF8"),
        (b"PAR1 and nothing else", "damaged Parquet"),
        (b"\x89PNG\r\n\x1a\n", "PNG image"),
        (gzip.compress(HEADER.encode() * 99, mtime=0)[:-20], "truncated"),
    ],
)
def test_what_is_no_file_of_prices_is_refused_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    """A traceback of a parser is no answer to somebody who gave the wrong file."""
    path = tmp_path / "prices.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=told):
        read_prices(path)


def test_a_header_alone_is_no_data(tmp_path: Path) -> None:
    """It was told to be an empty file with a wrong line in it."""
    path = tmp_path / "prices.csv"
    path.write_text("timestamp,open,high,low,close\n")
    with pytest.raises(NoData, match=r"prices\.csv has a first line and no row under it"):
        read_prices(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A typing error in a path is the commonest of all."""
    with pytest.raises(BadInput, match="does not exist"):
        read_prices(tmp_path / "nothing.csv")


def test_numbers_in_place_of_timestamps_are_refused(tmp_path: Path) -> None:
    """Seconds taken for microseconds put every bar into January 1970."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({name: [1] for name in ("timestamp", "open", "high", "low", "close")}), path)
    with pytest.raises(BadInput, match="timestamps of type int64"):
        read_prices(path)


@pytest.mark.parametrize("symbol", [pa.array([{"a": 1}]), pa.array([b"\xff"])])
def test_symbols_that_are_no_text_are_refused(tmp_path: Path, symbol: pa.Array) -> None:
    """A nested column of somebody's export must not end in a traceback of Arrow."""
    path = tmp_path / "x.parquet"
    table = {name: pa.array([1.0]) for name in ("open", "high", "low", "close")}
    pq.write_table(pa.table({"date": pa.array(["2024-01-02"]), "symbol": symbol, **table}), path)
    with pytest.raises(BadInput, match="no text"):
        read_prices(path)


def test_bars_are_kept_and_come_back_as_they_were(tmp_path: Path) -> None:
    """The snapshot is what a candidate was trained on, for ever."""
    path, bars = tmp_path / "bars.parquet", small_bars()
    digest = write_bars(path, bars)
    again = read_bars(path)
    assert digest == content_hash(again) == content_hash(bars)
    assert list(again.extras) == ["alt"]
    first = path.read_bytes()
    write_bars(path, bars)
    assert path.read_bytes() == first


def test_kept_bars_that_were_changed_are_refused(tmp_path: Path) -> None:
    """One changed price under an old hash would break the bond between a decision and its data."""
    path = tmp_path / "bars.parquet"
    write_bars(path, small_bars())
    table = pq.read_table(path)
    close = table.column("close").to_numpy().copy()
    close[7] *= 1.0000001
    place = table.column_names.index("close")
    pq.write_table(table.set_column(place, "close", pa.array(close)), path)
    with pytest.raises(BadInput, match="changed after it was written"):
        read_bars(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match="damaged"):
        read_bars(path)
    with pytest.raises(NotFound, match="plms retrain"):
        read_bars(tmp_path / "none.parquet")


def test_unknown_volume_is_zero_only_when_there_is_no_such_column(tmp_path: Path) -> None:
    """An index has no volume; a missing cell is a missing fact."""
    path = write(tmp_path / "x.csv", "date,open,high,low,close\n2024-01-02,1,2,0.5,1.5\n")
    assert np.array_equal(read_prices(path).numbers["volume"], [0.0])


def test_a_snapshot_lies_under_its_content_once(tmp_path: Path) -> None:
    """A training on the same data must not fill the disk, and a damaged snapshot must not stay one."""
    bars = small_bars()
    path, digest = snapshot(tmp_path, bars)
    assert path.name == f"{digest}.parquet"
    before = path.stat().st_ino
    assert snapshot(tmp_path, bars) == (path, digest)
    assert path.stat().st_ino == before
    path.write_bytes(b"PAR1 damaged")
    snapshot(tmp_path, bars)
    assert content_hash(read_bars(path)) == digest


def test_a_generated_market_can_be_written_and_imported(tmp_path: Path) -> None:
    """The demonstration imports a file as a user would."""
    path = tmp_path / "market.csv.gz"
    write_prices(path, small_bars(2, 120).raw())
    bars = examine(read_prices(path)).bars
    assert np.array_equal(bars.close, small_bars(2, 120).close)
    assert np.array_equal(bars.extras["alt"], small_bars(2, 120).extras["alt"])


def test_rejected_rows_are_kept_with_their_reason(tmp_path: Path) -> None:
    """Whoever corrects a source needs the rows; a spreadsheet that runs them as formulas is not what they need."""
    text = HEADER + ROW + "2024-01-03,=cmd(),1.0,2.0,0.5,oops,100\n"
    found = examine(read_prices(write(tmp_path / "x.csv", text)))
    write_rejected(tmp_path / "out.csv", found.rejected)
    line = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert line.startswith('2,"unreadable_values",2024-01-03 00:00:00.000000,"\'=cmd()",1,2,0.5,')
