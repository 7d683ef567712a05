"""Into the inbox, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.files.inbox import add, artifacts_in
from plms_pipeline_tests.kpis.conftest import Builder


def test_adding_again_changes_nothing(artifact: Builder, tmp_path: Path) -> None:
    """`make run` does it every time."""
    root, inbox = artifact("4200-a", {"x": "1", "sub/y": "2"}), tmp_path / "inbox"
    assert add(root, inbox).state == "added"
    inode = (inbox / "4200-a").stat().st_ino
    assert add(root, inbox).state == "unchanged"
    assert (inbox / "4200-a").stat().st_ino == inode
    assert [path.name for path in artifacts_in(inbox)] == ["4200-a"]


def test_changed_work_replaces_the_old(artifact: Builder, tmp_path: Path) -> None:
    """A file that was removed from the work must not survive in the inbox."""
    root, inbox = artifact("a", {"x": "1", "old": "1"}), tmp_path / "inbox"
    add(root, inbox)
    (root / "old").unlink()
    artifact("a", {"x": "2"})
    assert add(root, inbox).state == "replaced"
    assert sorted(path.name for path in (inbox / "a").iterdir()) == ["x"]
    assert sorted(path.name for path in inbox.iterdir()) == ["a"]


def test_a_file_or_link_in_its_place_is_replaced(artifact: Builder, tmp_path: Path) -> None:
    """And what a link points to is left alone."""
    root, inbox = artifact("a", {"x": "1"}), tmp_path / "inbox"
    elsewhere = artifact("elsewhere", {"keep": "1"})
    inbox.mkdir()
    (inbox / "a").symlink_to(elsewhere)
    assert add(root, inbox).state == "replaced"
    assert (elsewhere / "keep").exists()
    assert (inbox / "a" / "x").read_text() == "1"


def test_what_a_killed_process_left_is_swept(artifact: Builder, tmp_path: Path) -> None:
    """Half copies must neither be evaluated nor pile up; those of living processes stay."""
    root, inbox = artifact("a", {"x": "1"}), tmp_path / "inbox"
    (inbox / ".new-4194305-abcd1234-a" / "half").mkdir(parents=True)
    (inbox / ".new-1-abcd1234-a").mkdir()
    add(root, inbox)
    assert not (inbox / ".new-4194305-abcd1234-a").exists()
    assert (inbox / ".new-1-abcd1234-a").exists()
    assert [path.name for path in artifacts_in(inbox)] == ["a"]


def test_a_failed_copy_leaves_nothing(artifact: Builder, tmp_path: Path) -> None:
    """The error comes before the inbox is touched."""
    with pytest.raises(BadInput):
        add(tmp_path / "missing", tmp_path / "inbox")
    assert artifacts_in(tmp_path / "inbox") == []


def test_a_name_that_hides_is_refused(artifact: Builder, tmp_path: Path) -> None:
    """A dot in front would never be evaluated."""
    with pytest.raises(BadInput, match="name"):
        add(artifact(".hidden", {"x": "1"}), tmp_path / "inbox")


def test_no_inbox_is_an_empty_inbox(tmp_path: Path) -> None:
    """The first night."""
    assert artifacts_in(tmp_path / "nothing") == []
