"""Do prices land once, whole, and without hurting who reads or trains meanwhile?"""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, NoData, VerdictNo
from plms_pipeline.models.dataset import files
from plms_pipeline.models.dataset.actions import Imported, Source, import_prices, prepare
from plms_pipeline.models.market.bars import content_hash
from plms_pipeline.models.market.files.reading import read_prices

SAMPLE = Path(__file__).parents[3] / "data" / "samples" / "sp500_daily.csv.gz"
CLOCK = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
HEAD = "timestamp,symbol,open,high,low,close,volume\n"


def row(day: int, close: float = 10.0, symbol: str = "AAA") -> str:
    return f"2026-02-{day:02},{symbol},{close},{close + 1},{close - 1},{close},100\n"


def brought(root: Path, text: str | Path, **more: bool) -> Imported:
    path = text
    if isinstance(text, str):
        path = root.parent / "prices.csv"
        path.write_text(text)
    return import_prices(prepare(Source(Path(path)), clock=CLOCK), root=root, clock=CLOCK, **more)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_shipped_index_lands_once(root: Path) -> None:
    """Importing again after a crash must not look like new data."""
    first, again = brought(root, SAMPLE), brought(root, SAMPLE)
    assert (first.changed, first.merged.added, again.changed, again.merged.unchanged) == (True, 5_031, False, 5_031)
    assert files.current_digest(root) == first.digest == again.digest
    assert len(list((root / "market_dataset" / "imports").iterdir())) == 1
    bars, digest = files.current_bars(root)
    assert content_hash(bars) == digest == files.current_path(root).stem


def test_a_training_reads_from_the_snapshot_the_very_bars(root: Path) -> None:
    """`plms retrain` without a file takes this path: other bars would be trained on than the digest says."""
    from plms_pipeline.models.market.checks import examine

    digest = brought(root, SAMPLE).digest
    assert content_hash(examine(read_prices(files.current_path(root))).bars) == digest


def test_corrected_rows_replace_and_are_recorded(root: Path) -> None:
    """A silent correction moves the Sharpe ratio of a champion that nobody touched."""
    brought(root, HEAD + row(2) + row(3))
    done = brought(root, HEAD + row(3, 11.0) + row(4))
    assert (done.merged.added, done.merged.unchanged, done.merged.revised.count) == (1, 0, 1)
    bars, _ = files.current_bars(root)
    assert bars.close.tolist() == [10.0, 11.0, 10.0]
    (record,) = (root / "market_dataset" / "revisions").iterdir()
    header, line = record.read_text().splitlines()
    assert dict(zip(header.replace('"', "").split(","), line.split(","), strict=True))["close_before"] == "10"


def test_impossible_rows_are_put_aside_with_their_reason(root: Path) -> None:
    """One broken line must not refuse twenty years, nor vanish."""
    done = brought(root, HEAD + row(2) + "2026-02-03,AAA,10,9,11,10,100\n" + "2026-09-03,AAA,10,11,9,10,100\n")
    assert (done.rejected, done.merged.added) == (2, 1)
    assert done.quarantine is not None
    told = done.quarantine.read_text()
    assert "high_below_low" in told
    assert "future_timestamp" in told


def test_strict_refuses_and_leaves_everything_as_it_was(root: Path) -> None:
    """A half-taken file is worse than none."""
    before = brought(root, HEAD + row(2)).digest
    with pytest.raises(VerdictNo, match="high_below_low"):
        brought(root, HEAD + row(3) + "2026-02-04,AAA,10,9,11,10,100\n", strict=True)
    assert files.current_digest(root) == before
    assert not (root / "quarantine").exists()


def test_a_file_that_does_not_fit_to_what_is_known_is_seen_at_the_seam(root: Path) -> None:
    """Prices before a split and after it are both possible; together they are a loss of four fifths."""
    brought(root, HEAD + "".join(row(day, 100.0 + day % 3) for day in range(1, 15)))
    done = brought(root, HEAD + "".join(row(day, 20.0 + day % 3 / 5) for day in range(15, 28)))
    assert "suspicious_splits" in {one.name for one in done.findings}, [one.name for one in done.findings]


