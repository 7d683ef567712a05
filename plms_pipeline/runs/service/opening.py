"""What does a command or a job open before it can work with runs?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from plms_pipeline.clock import Clock, SystemClock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.pas.service import pas_client
from plms_pipeline.registry import opening
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.letters.service import Retrier
from plms_pipeline.runs.service.dispatcher import Dispatcher
from plms_pipeline.runs.service.settler import Settler
from plms_pipeline.runs.service.world import Worlds
from plms_pipeline.settings import Settings


@dataclass
class Opened:
    """Settings, registry and clock, and what is made of them when it is asked for."""

    settings: Settings
    registry: Registry
    clock: Clock

    @cached_property
    def client(self) -> PasClient:
        """The client of the executor."""
        return pas_client(self.settings)

    @cached_property
    def worlds(self) -> Worlds:
        """What is known about the world."""
        return Worlds(self.settings, self._client)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Hands over what is due."""
        return Dispatcher(self.settings, self.registry, self.clock, self._client)

    @cached_property
    def settler(self) -> Settler:
        """Settles what ended."""
        return Settler(self.settings, self.registry, self.clock, self._client)

    @cached_property
    def retrier(self) -> Retrier:
        """Tries again what failed in passing."""
        return Retrier(self.settings, self.registry, self.clock, self.worlds.gathered, self.dispatcher.stopped)

    def steps(self) -> tuple[Callable[[], object], ...]:
        """What whoever waits for a run does meanwhile."""
        return (self.dispatcher.tick, self.settler.look, self.settler.tick)

    @property
    def _client(self) -> Callable[[], PasClient]:
        return lambda: self.client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the executor's connections."""
        if "client" in self.__dict__:
            self.client.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Everything, closed when the block ends.

    Raises:
        Unavailable: the registry is away or not at the newest revision.
    """
    with opening.opened(settings) as registry:
        found = Opened(settings, registry, SystemClock())
        try:
            yield found
        finally:
            found.close()
