"""Do Dagster jobs that failed in passing come back, at most three times, and say who launched them first?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.clock import FrozenClock
from plms_pipeline.instance.actors import continued_id
from plms_pipeline.letters import store
from plms_pipeline.letters.actions.retrying import LEASE
from plms_pipeline.letters.defs.jobs import LETTER_TAG, ROOT_TAG, failed_jobs, retry_sensor, root_of
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import Plms
from plms_pipeline_tests.letters.desk import AT

WHY = {"text": "connection reset"}


@dg.op
def fails() -> None:
    if WHY["text"] == "deep":
        try:
            raise TimeoutError("timed out")
        except TimeoutError as error:
            raise RuntimeError("the step did not work") from error
    if WHY["text"] != "nothing":
        raise RuntimeError(WHY["text"])


@dg.job(tags={"team": "x"})
def unlucky() -> None:
    fails()


@dg.job
def stranger() -> None:
    fails()


class Away(Plms):
    """The resource with a registry and a clock of the test's."""

    def registry(self) -> Registry:
        return WORLD["registry"]

    def clock(self) -> Any:
        return WORLD["clock"]


WORLD: dict[str, Any] = {}
due_jobs: Any = retry_sensor([unlucky])


@pytest.fixture
def instance(sqlite_registry: Registry) -> Iterator[dg.DagsterInstance]:
    WORLD.update(registry=sqlite_registry, clock=FrozenClock(AT))
    WHY["text"] = "connection reset"
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def later(**span: float) -> None:
    WORLD["clock"] = FrozenClock(WORLD["clock"].at + timedelta(**span))


def run(instance: dg.DagsterInstance, job: Any = unlucky, **tags: str) -> dg.DagsterRun:
    done = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    found = instance.get_run_by_id(done.run_id)
    assert found is not None
    if found.status == dg.DagsterRunStatus.FAILURE:
        tell(instance, done)
    return found


def tell(instance: dg.DagsterInstance, done: Any) -> Any:
    made = dg.build_run_status_sensor_context(
        sensor_name="failed_jobs", dagster_event=done.get_run_failure_event(), dagster_instance=instance,
        dagster_run=instance.get_run_by_id(done.run_id), resources={"plms": Away()},
    )  # fmt: skip
    with made.for_run_failure() as context:
        return failed_jobs(context)


def tick(instance: dg.DagsterInstance) -> list[Any]:
    with dg.build_sensor_context(instance=instance, resources={"plms": Away()}) as context:
        found = due_jobs(context)
    return list(getattr(found, "run_requests", None) or [])


def letter() -> Letter:
    with WORLD["registry"].reading() as session:
        (one,) = store.listed(session, limit=None)
    return one


def launched(instance: dg.DagsterInstance, request: Any) -> dg.DagsterRun:
    """As the daemon launches a request."""
    return run(instance, **request.tags)


def test_a_job_that_failed_in_passing_is_launched_again_with_its_parent_and_root(instance: dg.DagsterInstance) -> None:
    """A start whose key derives from the root then answers what it answered before; another key would start a second run."""
    first = run(instance, custom="kept")
    assert (letter().kind, letter().subject_id, letter().state) == ("job", first.run_id, "ready")
    assert "connection reset" in letter().reason
    assert tick(instance) == []
    later(minutes=1)
    (request,) = tick(instance)
    assert (request.job_name, request.tags["custom"], request.tags[ROOT_TAG]) == ("unlucky", "kept", first.run_id)
    assert continued_id(request.tags) == ("run", first.run_id)
    assert tick(instance) == []
    WHY["text"] = "nothing"
    again = launched(instance, request)
    assert root_of(again) == first.run_id
    assert tick(instance) == []
    assert (letter().state, letter().attempts, letter().run_id) == ("done", 1, again.run_id)


def test_a_job_comes_back_three_times_and_no_more(instance: dg.DagsterInstance) -> None:
    """Dagster's own retries know neither waits nor classes."""
    run(instance)
    keys = []
    for number in (1, 2, 3):
        later(minutes=5)
        (request,) = tick(instance)
        keys.append(request.run_key)
        launched(instance, request)
        assert letter().attempts == number
    later(minutes=5)
    assert tick(instance) == []
    assert (letter().state, len(set(keys))) == ("permanent", 3)


def test_a_tick_that_was_lost_is_made_up_for_under_the_same_run_key(instance: dg.DagsterInstance) -> None:
    """A tick that dies after the claim has launched nothing, or something that Dagster knows under this key."""
    run(instance)
    later(minutes=1)
    (lost,) = tick(instance)
    later(seconds=LEASE.total_seconds() + 1)
    (again,) = tick(instance)
    assert again.run_key == lost.run_key
    assert letter().attempts == 1


def test_the_same_failure_told_twice_costs_no_retry(instance: dg.DagsterInstance) -> None:
    """Run status sensors tell at least once."""
    done = unlucky.execute_in_process(instance=instance, raise_on_error=False)
    tell(instance, done)
    later(minutes=1)
    assert len(tick(instance)) == 1
    tell(instance, done)
    assert (letter().state, letter().attempts) == ("processing", 1)


@pytest.mark.parametrize(
    ("why", "error_class"), [("odd", "PERMANENT"), ("contains pii", "POLICY"), ("deep", "TRANSIENT")]
)
def test_the_class_is_that_of_what_the_step_raised(instance: dg.DagsterInstance, why: str, error_class: str) -> None:
    """Dagster's own message says only that steps failed; what caused it stands at the bottom of the chain."""
    WHY["text"] = why
    run(instance)
    assert letter().error_class == error_class
    later(days=1)
    assert len(tick(instance)) == (error_class == "TRANSIENT")


def test_a_run_that_dagster_retries_itself_is_left_to_it(instance: dg.DagsterInstance) -> None:
    """Two retriers of one run are one too many."""
    run(instance, **{"dagster/will_retry": "true"})
    with WORLD["registry"].reading() as session:
        assert store.listed(session) == []


def test_a_job_that_is_not_known_here_is_put_aside(instance: dg.DagsterInstance) -> None:
    """A request for a job that the sensor does not target fails the whole tick, every tick."""
    run(instance, stranger)
    later(minutes=1)
    assert tick(instance) == []
    assert letter().state == "permanent"


def test_a_retry_that_a_person_cancelled_stays_cancelled(instance: dg.DagsterInstance) -> None:
    """Launching it once more would undo what was decided."""
    run(instance)
    later(minutes=1)
    (request,) = tick(instance)
    instance.create_run_for_job(unlucky, tags=request.tags, status=dg.DagsterRunStatus.CANCELED)
    assert tick(instance) == []
    assert letter().state == "permanent"
    assert request.tags[LETTER_TAG] == letter().letter_id
