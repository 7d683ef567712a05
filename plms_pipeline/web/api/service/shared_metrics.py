"""Through which folder do several workers add up what they count?

prometheus_client wants a folder that is new for each server, and names it by an environment variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plms_pipeline.web.api.service.own_folder import own_folder, told

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name
PREFIX = "plms-metrics-"


@contextmanager
def shared_metrics() -> Iterator[Path]:
    """A new folder, named by the environment before the workers import anything, and removed at the end."""
    with own_folder(PREFIX) as folder, told(FOLDER_VARIABLE, str(folder)):
        yield folder
