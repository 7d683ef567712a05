"""Through which folder do several workers add up what they count?

prometheus_client wants a folder that is new for each server, and names it by an environment variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plms_pipeline.instance.process import lives
from plms_pipeline.web.api.metrics import forget
from plms_pipeline.web.api.service.own_folder import own_folder, told

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name
PREFIX = "plms-metrics-"
_LIVING = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


@contextmanager
def shared_metrics() -> Iterator[Path]:
    """A new folder, named by the environment before the workers import anything, and removed at the end."""
    with own_folder(PREFIX) as folder, told(FOLDER_VARIABLE, str(folder)):
        yield folder


def forget_dead_workers() -> list[int]:
    """Leave out of the gauges what workers had that are gone; who they were.

    Each worker does so when it begins: one that begins later may do so in place of one that died.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    found = [] if folder is None else [_LIVING.fullmatch(entry.name) for entry in Path(folder).iterdir()]
    dead = sorted({int(match[1]) for match in found if match is not None and not lives(int(match[1]))})
    for pid in dead:
        forget(pid)
    return dead
