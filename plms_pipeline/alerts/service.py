"""What does a process that evaluates and delivers alerts hold in its hands?

Rules, people and channels are read when the process begins, so a mistake is found there, and again before an evaluation when
a file has changed; one that makes no sense then changes nothing, and is shown as a source that is not read. The Dagster sensors
and `plms serve` use the same parts; which of them evaluates, and how many at once, does not matter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import uuid4

from plms_pipeline.alerts.actions.delivering import POLICY, Desk, Made, deliver, free_from_dead, try_anew
from plms_pipeline.alerts.actions.evaluating import Engine, Evaluated, evaluate
from plms_pipeline.alerts.actions.opening import Rulebook
from plms_pipeline.alerts.looking import Asked, Seen, Source
from plms_pipeline.alerts.sources.listed import sources_of_the_books
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput
from plms_pipeline.instance.process import holder_of, is_dead
from plms_pipeline.notify.client import Notifier
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

TICK_S = 15.0
# Under this name it is told whether the files that are there are those that count.
FILES = "alert_files"
FILES_EVERY_S = 60.0


class Alerts:
    """Evaluates and delivers; safe to share between threads.

    Args:
        settings: of this process.
        registry: open, at head.
        clock: what time it is.
        also: sources that only this process can look at.
        book: the rules that count in this process; None: those that the files hold.

    Raises:
        BadInput: the rules or the file of people on call make no sense.
    """

    def __init__(
        self, settings: Settings, registry: Registry, clock: Clock, *, also: Sequence[Source] = (),
        book: Rulebook | None = None,
    ) -> None:  # fmt: skip
        self.book = book or Rulebook(settings)
        rules, routing = self.book.rules, self.book.routing
        self.notifier = Notifier(monotonic_s=time.monotonic)
        sources = (Source(FILES, self._look_at_files, FILES_EVERY_S), *sources_of_the_books(settings), *also)
        self.engine = Engine(registry, settings, clock, rules, routing, sources)
        self.desk = Desk(
            registry, clock, dict(routing.channels), self.notifier.send, holder_of(os.getpid()) + f":{uuid4().hex[:6]}",
            _is_gone, replace(POLICY, max_attempts=settings.alert_attempts),
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
        """Look at what is due, by the files as they are now; take back what dead senders held, and owe again what a person
        wants tried anew."""
        was_refused = self.book.refused
        if self.book.refresh():
            self.engine = replace(self.engine, rules=self.book.rules, routing=self.book.routing)
            self.desk = replace(self.desk, channels=dict(self.book.routing.channels))
        if self.book.refused != was_refused:
            evaluate(self.engine, only=(FILES,), is_forced=True)
        done = evaluate(self.engine, only=only)
        free_from_dead(self.desk)
        try_anew(self.desk)
        for name in set(self.due()) - set(self.desk.channels):
            # Its secret is gone: what waits becomes a dead letter, instead of waiting for ever.
            deliver(self.desk, channels=[name])
        return done

    def _look_at_files(self, _asked: Asked) -> Seen:
        if self.book.refused is not None:
            raise BadInput(f"{self.book.refused} What was read last goes on to count.", code="bad_rules")
        return Seen()

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
