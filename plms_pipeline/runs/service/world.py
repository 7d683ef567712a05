"""What does this process know about the world when a run starts?

The executor's providers and capabilities change rarely and a start must not wait for a network: they are asked for once and
again when they are older than a minute. When the executor is away the last answer holds for an hour; after that a start falls
back on what the registry has. Which providers really served is checked after the submission, by a snapshot.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plms_pipeline.errors import PlmsError
from plms_pipeline.pas.client import PasClient
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.process import environment
from plms_pipeline.settings import Settings

log = logging.getLogger(__name__)
FRESH_S = 60.0
USABLE_S = 3600.0
# A process that just failed to reach the executor does not make the next start wait for it again.
PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Stated:
    providers: dict[str, str]
    capabilities: tuple[str, ...]
    at_s: float


class Worlds:
    """Gives the `PassportWorld` of this process; safe to share between threads.

    Args:
        settings: validated.
        pas: gives the client of the executor.
        monotonic_s: seconds on a clock that never jumps.
    """

    def __init__(
        self, settings: Settings, pas: Callable[[], PasClient], *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._pas, self._monotonic_s = settings, pas, monotonic_s
        self._stated: _Stated | None = None
        self._tried_s: float | None = None
        self._asking = threading.Lock()

    @property
    def is_stale(self) -> bool:
        """Whether the executor should be asked again now."""
        now = self._monotonic_s()
        if self._tried_s is not None and now - self._tried_s < PAUSE_S:
            return False
        return self._stated is None or now - self._stated.at_s > FRESH_S

    @property
    def is_at_hand(self) -> bool:
        """Whether `at_hand` would ask nobody: the executor has answered, or it was away a moment ago."""
        return self._stated is not None or not self.is_stale

    def refresh(self) -> None:
        """Ask the executor; while another thread asks, what is known stands. Only the very first answer is waited for."""
        if not self._asking.acquire(blocking=self._tried_s is None):
            return
        try:
            if not self.is_stale:
                return
            pas = self._pas()
            providers, capabilities = pas.provider_state().providers, pas.health().capabilities
            self._stated = _Stated(dict(providers), tuple(capabilities), self._monotonic_s())
        except PlmsError as error:
            log.warning("providers_unknown code=%s", error.code)
        finally:
            self._tried_s = self._monotonic_s()
            self._asking.release()

    def now(self) -> PassportWorld:
        """What is known now, without asking anybody."""
        commit, python_version, system = environment()
        stated: Any = self._stated
        if stated is not None and self._monotonic_s() - stated.at_s > USABLE_S:
            stated = None
        return PassportWorld(
            git_commit=self._settings.git_commit or commit,
            python_version=python_version,
            os=system,
            providers=None if stated is None else stated.providers,
            capabilities=None if stated is None else stated.capabilities,
        )

    def at_hand(self) -> PassportWorld:
        """What is known now; the executor is asked only by the first who wants to know, or when it was away until now.

        Whoever works in the background calls `refresh`, so that no request waits for it.
        """
        if not self.is_at_hand:
            self.refresh()
        return self.now()

    def gathered(self) -> PassportWorld:
        """What is known now, after asking the executor if that is due."""
        if self.is_stale:
            self.refresh()
        return self.now()
