"""What is there to do behind the answers, and how often is it looked for?

What concerns the books is the work of a process beside the web processes (`worker.py`). What a web process itself must know or
write down is done by threads of its own (`web_works.py`), and costs them next to nothing; it is apart from this, because it
knows the routes, whose import would take the other process a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from plms_pipeline.clock import Clock
from plms_pipeline.pas.client import PasClient
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.letters.service import Retrier
from plms_pipeline.runs.service.budgets import BudgetWatch
from plms_pipeline.runs.service.dispatcher import Dispatcher
from plms_pipeline.runs.service.settler import LONGEST_REST_S, Settler
from plms_pipeline.runs.service.world import Worlds
from plms_pipeline.runs.stopping.actions import STOPPED
from plms_pipeline.runs.stopping.service import LOOK_EVERY_S, StopWatch
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.service.background import Work

if TYPE_CHECKING:
    from plms_pipeline.alerts.service import Alerts

# A burst of starts is one look at what is due, not one for each; nobody waits for these milliseconds.
GATHER_S = 0.01
CLOSE_EVERY_S = 15.0
RECONCILE_EVERY_S = 15.0
# The first wait of a dead letter is one second at most.
LETTERS_EVERY_S = 1.0
# Each source of readings says for itself how often it is looked at; this is how soon its turn is noticed.
ALERTS_EVERY_S = 5.0
SEND_EVERY_S = 1.0
NEW_CHANNELS = "send to new channels"


def works_of_the_books(
    settings: Settings, registry: Registry, clock: Clock, pas: Callable[[], PasClient], watch: StopWatch
) -> tuple[Work, ...]:
    """Settle what arrived, dispatch what is due, find what was never told, try again what failed, look at
    the money of projects, close what ended."""
    dispatcher = Dispatcher(settings, registry, clock, pas, {STOPPED: watch.reason})
    settler = Settler(settings, registry, clock, pas)
    worlds = Worlds(settings, pas)
    budgets = BudgetWatch(settings, registry, clock)
    retrier = Retrier(settings, registry, clock, worlds.gathered, dispatcher.stopped)
    return (
        Work("settle", lambda: settler.tick().did_something, wakes=("dispatch",), rest_s=LONGEST_REST_S),
        Work("dispatch", lambda: dispatcher.tick().did_something, gather_s=GATHER_S),
        Work(
            "reconcile",
            lambda: settler.reconcile().did_something,
            wakes=("settle", "dispatch"),
            idle_s=min(RECONCILE_EVERY_S, settings.reconcile_after_s),
        ),
        Work("letters", lambda: retrier.tick().did_something, wakes=("dispatch",), idle_s=LETTERS_EVERY_S),
        Work("budget", budgets.step, wakes=("dispatch",), idle_s=settings.budget_check_s),
        Work("close", lambda: bool(settler.close_due()), idle_s=CLOSE_EVERY_S),
        look_at_switch(watch),
    )


def works_of_alerts(alerts: Alerts | None, settings: Settings) -> tuple[Work, ...]:
    """Look at what rules look at, and send what is owed: each channel by itself, so that one that hangs delays no other."""
    if alerts is None:
        return ()

    def sending(channel: str) -> Callable[[], bool]:
        def send() -> bool:
            made = alerts.deliver(channel)
            return bool(made) and made[-1].outcome == "sent"

        return send

    begun = alerts.channels

    def send_new() -> bool:
        sent = [sending(name)() for name in alerts.channels if name not in begun]
        return any(sent)

    channels = (*(f"send-{name}" for name in begun), NEW_CHANNELS)
    every_s = min(ALERTS_EVERY_S, settings.budget_check_s)
    return (
        # What did something is done again at once, and finds that nothing is due: the senders are woken in between.
        Work("alerts", lambda: alerts.evaluate().did_something, wakes=channels, idle_s=every_s),
        *(Work(f"send-{name}", sending(name), idle_s=SEND_EVERY_S) for name in begun),
        # Those that a file has named since this process began share one thread until it begins anew.
        Work(NEW_CHANNELS, send_new, idle_s=SEND_EVERY_S),
    )


def look_at_switch(watch: StopWatch) -> Work:
    """Ask whether the kill switch was pulled."""
    return Work("killswitch", watch.step, idle_s=LOOK_EVERY_S)
