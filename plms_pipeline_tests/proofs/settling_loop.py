"""What the daemon does for runs, in one small process that a proof may kill: settle, compare, hand over, close; for ever.

Ten times as often as the daemon, because the executor's clock runs faster too; comparing, which asks about every run, less
often than the rest, as there."""

from __future__ import annotations

import contextlib
import logging
import time

from plms_pipeline.errors import PlmsError
from plms_pipeline.runs.service.opening import opened
from plms_pipeline.settings import load_settings

EVERY_S = 0.5
COMPARE_EVERY_S = 3.0


def main() -> None:
    """Tick until killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with opened(load_settings()) as world:
        compared_s = 0.0
        while True:
            with contextlib.suppress(PlmsError):
                world.settler.tick()
                if time.monotonic() - compared_s > COMPARE_EVERY_S:
                    compared_s = time.monotonic()
                    world.settler.reconcile()
                world.dispatcher.tick()
                world.settler.close_due()
            time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
