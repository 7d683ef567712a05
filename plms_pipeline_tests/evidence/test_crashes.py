"""Whatever dies or is away, in whatever order: are the books of late evidence right after every step?"""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from plms_pipeline.errors import Unavailable
from plms_pipeline.evidence.actions.observing import observe_round, replay
from plms_pipeline.evidence.sights import Sight, failed
from plms_pipeline.evidence.spool import read_lines
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.evidence.worlds import AT, Scene, books


class Crash(BaseException):
    """A process that is gone: nothing catches it."""


@pytest.mark.parametrize("seed", range(6))
def test_accepted_is_ended_plus_pending_after_every_step(
    sqlite_registry: Registry, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two observers that crash before or after any call, evidence that comes, goes and is old, and a registry that is away."""
    chance = random.Random(seed)
    scenes = [Scene(sqlite_registry).with_config(max_inflight=15, backend="redis", prefix="p:") for _ in range(2)]
    evidence: dict[str, Sight] = {}
    mood = {"crash_at": 0, "calls": 0, "away": False, "redis": True}
    writing = Registry.writing

    def call() -> None:
        mood["calls"] += 1
        if mood["calls"] == mood["crash_at"]:
            raise Crash

    def look(keys: object) -> dict[str, Sight]:
        call()
        found = {key: evidence.get(key, Sight("absent")) if mood["redis"] else failed("gone") for key in keys}  # type: ignore[attr-defined]
        call()
        return found

    class Wrapped:
        def __init__(self, registry: Registry) -> None:
            call()
            if mood["away"]:
                raise Unavailable("The registry is away.")
            self.inner = writing(registry)

        def __enter__(self) -> object:
            return self.inner.__enter__()

        def __exit__(self, *error: object) -> object:
            done = self.inner.__exit__(*error)  # type: ignore[arg-type]
            call()
            return done

    def wrapped(registry: Registry) -> Wrapped:
        return Wrapped(registry)

    monkeypatch.setattr(Registry, "writing", wrapped)
    said = 0
    for step in range(250):
        scene = chance.choice(scenes)
        scene.redis = look
        mood.update(calls=0, crash_at=chance.choice([0, 0, 0, chance.randint(1, 6)]))
        mood.update(away=chance.random() < 0.1, redis=chance.random() < 0.9)
        try:
            match chance.randrange(4):
                case 0:
                    said += 1
                    scene.accept(*[f"run-{said}-{n}" for n in range(chance.randint(1, 4))])
                case 1 if said:
                    key = f"p:heat:run-{chance.randint(1, said)}-{chance.randint(0, 3)}"
                    age = timedelta(milliseconds=chance.choice([0, 0, 60_000]))
                    evidence[key] = Sight("evidence", scene.at - age)
                case _:
                    scene.flight = observe_round(scene.watch, scene.flight).flight
        except Crash:
            scene.flight = {}
        except Unavailable:
            pass
        mood.update(crash_at=0, away=False)
        if scene.lines and chance.random() < 0.5:
            replay(scene.watch, read_lines(scene.lines))
            scene.lines.clear()
        for each in scenes:
            each.passes(100)
        accepted, observed, pending = books(sqlite_registry)
        assert accepted == observed + pending, f"seed {seed}, step {step}"
        assert pending <= 15, f"seed {seed}, step {step}"
    mood["redis"] = True
    for _ in range(40):
        scenes[0].flight = observe_round(scenes[0].watch, scenes[0].flight).flight
        scenes[0].passes(100)
    accepted, observed, pending = books(sqlite_registry)
    assert (accepted, pending) == (observed, 0), f"seed {seed}"
    assert accepted > 20
    assert scenes[0].at > AT
