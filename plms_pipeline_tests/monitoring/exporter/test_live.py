"""Does `plms exporter` answer as a process, also while its registry is away?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from plms_pipeline.settings import Settings

pytestmark = pytest.mark.live
PLMS = [sys.executable, "-m", "plms_pipeline.cli", "exporter"]


def environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLMS_", "DAGSTER_", "REDIS_"))}
    return {
        # The machine of the tests may be busy for longer than a scrape waits.
        "PLMS_EXPORTER_TIMEOUT_S": "60",
        **kept,
        "PLMS_DATA_DIR": str(settings.data_dir),
        "PLMS_REPORTS_DIR": str(settings.reports_dir),
    }


@pytest.fixture
def url(settings: Settings, sqlite_registry_url: str) -> Iterator[str]:
    with subprocess.Popen(
        [*PLMS, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, env=environment(settings)
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_registry_that_goes_and_comes_back_is_told(url: str, settings: Settings) -> None:
    """Otherwise the exporter dies with the registry, or tells of it as it was, just when somebody needs to know."""
    file, aside = settings.data_dir / "registry.db", settings.data_dir / "aside.db"
    page = httpx.get(url, timeout=90).text
    assert "plms_registry_up 1.0" in page
    assert "plms_exporter_up 1.0" in page
    assert 'plms_runs{status="FAIL"} 0.0' in page
    file.rename(aside)
    began = time.monotonic()
    page = httpx.get(url, timeout=90).text
    assert time.monotonic() - began < 15
    assert "plms_registry_up 0.0" in page
    assert "plms_exporter_up 0.0" in page
    assert "plms_runs" not in page
    assert "plms_disk_free_bytes" in page
    aside.rename(file)
    assert "plms_registry_up 1.0" in httpx.get(url, timeout=90).text


def test_once_prints_one_page(settings: Settings, sqlite_registry_url: str) -> None:
    """Otherwise there is no way to look at a figure without a server."""
    done = subprocess.run(
        [*PLMS, "--once"], capture_output=True, text=True, check=True, env=environment(settings)
    )  # fmt: skip
    assert "plms_registry_up 1.0" in done.stdout
    assert done.stdout.endswith("\n")
    assert done.stderr == ""
