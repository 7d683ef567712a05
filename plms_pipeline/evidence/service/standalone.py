"""How does an observer run by itself, until it is stopped?"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

from plms_pipeline.clock import Clock
from plms_pipeline.evidence.actions.observing import Watch, end_pending
from plms_pipeline.evidence.metrics import ObserverMetrics, expose
from plms_pipeline.evidence.obligations import evidence_config
from plms_pipeline.evidence.process import observer_name
from plms_pipeline.evidence.service.observer import Observer
from plms_pipeline.evidence.service.thread import beside
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings


def observe_until_stopped(
    settings: Settings,
    registry: Registry,
    clock: Clock,
    *,
    seconds: float | None,
    metrics_port: int | None,
    on_ready: Callable[[str], None],
) -> dict[str, int]:
    """Observe until SIGINT, SIGTERM, or the time is over; how many ended by reason.

    Raises:
        BadInput: the settings do not say where evidence lies.
    """
    metrics = ObserverMetrics()
    observer = Observer(settings, registry, clock, metrics=metrics)
    over = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        over.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with ExitStack() as stack:
            if metrics_port is not None:
                stack.callback(expose(metrics, metrics_port))
            stack.enter_context(beside(observer))
            on_ready(observer.observer_id)
            over.wait(seconds)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return metrics.counted()


def cancel_pending(settings: Settings, registry: Registry, clock: Clock) -> int:
    """End everything that waits as cancelled; how many."""
    watch = Watch(
        registry,
        clock,
        evidence_config(settings),
        observer_name(),
        lambda: time.monotonic() * 1000,
        lambda _lines: None,
    )
    return end_pending(watch, "cancelled", limit=200)
