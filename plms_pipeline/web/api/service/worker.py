"""Who settles and dispatches while the web processes of `plms serve` answer?

One process beside them. As threads of the web process, which the first version had, they share its interpreter with the event
loop: whatever a start left to do then kept the next request waiting, and one answer in a hundred took 75 ms instead of eight.
It begins with `plms serve`, ends with it however that ends, and is started again when it dies (`web/process.py` keeps it); it
has no state of its own, so what a killed one left undone the next one finds in the rows.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from plms_pipeline.clock import Clock, SystemClock
from plms_pipeline.errors import PlmsError
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline.web.api.service import bell
from plms_pipeline.web.api.service.background import Background
from plms_pipeline.web.api.service.own_folder import own_folder
from plms_pipeline.web.process import ChildSpec, Keeper

if TYPE_CHECKING:
    from plms_pipeline.alerts.service import Alerts
    from plms_pipeline.registry.engine import Registry

PREFIX = "plms-serve-"
STOP_S = 10.0
# The worker ends by itself within STOP_S; only one that hangs is killed.
GRACE_S = STOP_S + 2.0
LOOK_EVERY_S = 1.0
_log = logging.getLogger(__name__)


@contextmanager
def worker_beside() -> Iterator[Path]:
    """A worker process while the block runs, with the environment of this one; the pipe that it hears.

    Who keeps it is itself looked after: killed, it takes the worker along, and both are started again.
    """
    with own_folder(PREFIX) as folder:
        path = bell.make(folder)
        spec = ChildSpec("background", [sys.executable, "-m", __name__, str(path)], log_file=None, may_ask_below=False)

        def start() -> Keeper:
            return Keeper([spec], os.environ, str(folder), GRACE_S)

        done = threading.Event()
        kept = [start()]
        watch = threading.Thread(target=_watch, args=(kept, start, done), name="plms-worker-watch", daemon=True)
        watch.start()
        try:
            yield path
        finally:
            done.set()
            watch.join()
            kept[0].stop()


def _watch(kept: list[Keeper], start: Callable[[], Keeper], done: threading.Event) -> None:
    while not done.wait(LOOK_EVERY_S):
        if not kept[0].is_alive():
            _log.error("event=keeper_gone the background process is started again")
            kept[0].stop()
            kept[0] = start()


class _Asked(BaseException):
    """Somebody asked this process to end."""


def main(path: Path) -> None:
    """Work until SIGTERM or SIGINT."""
    # Here, and not for whoever only keeps this process.
    from plms_pipeline.pas.service import pas_client
    from plms_pipeline.registry.engine import Registry
    from plms_pipeline.runs.stopping.service import watching
    from plms_pipeline.web.api.service.works import works_of_alerts, works_of_the_books

    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        # Once: a second one must not tear the end of the first apart.
        if not asked:
            asked.append(number)
            raise _Asked

    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
    clock, pas = SystemClock(), cache(lambda: pas_client(settings))
    with ExitStack() as at_the_end:
        registry = Registry.open(settings.database_url)
        at_the_end.callback(registry.close)
        watch = at_the_end.enter_context(watching(settings, clock, pas))
        alerts = _alerts(settings, registry, clock)
        if alerts is not None:
            at_the_end.callback(alerts.close)
        works = (*works_of_the_books(settings, registry, clock, pas, watch), *works_of_alerts(alerts, settings))
        background = Background(works)
        at_the_end.callback(background.stop, STOP_S)
        with suppress(_Asked):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, ask)
            background.start()
            for names in bell.heard(path):
                background.nudge(*names)


def _alerts(settings: Settings, registry: Registry, clock: Clock) -> Alerts | None:
    """The alert engine; None when not even the shipped files can be used: without it cards still go out and books are kept.

    `plms serve` refuses files that make no sense before it begins; a worker that is started anew has nobody to tell.
    """
    from plms_pipeline.alerts.actions.opening import Rulebook
    from plms_pipeline.alerts.service import Alerts

    try:
        return Alerts(settings, registry, clock, book=Rulebook(settings, or_shipped=True))
    except PlmsError as error:
        _log.error("event=alerts_off code=%s detail=%s", error.code, error.message)
        return None


if __name__ == "__main__":
    # As in `plms`: of what an import makes nothing is garbage.
    gc.set_threshold(20_000, 20, 20)
    atexit.register(gc.freeze)
    main(Path(sys.argv[1]))
