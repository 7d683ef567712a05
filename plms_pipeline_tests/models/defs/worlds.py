"""A resource with a registry, folders and a clock of a test's, for sensors, assets and jobs of models."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from plms_pipeline.clock import FrozenClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import Plms
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.candidates import House

WORLD: dict[str, Any] = {}


class Ours(Plms):
    """What the definitions reach the world through."""

    def settings(self) -> Settings:
        found: Settings = WORLD["settings"]
        return found

    def registry(self) -> Registry:
        found: Registry = WORLD["house"].registry
        return found

    def clock(self) -> FrozenClock:
        found: FrozenClock = WORLD["house"].clock
        return found

    def teardown_after_execution(self, context: Any) -> None:
        """The registry is the test's."""


def set_up(house: House, settings: Settings) -> None:
    WORLD.update(house=house, settings=settings)


def later(**span: float) -> None:
    WORLD["house"] = WORLD["house"].later(timedelta(**span))


def house() -> House:
    found: House = WORLD["house"]
    return found
