"""Do the folders of servers that were killed go away, and those of servers that live stay?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plms_pipeline.monitoring.process import this_holder
from plms_pipeline.web.api.service.own_folder import OWNER, sweep
from plms_pipeline.web.api.service.shared_metrics import FOLDER_VARIABLE, PREFIX, forget_dead_workers, shared_metrics

_KILLED = """
import os, signal
from plms_pipeline.web.api.service.shared_metrics import shared_metrics
with shared_metrics() as folder:
    (folder / "counter_1.db").write_bytes(b"x")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def folder_of(parent: Path, name: str, owner: str | None) -> Path:
    folder = parent / f"{PREFIX}{name}"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"x")
    if owner is not None:
        (folder / OWNER).write_text(owner)
    return folder


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `kill -9` of `plms serve --workers` left its folder for ever, until the disk of temporary files was full."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed = subprocess.run([sys.executable, "-c", _KILLED], capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.parent == tmp_path
    assert (left / "counter_1.db").exists()
    with shared_metrics() as mine:
        assert os.environ[FOLDER_VARIABLE] == str(mine)
        assert sorted(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []
    assert FOLDER_VARIABLE not in os.environ


def test_only_what_is_known_to_be_dead_is_removed(tmp_path: Path) -> None:
    """A server that lives would lose what its workers counted; another machine's processes cannot be seen from here."""
    me = this_holder()
    host, pid, began = me.rsplit(":", 2)
    living, elsewhere = folder_of(tmp_path, "living", me), folder_of(tmp_path, "elsewhere", f"not-{host}:1:1.00")
    nameless, garbled = folder_of(tmp_path, "nameless", None), folder_of(tmp_path, "garbled", "\x00:::x")
    (tmp_path / f"{PREFIX}file").write_text("no folder")
    reused = folder_of(tmp_path, "reused", f"{host}:{pid}:{float(began) - 1:.2f}")
    target = tmp_path / "mine"
    target.mkdir()
    (target / OWNER).write_text(f"{host}:{pid}:1.00")
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    assert sweep(tmp_path, PREFIX) == [reused]
    assert not reused.exists()
    assert all(folder.exists() for folder in (living, elsewhere, nameless, garbled, target / OWNER))


# A worker has three obligations in flight and dies; another has two, forgets the dead one, and tells what is.
_WORKERS = """
import os, sys
from plms_pipeline.evidence.metrics import ObserverMetrics
from plms_pipeline.web.api.metrics import ApiMetrics
from plms_pipeline.web.api.service.shared_metrics import forget_dead_workers
api = ApiMetrics([])
observer = ObserverMetrics(api.registry)
child = os.fork()
if child == 0:
    observer.inflight.set(3)
    observer.accepted("after_completion")
    os._exit(0)
os.waitpid(child, 0)
observer.inflight.set(2)
observer.accepted("after_completion")
sys.stdout.write(api.exposition().decode())
assert forget_dead_workers() == [child]
sys.stdout.write("--\\n" + api.exposition().decode())
"""


def test_a_gauge_is_the_sum_of_the_workers_that_live(tmp_path: Path) -> None:
    """Otherwise each worker is a series of its own for ever, and one that died holds its obligations until the next start."""
    environ = {**os.environ, FOLDER_VARIABLE: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _WORKERS], env=environ, capture_output=True, text=True, check=True)
    before, _, after = done.stdout.partition("--\n")
    assert "p28_late_obs_inflight 5.0" in before
    assert "p28_late_obs_inflight 2.0" in after
    assert 'p28_late_obs_accepted_total{obs_point="after_completion"} 2.0' in after
    assert "pid=" not in after


def test_workers_that_live_and_files_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a worker that begins takes away what its neighbours count."""
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert forget_dead_workers() == []
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for name in (f"gauge_livesum_{os.getpid()}.db", "counter_999999999.db", "gauge_livesum_x.db"):
        (tmp_path / name).write_bytes(b"x")
    assert forget_dead_workers() == []
    assert len(list(tmp_path.iterdir())) == 3
