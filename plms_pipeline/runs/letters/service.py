"""What does a process that retries dead letters hold in its hands?"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from uuid import uuid4

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.letters.actions.retrying import MOST_LETTERS, Round, retry_due
from plms_pipeline.letters.rules import Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.start import StartPolicy
from plms_pipeline.runs.letters.actions import Retries, asked_by, learn
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.process import lease_holder
from plms_pipeline.settings import Settings


class Retrier:
    """Ticks: each tells letters what came of their retries, and tries again what is due.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
        world: code, interpreter and providers now.
        stopped: the reason of the kill switch, or None.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        clock: Clock,
        world: Callable[[], PassportWorld],
        stopped: Callable[[], str | None],
    ) -> None:
        policy = StartPolicy(timedelta(seconds=settings.idempotency_ttl_seconds), settings.idempotency_keys)
        self._registry, self._clock = registry, clock
        self._retries = Retries(registry, clock, lambda: str(uuid4()), world, stopped, policy)
        self._holder = f"{lease_holder()}:letters:{uuid4().hex[:6]}"

    def tick(self, *, only: Collection[str] | None = None, is_forced: bool = False, limit: int = MOST_LETTERS) -> Round:
        """Do what is due now.

        Args:
            only: just these letters.
            is_forced: also those that wait for their moment.

        Raises:
            Unavailable: the registry is away.
        """
        learn(self._registry, clock=self._clock)
        return retry_due(
            self._registry, clock=self._clock, holder=self._holder, handlers=self._retries.handlers(), only=only,
            is_forced=is_forced, limit=limit,
        )  # fmt: skip

    def retry_now(self, letter: Letter, *, actor: Actor) -> Round:
        """Try one letter again now, because a person asked; that is written down first.

        Raises:
            Unavailable: the registry is away.
        """
        asked_by(self._registry, letter, clock=self._clock, actor=actor)
        return self.tick(only=[letter.letter_id], is_forced=True)
