"""Is a scrape answered in time, whatever is away, and once for all who scrape together?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.client import ask
from plms_pipeline.monitoring.exporter.metrics import expose, page, text_of
from plms_pipeline.monitoring.exporter.series import Part, Samples
from plms_pipeline.monitoring.exporter.service import Books, Exporter, Read
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.exporter.worlds import NOW, value
from plms_pipeline_tests.redis_servers import RedisServer, redis_server

BUILD = ("1", "2", "sqlite")


def samples_of(name: str, number: float) -> Read:
    def read() -> Samples:
        samples = Samples(CATALOGUE)
        samples.put(name, number)
        return samples

    return read


def away() -> Samples:
    raise Unavailable("The registry is away.", code="registry_unavailable")


def exporter(timeout_s: float = 5.0, **reads: Read) -> Exporter:
    parts: dict[Part, Read] = dict(reads)  # type: ignore[arg-type]
    return Exporter(parts, BUILD, clock=FrozenClock(NOW), timeout_s=timeout_s)


def test_a_registry_that_is_away_is_told_and_its_series_are_absent() -> None:
    """Otherwise the figures of yesterday, or zeros, are taken for those of now while everything stands still."""
    found = exporter(registry=away, dagster=samples_of("plms_dagster_queue_oldest_age_seconds", 3))
    samples = found.collect()
    assert value(samples, "plms_exporter_up") == 0
    assert value(samples, "plms_registry_up") == 0
    assert value(samples, "plms_dagster_up") == 1
    assert value(samples, "plms_dagster_queue_oldest_age_seconds") == 3
    assert "plms_runs" not in samples.cells
    assert "plms_redis_up" not in samples.cells
    assert "plms_reports_up" not in samples.cells
    assert value(samples, "plms_exporter_collect_errors_total", "registry") == 1
    assert value(samples, "plms_exporter_collect_errors_total", "redis") == 0
    assert value(samples, "plms_exporter_collected_timestamp_seconds") == NOW.timestamp()
    assert value(samples, "plms_build_info", *BUILD) == 1
    assert value(exporter(registry=samples_of("plms_outbox_pending", 0)).collect(), "plms_exporter_up") == 1


def test_a_registry_that_hangs_costs_the_time_limit_once_and_one_thread() -> None:
    """Otherwise each scrape waits for the one before, and a night of them is a thousand threads."""
    hangs, begun = threading.Event(), []

    def hanging() -> Samples:
        begun.append(1)
        hangs.wait(20)
        return Samples(CATALOGUE)

    found = exporter(0.2, registry=hanging, disk=samples_of("plms_outbox_pending", 1))
    started = time.monotonic()
    for _ in range(3):
        samples = found.collect()
    assert time.monotonic() - started < 5
    assert value(samples, "plms_registry_up") == 0
    assert value(samples, "plms_exporter_collect_seconds", "registry") >= 0.2
    assert len(begun) == 1
    assert value(samples, "plms_exporter_collect_errors_total", "registry") == 3
    hangs.set()
    deadline = time.monotonic() + 10
    while value(found.collect(), "plms_registry_up") == 0:
        assert time.monotonic() < deadline
    assert len(begun) >= 1


def test_scrapes_at_the_same_moment_share_one_reading() -> None:
    """Otherwise two Prometheis and a curious person triple the load of a database that is slow already."""
    count, everybody = [], threading.Barrier(8, timeout=20)

    def slow() -> Samples:
        count.append(1)
        time.sleep(0.3)
        return Samples(CATALOGUE)

    found = exporter(registry=slow)

    def scrape() -> Samples:
        everybody.wait()
        return found.collect()

    with ThreadPoolExecutor(8) as pool:
        pages = [each.result() for each in [pool.submit(scrape) for _ in range(8)]]
    assert len(count) < 4
    assert all(value(each, "plms_registry_up") == 1 for each in pages)


def test_scrapes_are_answered_over_http(settings: Settings) -> None:
    """Otherwise Prometheus finds nothing at the address that the command printed."""
    registry = page(exporter(registry=samples_of("plms_outbox_pending", 7)).collect)
    port, close = expose(registry, "127.0.0.1", 0)
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.status_code == 200
        assert "plms_outbox_pending 7.0" in answer.text
        assert "process_resident_memory_bytes" in answer.text
        stranger = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Host": "evil.example"})
        assert (stranger.status_code, "PLMS_METRICS_HOSTS" in stranger.text) == (403, True)
        with pytest.raises(BadInput, match="PLMS_EXPORTER_PORT"):
            expose(registry, "127.0.0.1", port)
    finally:
        close()


def test_a_registry_that_was_restored_is_opened_anew(
    sqlite_registry: Registry, settings: Settings, clock: FrozenClock
) -> None:
    """Otherwise the exporter goes on telling of a file that nobody has any more."""
    file = settings.data_dir / "registry.db"
    books = Books(settings, clock)
    assert value(books.read(), "plms_runs", "QUEUED") == 0
    sqlite_registry.close()
    other = file.with_name("other.db")
    other.write_bytes(b"not a database at all" * 100)
    other.replace(file)
    with pytest.raises(Unavailable, match="no intact SQLite database"):
        books.read()
    file.unlink()
    with pytest.raises((Unavailable, BadInput)):
        books.read()
    assert not file.exists()
    books.close()


def redis_read(url: str) -> Read:
    def read() -> Samples:
        samples = Samples(CATALOGUE)
        ask(url, samples)
        return samples

    return read


@pytest.fixture
def a_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def test_redis_tells_hits_and_memory_and_that_it_is_gone(a_redis: RedisServer) -> None:
    """Otherwise nobody sees a retry loop, a cache that is full, or that it is away (a critical page)."""
    found = exporter(redis=redis_read(a_redis.url))
    with redis.Redis.from_url(a_redis.url) as client:
        client.set("a", 1)
        client.get("a")
        client.get("b")
    samples = found.collect()
    assert value(samples, "plms_redis_up") == 1
    assert value(samples, "plms_redis_keyspace_hits_total") == 1
    assert value(samples, "plms_redis_keyspace_misses_total") == 1
    assert value(samples, "plms_redis_evicted_keys_total") == 0
    assert value(samples, "plms_redis_expired_keys_total") == 0
    assert 0 < value(samples, "plms_redis_memory_used_bytes") < value(samples, "plms_redis_memory_limit_bytes")
    a_redis.kill()
    samples = found.collect()
    assert value(samples, "plms_redis_up") == 0
    assert "plms_redis_memory_used_bytes" not in samples.cells


def test_the_page_is_what_prometheus_reads() -> None:
    """Otherwise a broken line takes all others with it."""
    collect: Callable[[], Samples] = exporter(registry=samples_of("plms_outbox_pending", 7)).collect
    families = {each.name: each for each in text_string_to_metric_families(text_of(page(collect)))}
    assert families["plms_outbox_pending"].type == "gauge"
    assert families["plms_exporter_collect_errors"].type == "counter"