def test_a_dry_run_says_it_and_writes_nothing(root: Path) -> None:
    """What would happen is asked before twenty years are replaced."""
    done = brought(root, HEAD + row(2), dry_run=True)
    assert (done.changed, done.merged.added) == (True, 1)
    assert not root.exists()


def test_replacing_makes_the_file_the_whole_dataset(root: Path) -> None:
    """Otherwise a symbol that was imported by mistake could never leave."""
    brought(root, HEAD + row(2, symbol="WRONG"))
    assert brought(root, HEAD + row(2), replace=True).merged.bars.symbols == ("AAA",)


def test_the_sources_own_database_is_read(root: Path, tmp_path: Path) -> None:
    """The guide's data/market.db: a symbol that `assets` does not know is told."""
    with closing(sqlite3.connect(tmp_path / "market.db")) as connection:
        connection.executescript(
            "CREATE TABLE assets (asset_id INTEGER, symbol TEXT); INSERT INTO assets VALUES (1, 'AAA');"
            "CREATE TABLE series (timestamp TEXT, symbol TEXT, open REAL, high REAL, low REAL, close REAL, volume REAL);"
            "INSERT INTO series VALUES ('2026-02-02', 'AAA', 10, 11, 9, 10, 5), ('2026-02-02', 'BBB', 10, 11, 9, 10, 5);"
        )
    done = brought(root, tmp_path / "market.db")
    assert done.merged.bars.symbols == ("AAA", "BBB")
    assert [one.offenders for one in done.findings if one.name == "unknown_assets"] == [("BBB",)]


def test_nothing_imported_is_told_with_what_to_do(root: Path) -> None:
    """A training on nothing would fail far from its cause."""
    assert files.current_digest(root) is None
    with pytest.raises(NoData, match="plms import prices"):
        files.current_bars(root)


def test_a_damaged_pointer_is_no_empty_dataset(root: Path) -> None:
    """Taken for empty, the next import would forget twenty years."""
    brought(root, HEAD + row(2))
    (root / "market_dataset" / "current.json").write_text('{"content_hash": "../../etc/passwd"}')
    with pytest.raises(BadInput, match="damaged"):
        files.current_bars(root)
    with pytest.raises(BadInput, match="damaged"):
        brought(root, HEAD + row(3))


def test_what_a_training_began_with_stays_while_imports_land(root: Path) -> None:
    """Bytes written during a run were absorbed by it: never trained on, and never noticed."""
    brought(root, HEAD + row(2))
    began, path = files.current_digest(root), files.current_path(root)
    brought(root, HEAD + row(3))
    assert path.is_file()
    assert began == path.stem != files.current_digest(root)


def test_imports_at_the_same_time_lose_nothing(root: Path, tmp_path: Path) -> None:
    """Two that read the same dataset and wrote one after the other kept the rows of the second alone."""
    prepared = []
    for day in range(1, 9):
        path = tmp_path / f"{day}.csv"
        path.write_text(HEAD + row(day))
        prepared.append(prepare(Source(path), clock=CLOCK))
    threads = [
        threading.Thread(target=import_prices, args=(one,), kwargs={"root": root, "clock": CLOCK}) for one in prepared
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    bars, _ = files.current_bars(root)
    assert np.unique(bars.timestamp).size == 8


def test_a_killed_import_leaves_the_old_dataset(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the snapshot and the pointer nothing may be half true."""
    before = brought(root, HEAD + row(2)).digest

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "replacing", killed)
    with pytest.raises(KeyboardInterrupt):
        brought(root, HEAD + row(3))
    monkeypatch.undo()
    assert files.current_bars(root)[1] == before
    assert brought(root, HEAD + row(3)).merged.bars.count == 2


def test_the_command_tells_it_to_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Receipts and prices are brought in by one command."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "a.csv").write_text(HEAD + row(2))
    assert main(["import", "prices", str(tmp_path / "a.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"][0]["added"] == 1
    assert told["content_hash"] == files.current_digest(tmp_path / "data")
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    assert main(["import", "prices", str(tmp_path / "b.csv"), "--json"]) == 2
    assert main(["import", "columns", "--json"]) == 0
