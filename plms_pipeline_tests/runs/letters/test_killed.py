"""Do retries survive SIGKILL at any moment, on both databases?"""

from __future__ import annotations

import time
from collections import Counter
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from random import Random

import pytest
from sqlalchemy import select

from plms_pipeline.letters import store
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectRun, RunLineage
from plms_pipeline_tests.runs.letters import retrier_process
from plms_pipeline_tests.runs.letters.test_runs import Shop
from plms_pipeline_tests.runs.worlds import planned_project

pytestmark = pytest.mark.live
KILLS = 12
RUNS = 30
# A lease of two minutes ends after a fifth of a second.
SPEED = 600.0


# Each is a process of its own, but forked from one that has imported everything: to import costs as much as the retrying.
NURSERY = get_context("forkserver")


def start(url: str, began_s: float, seed: int) -> BaseProcess:
    NURSERY.set_forkserver_preload([retrier_process.__name__])
    process = NURSERY.Process(target=retrier_process.main, args=(url, SPEED, began_s, seed), daemon=True)
    process.start()
    return process


def test_no_retry_is_lost_or_begun_twice_when_retriers_are_killed(registry: Registry, registry_url: str) -> None:
    """A lost one is work that nobody does; a second one is paid twice."""
    shop = Shop(registry)
    for project_id in range(100, 100 + RUNS):
        planned_project(registry, project_id=project_id)
        shop.failed(project_id=project_id)
    chance, began_s = Random(7), time.time()
    while_open = 0
    processes = [start(registry_url, began_s, seed) for seed in range(4)]
    try:
        for kill in range(KILLS):
            time.sleep(0.05 + 0.2 * chance.random())
            victim = chance.randrange(len(processes))
            while_open += any(letter.state in ("ready", "processing") for letter in shop.letters())
            processes[victim].kill()
            processes[victim].join()
            processes[victim] = start(registry_url, began_s, 100 + kill)
        over_s = time.monotonic() + 60
        while time.monotonic() < over_s and any(letter.state in ("ready", "processing") for letter in shop.letters()):
            time.sleep(0.2)
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert while_open >= KILLS // 2, "the kills came when everything was over"
    letters = shop.letters()
    assert len(letters) == RUNS
    assert {letter.state for letter in letters} <= {"done", "permanent"}
    with registry.reading() as session:
        parents = Counter(session.scalars(select(RunLineage.parent_run_id)))
        statuses = Counter(session.scalars(select(ProjectRun.status)))
        retries = len(session.scalars(select(RunLineage.run_id)).all())
        assert store.count_due(session, now=shop.at) == 0
    assert set(parents.values()) == {1}
    assert retries == sum(letter.attempts for letter in letters)
    assert max(letter.attempts for letter in letters) <= 3
    assert set(statuses) == {"FAIL", "SUCCESS"}
    assert statuses["SUCCESS"] == sum(letter.state == "done" for letter in letters)
