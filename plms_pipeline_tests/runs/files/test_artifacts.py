"""Do a run's files become its outputs in one move, and is nothing swept that somebody owns?"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plms_pipeline.runs.files.artifacts import has_staged, promote, run_names, sweep

NOW = datetime.now(UTC) + timedelta(days=2)


def staged(data_dir: Path, run_id: str, name: str = "t/1/made.py", text: str = "x = 1\n") -> Path:
    path = data_dir / "runs" / run_id / "staging" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_staged_files_become_outputs_whole(tmp_path: Path) -> None:
    """Who looks between two moves of single files would see half of a run."""
    staged(tmp_path, "r-1")
    staged(tmp_path, "r-1", "t/1/kpi_receipt.json", "{}")
    found = promote(tmp_path, "r-1")
    assert [(each.path, each.kind, each.size) for each in found] == [
        ("runs/r-1/outputs/t/1/kpi_receipt.json", "receipt", 2),
        ("runs/r-1/outputs/t/1/made.py", "code", 6),
    ]
    assert found[1].sha256 == hashlib.sha256(b"x = 1\n").hexdigest()
    assert not (tmp_path / "runs" / "r-1" / "staging").exists()


def test_promoting_again_lists_the_same(tmp_path: Path) -> None:
    """A process that dies right after the move does it all again."""
    staged(tmp_path, "r-1")
    assert promote(tmp_path, "r-1") == promote(tmp_path, "r-1") != []


def test_a_run_without_files_has_no_outputs(tmp_path: Path) -> None:
    """Many tasks leave nothing."""
    assert promote(tmp_path, "r-1") == []


def test_what_is_staged_after_the_end_does_not_enter_the_outputs(tmp_path: Path) -> None:
    """An executor that works on after its run was ended must not change what was judged."""
    staged(tmp_path, "r-1")
    before = promote(tmp_path, "r-1")
    staged(tmp_path, "r-1", "t/1/late.py")
    assert promote(tmp_path, "r-1") == before


def test_links_and_pipes_are_no_outputs(tmp_path: Path) -> None:
    """A link would put the digest of somebody else's file into the books, a pipe would block for ever."""
    folder = staged(tmp_path, "r-1").parent
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "elsewhere").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    assert [each.path for each in promote(tmp_path, "r-1")] == ["runs/r-1/outputs/t/1/made.py"]


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "a\x00b", "-"])
def test_a_run_id_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    """Ids come from outside."""
    with pytest.raises(ValueError, match="path"):
        promote(tmp_path, name)


def test_only_what_nobody_owns_is_swept_and_only_after_a_day(tmp_path: Path) -> None:
    """A sweep that is wrong once deletes work that cost money."""
    for run_id in ("unknown", "working", "ended"):
        staged(tmp_path, run_id)
    promote(tmp_path, "ended")
    staged(tmp_path, "ended", "t/1/late.py")
    assert run_names(tmp_path) == ["ended", "unknown", "working"]
    known, ended = frozenset({"working", "ended"}), frozenset({"ended"})
    assert sweep(tmp_path, known=known, ended=ended, now=datetime.now(UTC)) == []
    assert sweep(tmp_path, known=known, ended=ended, now=NOW) == ["runs/ended/staging", "runs/unknown"]
    assert run_names(tmp_path) == ["ended", "working"]
    assert (tmp_path / "runs" / "ended" / "outputs" / "t" / "1" / "made.py").is_file()


def test_a_fresh_file_deep_inside_keeps_its_folder(tmp_path: Path) -> None:
    """The folder's own time does not change when something deep inside it is written."""
    path = staged(tmp_path, "unknown")
    old = (NOW - timedelta(days=9)).timestamp()
    for parent in (path.parent, path.parent.parent, tmp_path / "runs" / "unknown"):
        os.utime(parent, (old, old))
    assert sweep(tmp_path, known=frozenset(), ended=frozenset(), now=datetime.now(UTC)) == []


def test_a_link_among_the_run_folders_is_not_followed(tmp_path: Path) -> None:
    """It may lead to a folder that is not ours to sweep."""
    target = tmp_path / "precious"
    target.mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(target)
    assert sweep(tmp_path, known=frozenset(), ended=frozenset(), now=NOW) == []
    assert target.is_dir()


def test_only_real_files_of_an_attempt_count_as_staged(tmp_path: Path) -> None:
    """In the sandbox it decides whether anything is measured: a link must not make work of what lies elsewhere."""
    staging = tmp_path / "runs" / "r" / "staging"
    assert not has_staged(tmp_path, "r", "t", 1)
    (staging / "t" / "1" / "deep").mkdir(parents=True)
    assert not has_staged(tmp_path, "r", "t", 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    (staging / "t" / "1" / "link").symlink_to(elsewhere / "file")
    (staging / "t" / "2").symlink_to(elsewhere)
    assert not has_staged(tmp_path, "r", "t", 1)
    assert not has_staged(tmp_path, "r", "t", 2)
    (staging / "t" / "1" / "deep" / "file").write_text("x")
    assert has_staged(tmp_path, "r", "t", 1)
