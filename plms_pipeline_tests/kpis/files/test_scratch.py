"""Temporary copies, and what killed processes leave of them."""

from __future__ import annotations

import os
from pathlib import Path

from plms_pipeline.kpis.files.scratch import LEFT_AFTER_S, PREFIX, scratch_folder, sweep

DEAD = 4194305  # above the largest process id that Linux gives


def test_a_folder_is_gone_after_its_block_also_when_it_raises() -> None:
    """A night evaluates hundreds; /tmp must not fill."""
    kept: list[Path] = []
    try:
        with scratch_folder() as folder:
            kept.append(folder)
            (folder / "a" / "b").mkdir(parents=True)
            (folder / "a" / "link").symlink_to("/etc")
            (folder / "a").chmod(0)
            raise RuntimeError
    except RuntimeError:
        pass
    assert not kept[0].exists()
    assert Path("/etc").exists()


def test_only_old_folders_of_dead_processes_are_swept(tmp_path: Path) -> None:
    """Another evaluation may be running at this moment."""
    names = {"dead-old": (DEAD, True), "dead-new": (DEAD, False), "living-old": (os.getpid(), True)}
    paths = {}
    for name, (pid, is_old) in names.items():
        path = tmp_path / f"{PREFIX}{pid}-{name}"
        (path / "x").mkdir(parents=True)
        os.utime(path, (1000, 1000) if is_old else (1000 + LEFT_AFTER_S, 1000 + LEFT_AFTER_S))
        paths[name] = path
    (tmp_path / "somebody-elses").mkdir()
    sweep(tmp_path, now=1000 + LEFT_AFTER_S + 1)
    assert sorted(name for name, path in paths.items() if path.exists()) == ["dead-new", "living-old"]
    assert (tmp_path / "somebody-elses").exists()
