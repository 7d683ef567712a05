"""Does exactly one holder have a lease, whoever asks, dies, sleeps or races?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.leases import Acquired, Held, acquire, current, release, renew

START = datetime(2026, 3, 1, 7, tzinfo=UTC)
TTL = timedelta(minutes=5)


def take(registry: Registry, holder: str, now: datetime = START, *, dead: frozenset[str] = frozenset()) -> Acquired:
    with registry.writing() as session:
        return acquire(session, "nightly", holder, now=now, ttl=TTL, is_dead=dead.__contains__)


def test_the_second_to_ask_learns_who_holds_it_since_when(registry: Registry) -> None:
    """A refusal without a name sends the person on call to read process lists."""
    first = take(registry, "host:1")
    second = take(registry, "host:2", START + timedelta(seconds=1))
    assert first.granted
    assert not second.granted
    assert (second.lease.holder, second.lease.acquired_at) == ("host:1", START)


def test_a_released_lease_is_free(registry: Registry) -> None:
    """The next night must not wait for the last one's expiry."""
    held = take(registry, "a").lease
    with registry.writing() as session:
        assert release(session, held)
        assert current(session, "nightly") is None
    assert take(registry, "b").granted


def test_an_expired_holder_is_fenced_off(registry: Registry) -> None:
    """A process that slept through its lease and wakes up must not write, renew or free what is another's now."""
    slept = take(registry, "a").lease
    later = START + TTL
    taken = take(registry, "b", later)
    assert taken.granted
    assert taken.lease.fencing_token > slept.fencing_token
    with registry.writing() as session:
        assert not renew(session, slept, now=later, ttl=TTL)
        assert not release(session, slept)
        assert current(session, "nightly") == taken.lease


def test_a_dead_holder_does_not_block_until_its_expiry(registry: Registry) -> None:
    """After kill -9 the next start must not answer "somebody runs since …" for five minutes."""
    take(registry, "a")
    assert not take(registry, "b").granted
    assert take(registry, "b", dead=frozenset({"a"})).granted


def test_a_renewed_lease_lasts_from_the_renewal(registry: Registry) -> None:
    """A long night renews; without that a second one starts beside it."""
    held = take(registry, "a").lease
    with registry.writing() as session:
        assert renew(session, held, now=START + timedelta(minutes=4), ttl=TTL)
    assert not take(registry, "b", START + timedelta(minutes=8)).granted
    assert take(registry, "b", START + timedelta(minutes=9)).granted


def test_taking_it_again_invalidates_the_older_claim(registry: Registry) -> None:
    """Two threads with one holder name must not both believe that the lease is theirs."""
    older = take(registry, "a").lease
    newer = take(registry, "a")
    assert newer.granted
    with registry.writing() as session:
        assert not renew(session, older, now=START, ttl=TTL)
        assert release(session, newer.lease)


@dataclass
class Model:
    """What a lease should do, said without a database."""

    holder: str | None = None
    token: int = 0
    expires: datetime = START


holders = st.sampled_from(["a", "b", "c"])
steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "renew", "release", "sleep", "die"]), holders, st.integers(0, 400)
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_it_behaves_like_the_model_whatever_happens(registry: Registry, steps: list[tuple[str, str, int]]) -> None:
    """Any order of asking, renewing, releasing, sleeping and dying: one holder at most, and tokens only grow."""
    with registry.writing() as session:
        for row in [current(session, "nightly")]:
            if row:
                release(session, row)
    model, now, dead = Model(), START, set[str]()
    claims: dict[str, Held] = {}
    for step, who, seconds in steps:
        if step == "sleep":
            now += timedelta(seconds=seconds)
        elif step == "die":
            dead.add(who)
        elif step == "acquire":
            got = take(registry, who, now, dead=frozenset(dead - {who}))
            dead.discard(who)
            free = model.holder in (None, who) or now >= model.expires or model.holder in dead
            assert got.granted == free
            if free:
                assert got.lease.fencing_token > model.token
                model = Model(who, got.lease.fencing_token, now + TTL)
                claims[who] = got.lease
            else:
                assert got.lease.holder == model.holder
        elif who in claims:
            claim = claims[who]
            mine = model.holder == who and claim.fencing_token == model.token
            with registry.writing() as session:
                if step == "renew":
                    assert renew(session, claim, now=now, ttl=TTL) == mine
                    model.expires = now + TTL if mine else model.expires
                else:
                    assert release(session, claim) == mine
                    model.holder = None if mine else model.holder
        with registry.reading() as session:
            held = current(session, "nightly")
        assert (held.holder if held else None) == model.holder


RACER = """
import sys
from datetime import UTC, datetime, timedelta
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.leases import acquire
registry = Registry.open(sys.argv[1])
with registry.reading() as session:
    session.connection()
print("ready", flush=True)
sys.stdin.readline()
for round in range(20):
    with registry.writing() as session:
        got = acquire(session, f"race {round}", sys.argv[2], now=datetime(2026, 3, 1, tzinfo=UTC), ttl=timedelta(hours=1))
    print(int(got.granted), flush=True)
"""


@pytest.mark.live
@pytest.mark.timeout(120)
def test_of_two_processes_that_ask_at_once_exactly_one_gets_it(registry_url: str) -> None:
    """On the very first night the row does not exist: on PostgreSQL both used to insert it and one died with a traceback."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, registry_url, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=100) for racer in racers]
    assert [errors for _, errors in answers] == ["", ""]
    wins = [[int(line) for line in printed.split()] for printed, _ in answers]
    assert [a + b for a, b in zip(*wins, strict=True)] == [1] * 20
