"""An artifact's bytes: hashed and copied once, without following anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.files import tree
from plms_pipeline.kpis.files.tree import content_sha256, snapshot
from plms_pipeline_tests.kpis.conftest import Builder


def test_a_snapshot_is_a_private_copy(artifact: Builder) -> None:
    """What is measured must not change while it is measured."""
    root = artifact("a", {"x.txt": "one", "sub/y.bin": b"\0\1"})
    with snapshot(root) as taken:
        (root / "x.txt").write_text("two")
        assert taken.text("x.txt") == "one"
        assert [entry.path for entry in taken.entries] == ["sub/y.bin", "x.txt"]
        assert taken.has("sub")
        place = taken.root
    assert not place.exists()


def test_the_hash_covers_names_bytes_and_mode_and_nothing_else(artifact: Builder) -> None:
    """The night skips what has the same hash; time stamps must not matter, a changed byte must."""
    root = artifact("a", {"x.py": "one"})
    first = content_sha256(root)
    os.utime(root / "x.py", (1, 1))
    assert content_sha256(root) == first
    with snapshot(root) as taken:
        assert taken.sha256 == first
    hashes = {first}
    for change in (
        lambda: (root / "x.py").write_text("two"),
        lambda: (root / "x.py").chmod(0o755),
        lambda: (root / "x.py").rename(root / "y.py"),
        lambda: (root / "z").write_text(""),
    ):
        change()
        hashes.add(content_sha256(root))
    assert len(hashes) == 5


def test_caches_compiled_files_and_our_own_receipt_are_no_part_of_it(artifact: Builder) -> None:
    """A stale .pyc could run instead of its source; our receipt would change the hash of what it describes."""
    root = artifact("a", {"x.py": "1"})
    before = content_sha256(root)
    artifact("a", {"kpi_receipt.json": "{}", "__pycache__/x.pyc": b"1", "sub.pyc": b"1", ".git/config": "x"})
    assert content_sha256(root) == before
    artifact("a", {"sub/kpi_receipt.json": "{}"})
    assert content_sha256(root) != before


def test_links_are_not_followed_wherever_they_lead(artifact: Builder, tmp_path: Path) -> None:
    """`generated_docs.md -> /etc/passwd` would be read, graded, and its words written to a log."""
    secret = tmp_path / "secret.md"
    secret.write_text("secret words")
    root = artifact("a", {"real.md": "x"})
    (root / "generated_docs.md").symlink_to(secret)
    (root / "tests").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    with snapshot(root) as taken:
        assert [entry.path for entry in taken.entries] == ["real.md"]
        assert len(taken.notes) == 3
        with pytest.raises(BadInput, match="symbolic link"):
            taken.text("generated_docs.md")


def test_a_link_in_the_inbox_is_no_artifact(artifact: Builder, tmp_path: Path) -> None:
    """The folder itself may not be one either."""
    root = artifact("a", {"x": "1"})
    link = tmp_path / "link"
    link.symlink_to(root)
    with pytest.raises(BadInput):
        content_sha256(link)


def test_pipes_and_sockets_are_not_waited_for(artifact: Builder) -> None:
    """Reading a named pipe that nobody writes blocks for ever."""
    root = artifact("a", {"x": "1"})
    os.mkfifo(root / "pipe")
    with snapshot(root) as taken:
        assert [entry.path for entry in taken.entries] == ["x"]
        assert taken.notes == ("pipe is neither file nor folder and was not read",)


def test_size_number_and_depth_are_bounded(artifact: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact may not fill the disk that the registry lives on."""
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    monkeypatch.setattr(tree, "MAX_BYTES", 100)
    monkeypatch.setattr(tree, "MAX_DEPTH", 3)
    for name, files, reason in (
        ("many", {f"f{n}": "" for n in range(4)}, "more than 3 files"),
        ("large", {"big": b"x" * 101}, "more than 0 MiB"),
        ("deep", {"a/b/c/d/e": ""}, "nested deeper"),
    ):
        with pytest.raises(BadInput, match=reason) as caught:
            content_sha256(artifact(name, files))
        assert caught.value.code == "bad_artifact"


@pytest.mark.parametrize("name", [b"bad\xff.txt", b"line\nbreak", b"esc\x1b[31m"])
def test_file_names_must_be_printable(artifact: Builder, name: bytes) -> None:
    """They end up in receipts, tables and terminals."""
    root = artifact("a", {"x": "1"})
    Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be printed"):
        content_sha256(root)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_an_artifact_is_a_folder(tmp_path: Path, what: str) -> None:
    """The original exited 1 here, as if the work were bad."""
    path = tmp_path / "x"
    if what == "file":
        path.write_bytes(b"\x89PNG")
    with pytest.raises(BadInput) as caught:
        content_sha256(path)
    assert caught.value.exit_code == 2


def test_texts_are_utf8_and_of_bounded_size(artifact: Builder) -> None:
    """The reason names the file."""
    root = artifact(
        "a", {"latin.md": b"caf\xe9", "big.md": b"x" * (tree.MAX_TEXT + 1), "bom.md": b"\xef\xbb\xbfhi", "d/x": ""}
    )
    with snapshot(root) as taken:
        assert taken.text("bom.md") == "hi"
        assert taken.text("nothing.md") is None
        for name, reason in (("latin.md", "not UTF-8"), ("big.md", "at most"), ("d", "folder")):
            with pytest.raises(BadInput, match=reason):
                taken.text(name)
