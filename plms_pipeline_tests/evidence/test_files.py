"""Is what was spooled on the disk, whole, and replayed once?"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from plms_pipeline.evidence.files import SpoolFile, drop_spool, read_spool, set_aside, take_spools
from plms_pipeline.evidence.spool import line_of, read_lines

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(number: int) -> dict[str, object]:
    return {"obligation_id": f"o-{number}", "at": AT, "reason": "timeout", "debug_json": {"error": "a\nb"}}


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    """A moment that comes back as text would be refused by the registry, and the row lost."""
    spool = SpoolFile(tmp_path / "spool", "here-1")
    spool.append([line_of("observation", row(1)), line_of("obligation", row(2))])
    [taken] = take_spools(tmp_path / "spool", "me")
    found = read_lines(read_spool(taken))
    assert (found.observations, found.obligations, found.broken) == ((row(1),), (row(2),), 0)


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves half a line; the next one must not be glued to it."""
    spool = SpoolFile(tmp_path, "here-1")
    spool.append([line_of("observation", row(1))])
    spool.path.write_bytes(spool.path.read_bytes() + line_of("observation", row(2)).encode()[:40])
    spool.append([line_of("observation", row(3))])
    [taken] = take_spools(tmp_path, "me")
    found = read_lines(read_spool(taken))
    assert [each["obligation_id"] for each in found.observations] == ["o-1", "o-3"]
    assert found.broken == 1
    assert set_aside(taken).read_bytes()
    assert take_spools(tmp_path, "me") == []


def test_what_is_appended_while_a_spool_is_taken_is_in_one_of_both(tmp_path: Path) -> None:
    """A line written into a file that somebody has just read and removes is gone."""
    spool, seen, over = SpoolFile(tmp_path, "here-1"), [], threading.Event()

    def replay_once() -> None:
        for taken in take_spools(tmp_path, "me"):
            seen.extend(each["obligation_id"] for each in read_lines(read_spool(taken)).observations)
            drop_spool(taken)

    def replay() -> None:
        while not over.is_set():
            replay_once()

    replayer = threading.Thread(target=replay)
    replayer.start()

    def write(first: int) -> None:
        for number in range(first, first + 50):
            spool.append([line_of("observation", row(number))])

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 50, 100, 150)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    over.set()
    replayer.join()
    replay_once()
    assert sorted(seen) == sorted(f"o-{number}" for number in range(200))
