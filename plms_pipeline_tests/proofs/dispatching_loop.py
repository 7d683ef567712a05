"""One more dispatcher, in a small process that a proof may kill: hand over what is due; for ever."""

from __future__ import annotations

import contextlib
import logging
import time

from plms_pipeline.errors import PlmsError
from plms_pipeline.runs.service.opening import opened
from plms_pipeline.settings import load_settings


def main() -> None:
    """Tick until killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with opened(load_settings()) as world:
        while True:
            with contextlib.suppress(PlmsError):
                world.dispatcher.tick()
            time.sleep(0.2)


if __name__ == "__main__":
    main()
