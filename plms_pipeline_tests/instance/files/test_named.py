"""Is a place that a person named and nobody can write their mistake, and a full disk not?"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.instance.files.named import folder_named_by, named_by


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "n" * 300])
def test_a_folder_that_cannot_be_one_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A training of an hour that ends in "Not a directory", with the exit code of a machine that is broken."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    for folder in (Path(name), tmp_path / name):
        with pytest.raises(BadInput, match="--output-dir") as refused, folder_named_by("--output-dir", folder):
            pytest.fail("the work began")
        assert (refused.value.code, refused.value.exit_code) == ("bad_output", 2)


def test_a_folder_that_was_made_for_nothing_is_taken_away_and_others_stay(tmp_path: Path) -> None:
    """What failed leaves no trace, and takes nothing with it that was there."""
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(RuntimeError), folder_named_by("--output-dir", tmp_path / name):
            assert (tmp_path / name).is_dir()
            raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == ["there"]


def test_a_file_that_cannot_be_written_is_named_by_its_flag(tmp_path: Path) -> None:
    """The path of a temporary file says nothing to whoever typed another one."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.json"
    with pytest.raises(BadInput, match=r"--output .*x\.json"), named_by("--output", path), replacing(path):
        pytest.fail("it was opened")


def test_a_full_disk_and_errors_of_other_files_are_told_as_they_are(tmp_path: Path) -> None:
    """Nobody who names another place frees a disk, and a dataset that cannot be read is no fault of the output."""
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out"))
    other = OSError(errno.EACCES, "Permission denied", "/elsewhere/prices.csv")
    for wrong in (full, other):
        with pytest.raises(OSError, match=str(wrong.strerror)) as told, named_by("--output", tmp_path / "sub" / "out"):
            raise wrong
        assert told.value is wrong
