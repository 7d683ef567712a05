from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import content_hash, to_frame
from plms_pipeline.models.market.checks import examine
from plms_pipeline.models.market.files.reading import read_prices
from plms_pipeline.models.market.store import row_counts, unknown_symbols
from plms_pipeline_tests.models.worlds import small_bars


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the source's own builder leaves it."""
    path = tmp_path_factory.mktemp("market") / "market.db"
    frame = to_frame(small_bars(2, 120))
    times = frame["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")
    rows = frame.assign(timestamp=times)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE assets (asset_id INTEGER, symbol TEXT, sector TEXT)")
        connection.execute("INSERT INTO assets VALUES (1, 'SIM000', 'simulated')")
        connection.execute(
            "CREATE TABLE series (timestamp DATETIME, symbol TEXT, open REAL, high REAL, low REAL, close REAL, volume REAL)"
        )
        columns = ["timestamp", "symbol", "open", "high", "low", "close", "volume"]
        connection.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?)", rows[columns].to_numpy().tolist())
        connection.execute("CREATE TABLE indicators (timestamp DATETIME, symbol TEXT, name TEXT, value REAL)")
        alt = [[time, symbol, "alt", value] for time, symbol, value in rows[["timestamp", "symbol", "alt"]].to_numpy()]
        connection.executemany("INSERT INTO indicators VALUES (?, ?, replace(?, 'alt', 'alt_signal_1'), ?)", alt)
        connection.execute("INSERT INTO indicators VALUES ('2000-01-03 00:00:00', 'SIM000', 'ma_24', 1.0)")
    return path


def test_the_database_of_the_source_is_read_with_its_signals(database: Path) -> None:
    """Users of the playbook have this file and nothing else."""
    bars = examine(read_prices(database)).bars
    assert bars.symbols == ("SIM000", "SIM001")
    assert np.array_equal(bars.close, small_bars(2, 120).close)
    assert list(bars.extras) == ["alt_signal_1"]
    assert np.array_equal(bars.extras["alt_signal_1"], small_bars(2, 120).extras["alt"])


def test_reading_the_database_changes_not_a_byte(database: Path) -> None:
    """It may belong to a running system of somebody else."""
    before = database.read_bytes()
    hashes = {content_hash(examine(read_prices(database)).bars) for _ in range(2)}
    assert len(hashes) == 1
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == ["market.db"]


def test_its_tables_are_counted_and_its_orphans_named(database: Path) -> None:
    """The dataset stage reports both."""
    assert row_counts(str(database)) == {"assets": 1, "series": 240, "indicators": 241}
    assert unknown_symbols(str(database)) == ("SIM001",)


def test_another_database_is_refused(tmp_path: Path) -> None:
    """`no such table: series` alone does not say which file was meant."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    with pytest.raises(BadInput, match="table series"):
        read_prices(path)
    path.write_bytes(b"SQLite format 3\x00 and nonsense")
    with pytest.raises(BadInput, match="cannot be read as a database"):
        read_prices(path)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """SQLite creates what it cannot find, and a typing error becomes an empty market."""
    with pytest.raises(BadInput, match="cannot be read"):
        row_counts(str(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []
