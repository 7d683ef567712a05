"""What does a process that evaluates and delivers alerts hold in its hands?

Rules, people and channels are read when the process begins, so a mistake is found there. The Dagster sensors and `plms
serve` use the same parts; which of them evaluates, and how many at once, does not matter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from uuid import uuid4

from plms_pipeline.alerts import files
from plms_pipeline.alerts.actions.delivering import Desk, Made, deliver, free_from_dead, try_anew
from plms_pipeline.alerts.actions.evaluating import Engine, Evaluated, evaluate
from plms_pipeline.alerts.actions.opening import routing_of
from plms_pipeline.alerts.looking import Source
from plms_pipeline.alerts.sources.listed import sources_of_the_books
from plms_pipeline.clock import Clock
from plms_pipeline.instance.process import holder_of, is_dead
from plms_pipeline.letters.rules import Policy
from plms_pipeline.notify.client import Notifier
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

TICK_S = 15.0


class Alerts:
    """Evaluates and delivers; safe to share between threads.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
        also: sources that only this process can look at.

    Raises:
        BadInput: the rules or the file of people on call make no sense.
    """

    def __init__(self, settings: Settings, registry: Registry, clock: Clock, *, also: Sequence[Source] = ()) -> None:
        rules = files.load_rules(settings)
        routing = routing_of(settings, rules)
        self.notifier = Notifier(monotonic_s=time.monotonic)
        self.engine = Engine(registry, settings, clock, rules, routing, (*sources_of_the_books(settings), *also))
        self.desk = Desk(
            registry, clock, dict(routing.channels), self.notifier.send, holder_of(os.getpid()) + f":{uuid4().hex[:6]}",
            _is_gone, Policy(max_attempts=settings.alert_attempts),
        )  # fmt: skip

    def __enter__(self) -> Alerts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to services."""
        self.notifier.close()

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that are configured."""
        return tuple(self.desk.channels)

    def evaluate(self, only: Collection[str] | None = None) -> Evaluated:
        """Look at what is due; take back what dead senders held, and owe again what a person wants tried anew."""
        done = evaluate(self.engine, only=only)
        free_from_dead(self.desk)
        try_anew(self.desk)
        for name in set(self.due()) - set(self.desk.channels):
            # Its secret is gone: what waits becomes a dead letter, instead of waiting for ever.
            deliver(self.desk, channels=[name])
        return done

    def deliver(self, channel: str | None = None) -> list[Made]:
        """Send what is due over one channel, or over all of them for a while."""
        if channel is not None:
            return deliver(self.desk, channels=[channel])
        until_s, found = time.monotonic() + TICK_S, list[Made]()
        for name in self.due():
            while time.monotonic() < until_s:
                made = deliver(self.desk, channels=[name], limit=1)
                found += made
                if not made or made[0].outcome == "later":
                    break
        return found

    def due(self) -> list[str]:
        """Channels over which something is to be sent, configured or not."""
        from plms_pipeline.alerts.store.deliveries import channels_due

        with self.desk.registry.reading() as session:
            return channels_due(session, self.desk.clock.now())


def _is_gone(holder: str) -> bool:
    """Whether the process behind a holder (`host:pid:started:…`) is gone."""
    return is_dead(holder.rpartition(":")[0])
