"""How does a process get its client of the executor?

The machine's clock, sleep and dice are put into `PasClient` here and nowhere else.
"""

from __future__ import annotations

import random
import time

from plms_pipeline.pas.client import PasClient
from plms_pipeline.settings import Settings


def pas_client(settings: Settings) -> PasClient:
    """A client of the executor that the settings name. One per process: the circuit breaker learns from every call."""
    return PasClient(
        settings.pas_url,
        sleep=time.sleep,
        chance=random.random,
        monotonic_s=time.monotonic,
        token=settings.pas_token,
        timeout_s=settings.pas_timeout_s,
        dialect=settings.pas_dialect,
    )
