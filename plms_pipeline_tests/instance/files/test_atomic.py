"""A file is whole under its name or not there: every writer of the house leans on this one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.instance.files.atomic import Abandoned, made_aside, replacing, write_if_different


def test_a_reader_sees_the_old_bytes_until_the_new_ones_are_whole(tmp_path: Path) -> None:
    """If this fails somebody reads half a manifest, and holds it for altered."""
    target = tmp_path / "deep" / "file"
    with replacing(target) as stream:
        stream.write(b"old")
        assert not target.exists()
    with replacing(target) as stream:
        stream.write(b"ne")
        stream.flush()
        assert target.read_bytes() == b"old"
        stream.write(b"w")
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [TypeError, KeyboardInterrupt, Abandoned])
def test_what_fails_half_way_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    """Half a file beside the right one is found by the next who lists the folder."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    told = False
    try:
        with replacing(target) as stream:
            stream.write(b"half")
            raise error
    except (TypeError, KeyboardInterrupt):
        told = True
    assert told == (error is not Abandoned)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever call it is that finds the disk full."""
    target = tmp_path / "dagster.yaml"
    target.write_text("old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"):
            write_if_different(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after a rename without the first sync leaves an empty file under the right name."""
    steps: list[tuple[str, Any]] = []
    sync, replace = os.fsync, os.replace

    def told_sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        steps.append(("sync", "folder" if stat.S_ISDIR(found.st_mode) else found.st_size))
        sync(descriptor)

    def told_replace(source: Path, target: Path) -> None:
        steps.append(("name", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", told_sync)
    monkeypatch.setattr(os, "replace", told_replace)
    with replacing(tmp_path / "file") as stream:
        stream.write(b"12345")
    with made_aside(tmp_path / "other") as path:
        path.write_bytes(b"123")
    assert steps == [
        ("sync", 5), ("name", "file"), ("sync", "folder"), ("sync", 3), ("name", "other"), ("sync", "folder"),
    ]  # fmt: skip


def test_rights_are_never_wider_than_asked_for(tmp_path: Path) -> None:
    """A private key that is readable for a moment is read in that moment."""
    target = tmp_path / "key"
    target.write_bytes(b"old")
    target.chmod(0o644)
    before = os.umask(0)
    try:
        with replacing(target, mode=0o600) as stream:
            [partial] = tmp_path.glob(".key.*")
            assert stat.S_IMODE(partial.stat().st_mode) == 0o600
            stream.write(b"secret")
        with replacing(tmp_path / "plain"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o666


@pytest.mark.parametrize("name", ["file", "report[1].html"])
def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path, name: str) -> None:
    """If this fails a data folder fills with the remains of killed processes, or two writers destroy each other's work."""
    target = tmp_path / name
    dead = tmp_path / f".{name}.999999999.aa.tmp"
    alive = tmp_path / f".{name}.{os.getppid()}.bb.tmp"
    foreign = tmp_path / ".other.999999999.aa.tmp"
    for leftover in (dead, alive, foreign):
        leftover.write_bytes(b"half")
    with replacing(target) as stream:
        stream.write(b"new")
    assert (dead.exists(), alive.exists(), foreign.exists(), target.read_bytes()) == (False, True, True, b"new")


_WRITES_FOR_EVER = """
import sys, pathlib
from plms_pipeline.instance.files.atomic import replacing
for number in range(10**9):
    with replacing(pathlib.Path(sys.argv[1])) as stream:
        stream.write(bytes([number % 256]) * 300_000)
    if number == 3:
        print("going", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_file_and_the_next_one_a_clean_folder(tmp_path: Path) -> None:
    """The proof with a real process: what lies there is one of the files that were written, not a part of one."""
    target = tmp_path / "file"
    with subprocess.Popen([sys.executable, "-c", _WRITES_FOR_EVER, str(target)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"going\n"
        writer.send_signal(signal.SIGKILL)
    content = target.read_bytes()
    assert content == content[:1] * 300_000
    with replacing(target) as stream:
        stream.write(b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_is_right_is_left_alone(tmp_path: Path) -> None:
    """A rewrite by each command would race with whoever reads it, and fail on a read-only mount."""
    target = tmp_path / "dagster.yaml"
    target.write_bytes(b"\xff no text")
    assert write_if_different(target, "ü")
    assert target.read_text("utf-8") == "ü"
    os.utime(target, ns=(1, 1))
    assert not write_if_different(target, "ü")
    assert target.stat().st_mtime_ns == 1
