"""What does a real Redis answer, and what if it does not?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from plms_pipeline.errors import NoData, Unavailable
from plms_pipeline.evidence.actions.asking import book_facts
from plms_pipeline.evidence.actions.observing import tell_due
from plms_pipeline.evidence.client import RedisEvidence, read_counters
from plms_pipeline.evidence.events import FIELDS
from plms_pipeline.evidence.metrics import ObserverMetrics, expose
from plms_pipeline.evidence.obligations import Record
from plms_pipeline.evidence.verdicts import book_findings
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.evidence.worlds import AT, Scene, stamp
from plms_pipeline_tests.redis_servers import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
def bare(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def evidence(server: RedisServer) -> Iterator[RedisEvidence]:
    found = RedisEvidence(server.url)
    yield found
    found.close()


def test_what_lies_there_is_told_from_what_does_not(bare: redis.Redis, evidence: RedisEvidence) -> None:
    """A key of the wrong type was an outage, and a hash without its fields was evidence."""
    bare.hset("good", mapping={"ts_epoch": stamp(AT), "heat_level": "warm"})
    bare.hset("bare", mapping={"heat_level": "warm"})
    bare.set("text", "warm")
    seen = evidence.look(["good", "bare", "text", "none"])
    assert {key: sight.kind for key, sight in seen.items()} == {
        "good": "evidence", "bare": "malformed", "text": "malformed", "none": "absent",
    }  # fmt: skip
    assert (seen["good"].at, seen["good"].fields["heat_level"]) == (AT, "warm")


def test_bytes_that_are_no_text_harm_nobody(bare: redis.Redis, evidence: RedisEvidence) -> None:
    """Whoever may write a hash may write anything into it."""
    bare.hset("odd", mapping={b"\xff\xfe": b"\x00\xff", "ts_epoch": b"\xff"})
    bare.hset("large", mapping={"ts_epoch": stamp(AT), "blob": "x" * 1_000_000})
    seen = evidence.look(["odd", "large"])
    assert seen["odd"].kind == "malformed"
    assert len(seen["large"].fields["blob"]) == 4096


def test_evidence_is_written_with_its_time_to_live(bare: redis.Redis, evidence: RedisEvidence) -> None:
    """Written in two steps, a crash between them leaves a hash that lives for ever, and answers for ever."""
    evidence.put("key", Record("heat", "run-1", stamp(AT), "its-obligation", {"old": "1"}), ttl_s=60)
    evidence.put("key", Record("heat", "run-1", stamp(AT), None, {"new": "1"}), ttl_s=60)
    assert 0 < bare.ttl("key") <= 60
    assert set(bare.hgetall("key")) == {b"ts_epoch", b"new"}


def test_a_server_that_is_gone_fails_every_look_and_raises_nothing(tmp_path: object) -> None:
    """One exception in the loop would end the observation of everything else."""
    gone = RedisEvidence("redis://127.0.0.1:1/0")
    assert {sight.kind for sight in gone.look(["a", "b"]).values()} == {"failed"}
    with pytest.raises(Unavailable):
        gone.put("a", Record("heat", "run-1", "1"), ttl_s=60)
    with pytest.raises(Unavailable):
        gone.told("stream", newest=5)
    gone.close()


def test_an_observation_is_told_once_the_stream_takes_it(
    registry: Registry, bare: redis.Redis, evidence: RedisEvidence
) -> None:
    """Marked as told before it was told, a failed XADD lost the observation; its retry was taken for a duplicate."""
    scene = Scene(registry).with_config(backend="redis", prefix="p:")
    scene.redis = evidence.look
    scene.accept("run-1", "run-2")
    bare.hset("p:heat:run-1", mapping={"ts_epoch": stamp(AT), "heat_level": "warm", "heat_score": "0.5"})
    assert scene.until_over().count("ok") == 1
    gone = RedisEvidence("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        tell_due(scene.watch, gone.tell)
    gone.close()
    assert tell_due(scene.watch, evidence.tell) == 2
    assert tell_due(scene.watch, evidence.tell) == 0
    events = {event["plan_id"]: event for event in evidence.told(scene.config.stream, newest=10)}
    assert set(events) == {"run-1", "run-2"}
    assert tuple(events["run-1"]) == FIELDS
    assert [events["run-1"][name] for name in ("heat_found", "heat_reason", "heat_level", "obs_point")] == [
        "1", "ok", "warm", "after_completion",
    ]  # fmt: skip
    assert (events["run-2"]["heat_found"], events["run-2"]["heat_reason"]) == ("0", "timeout")


def test_books_are_not_proven_by_a_stream_that_says_otherwise_or_nothing(
    registry: Registry, bare: redis.Redis, evidence: RedisEvidence
) -> None:
    """Counts of the stream and counts of the rows each looked right by themselves."""
    scene = Scene(registry).with_config(backend="redis", prefix="p:")
    scene.redis = evidence.look
    scene.accept("run-1")
    scene.until_over()
    tell_due(scene.watch, evidence.tell)

    def broken(client: RedisEvidence) -> set[str]:
        facts = book_facts(
            registry, clock=scene, since=AT, spooled_files=(),
            told=lambda newest: client.told(scene.config.stream, newest=newest),
        )  # fmt: skip
        return {each.name for each in book_findings(facts) if not each.holds}

    assert broken(evidence) == set()
    [event] = evidence.told(scene.config.stream, newest=1)
    evidence.tell(
        scene.config.stream, [{**event, "heat_reason": "ok", "heat_found": "1"}, {"apply_component": "apply"}]
    )
    assert broken(evidence) == {"the_stream_says_what_the_books_say"}
    gone = RedisEvidence("redis://127.0.0.1:1/0")
    assert broken(gone) == {"the_stream_says_what_the_books_say"}
    gone.close()


def test_the_stream_is_bounded(bare: redis.Redis, evidence: RedisEvidence) -> None:
    """A stream without a limit takes the memory of a server that others need."""
    for _ in range(12):
        evidence.tell("stream", [{"n": "1"}] * 1000)
    assert bare.xlen("stream") <= 11_000


def test_counters_are_read_from_the_page_of_an_observer() -> None:
    """The check that never lies compares rows with what a process says of itself; another page says nothing."""
    metrics = ObserverMetrics()
    close = expose(metrics, 0)
    close()
    metrics.belong_to("here:1:test")
    metrics.ended("after_completion", "ok", 120)
    metrics.ended("after_completion", "dropped")
    from prometheus_client import CollectorRegistry, start_http_server

    for found, expected in ((metrics.registry, "here:1:test"), (CollectorRegistry(), None)):
        server, thread = start_http_server(0, addr="127.0.0.1", registry=found)
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        if expected is None:
            with pytest.raises(NoData):
                read_counters(url)
        else:
            name, counts = read_counters(url)
            assert (name, counts["ok"], counts["dropped"], counts["timeout"]) == (expected, 1, 1, 0)
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(Unavailable):
        read_counters("http://127.0.0.1:1/metrics")
