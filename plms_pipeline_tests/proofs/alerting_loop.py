"""One more process that evaluates and delivers alerts, which a proof may kill: look, tell, for ever."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping

from plms_pipeline.alerts.looking import Source
from plms_pipeline.alerts.service import Alerts
from plms_pipeline.alerts.sources import work
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import PlmsError
from plms_pipeline.notify.client import Notifier
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings

REST_S = 0.02


def loop(environ: Mapping[str, str]) -> None:
    """Tick until killed. Only what the proof moves is looked at, at every tick."""
    os.environ.clear()
    os.environ.update(environ)
    settings = load_settings()
    registry = Registry.open(settings.database_url)
    alerts = Alerts(settings, registry, SystemClock())
    object.__setattr__(alerts.engine, "sources", (Source("gates", work.gates, 0.0),))
    # A service that is merely slow because the machine is busy must not look as if it had not answered.
    patient = Notifier(monotonic_s=time.monotonic, timeout_s=30.0, longest_s=40.0)
    object.__setattr__(alerts.desk, "send", patient.send)
    while True:
        with contextlib.suppress(PlmsError):
            alerts.evaluate()
            for channel in alerts.channels:
                alerts.deliver(channel)
        time.sleep(REST_S)
