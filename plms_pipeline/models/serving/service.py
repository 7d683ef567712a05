"""How does one process keep serving the right model?

A thread asks the registry every second who is to serve, and reads a new champion while the old one goes on answering; then one
reference changes, so that every answer is of one model or of the other. A champion that cannot be verified is told (gauge and
/health) and never served; the one before it stays. The files of the one that serves are verified again now and then: it goes on
from memory whatever becomes of them, but somebody should know before the next restart. When the registry is away, who served
goes on serving: an outage of the books is no reason for an outage of the answers. The same thread adds to the registry what was
counted, and once more when the server ends.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, PlmsError, Unavailable
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig, with_caps
from plms_pipeline.models.records import MARKET, Switch
from plms_pipeline.models.serving import files
from plms_pipeline.models.serving.actions import Standing, standing, write_minutes
from plms_pipeline.models.serving.health import Unverified
from plms_pipeline.models.serving.judging import Judged, in_force
from plms_pipeline.models.serving.limits import caps_of_experiment, configured
from plms_pipeline.models.serving.metrics import ServingMetrics
from plms_pipeline.models.serving.minutes import Counts, added, answered, minute_of
from plms_pipeline.models.serving.past import past_of
from plms_pipeline.models.serving.served import Entry, History, Served
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings

WRITE_EVERY_S: Final = 10.0
# What could not be verified is looked at again: somebody may have restored the file.
AGAIN_AFTER_S: Final = 10.0
VERIFY_EVERY_S: Final = 60.0
# An outage is told when it begins, once a minute, and when it ends.
TELL_EVERY_S: Final = 60.0
# A look takes milliseconds; a database that neither answers nor refuses is as good as away.
SILENT_AFTER_S: Final = 15.0
ENDS_WITHIN_S: Final = 10.0
MOST_SNAPSHOTS: Final = 4
_BAD_REQUEST: Final = BadInput.default_http_status
_UNAVAILABLE: Final = Unavailable.default_http_status
_log = logging.getLogger(__name__)


class ModelServer:
    """The champion of one family, and what is counted of it. Safe to share between threads.

    Args:
        settings: validated once.
        registry: open, at head.
        clock: the present moment.
        metrics: the series of this process.

    Raises:
        BadInput: the settings name limits that nothing can be compared with.
    """

    def __init__(self, settings: Settings, registry: Registry, clock: Clock, metrics: ServingMetrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self._limits = configured(settings)
        self._registry = registry
        self._clock = clock
        self._served: Served | None = None
        self._switch = Switch(MARKET)
        self._refused: Unverified | None = None
        self._unread: PlmsError | None = None
        self._verified_s = self._told_s = -math.inf
        self._looked_s = time.monotonic()
        self._turn = threading.Lock()
        self._snapshots: dict[tuple[str, tuple[str, ...]], History] = {}
        self._reading = threading.Lock()
        self._book: dict[datetime, Counts] = {}
        self._book_turn = threading.Lock()
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="plms-model-watch", daemon=True)

    @property
    def served(self) -> Served | None:
        """The model that answers now."""
        return self._served

    @property
    def switch(self) -> Switch:
        """Whether guardrails are on, as it was last read."""
        return self._switch

    @property
    def refused(self) -> Unverified | None:
        """The promoted model that could not be verified, or no longer can, if that is so."""
        return self._refused

    @property
    def unread(self) -> PlmsError | None:
        """Why the registry could not be read the last time, or that it has not answered for long; None when it did."""
        silent_s = time.monotonic() - self._looked_s
        if self._unread is None and self._thread.is_alive() and silent_s > SILENT_AFTER_S + self.settings.model_watch_s:
            return Unavailable(
                f"It has not answered for {silent_s:.0f} s; look at the database and the way to it.",
                code="registry_silent",
            )
        return self._unread

    def now(self) -> datetime:
        """The present, aware."""
        return self._clock.now()

    def required(self, served: Served | None) -> Served:
        """The model of a request.

        Raises:
            Unavailable: there is none.
        """
        if served is not None:
            return served
        if self._refused is not None:
            raise Unavailable(
                f"The promoted model cannot be verified ({self._refused.error.code}); restore its files, or go back to the one "
                "before it with `plms model rollback`.",
                code="model_not_verified",
            )
        raise Unavailable("No model was promoted yet; `plms model list` shows what waits.", code="no_champion")

    def limits(self, served: Served | None) -> GuardrailConfig:
        """The guardrails in force: of settings, the model's experiment and the caps of its approval the strictest."""
        if served is None:
            return in_force(self._limits, {}, self._switch)
        trained = with_caps(self._limits, caps_of_experiment(served.experiment.guardrails))
        return in_force(trained, served.entry.caps, self._switch)

    def snapshot(self, served: Served, digest: str | None) -> History:
        """The history to lay new bars over: that of the champion, or another snapshot by its hash.

        Raises:
            Conflict: it holds other bars than its name says, or is damaged.
        """
        if digest is None or digest == served.entry.data_sha256:
            return History(served.history, served.past)
        key = (digest, served.model.features)
        # One at a time: many requests for a large snapshot would otherwise read it as many times at once.
        with self._reading:
            kept = self._snapshots.get(key)
            if kept is None:
                bars = files.history(self.settings.data_dir, digest)
                if bars is None:
                    return History()
                kept = History(bars, past_of(bars, served.model.features))
                newest = list(self._snapshots.items())[1 - MOST_SNAPSHOTS :]
                self._snapshots = {**dict(newest), key: kept}
        return kept

    def look(self, *, again: bool = False) -> None:
        """Ask the registry who is to serve, and put that model to work if it is another.

        Args:
            again: try a model that could not be verified at once, and raise what keeps it from being read.

        Raises:
            PlmsError: with `again` only: the registry is away, or the champion cannot be verified.
        """
        with self._turn:
            try:
                found = standing(self._registry, MARKET)
                self._looked_s = time.monotonic()
            except PlmsError as error:
                self._looked_s = time.monotonic()
                self._tell_unread(error)
                if again:
                    raise
                return
            if self._unread is not None:
                _log.warning("event=registry_read_again")
            self._unread = None
            self._take(found, again=again)

    def reload(self, model_sha256: str | None) -> Served:
        """Load the current champion now.

        Args:
            model_sha256: what the sender expects it to be, if anything.

        Raises:
            Conflict: the champion is another model, its bytes are not those that were decided about, or no model.
            Unavailable: nothing was promoted, or the registry is away.
            PlmsError: the champion cannot be read.
        """
        champion = None if model_sha256 is None else standing(self._registry, MARKET).champion
        if model_sha256 is not None and champion is not None and model_sha256 != champion.version.model_sha256:
            raise Conflict(
                f"{model_sha256[:12]}… is not the promoted model, which is {champion.version.model_sha256[:12]}…; only what "
                "was approved and promoted is loaded. Promote it first.",
                code="not_promoted",
            )
        self.look(again=True)
        return self.required(self._served)

    def answered(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        now = self._clock.now()
        self.metrics.answered(endpoint, method, status, seconds, now.timestamp())
        if status == _UNAVAILABLE and self._served is None and self._refused is None and self._unread is None:
            # Before anything was promoted nothing is promised; counted as failures, these would hold the first promotion back.
            return
        counts = answered(endpoint, status, seconds)
        if counts is not None:
            self._add({minute_of(now): counts})

    def judged(self, found: Judged) -> None:
        """Count one book."""
        self.metrics.judged(found.trades, found.violations, enforced=found.enforced, scaled=found.scaled)
        if found.enforced and found.trades:
            counts = Counts(trades_evaluated=found.trades, violations=sum(found.violations.values()))
            self._add({minute_of(self._clock.now()): counts})

    def start(self) -> None:
        """Look once, then keep looking in a thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and write what was counted; a registry that does not answer holds nobody up for long."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(ENDS_WITHIN_S)
        if self._thread.is_alive():
            _log.error("event=minutes_lost code=registry_silent minutes=%d", len(self._book))
            return
        self.write()
        if self._book:
            _log.error("event=minutes_lost code=registry_not_written minutes=%d", len(self._book))

    def write(self) -> None:
        """Add what was counted to the registry; kept for later when it is away."""
        with self._writing:
            with self._book_turn:
                book, self._book = self._book, {}
            try:
                write_minutes(self._registry, MARKET, book)
            except PlmsError as error:
                _log.warning("event=minutes_not_written code=%s minutes=%d", error.code, len(book))
                self._add(book)

    def _add(self, more: Mapping[datetime, Counts]) -> None:
        with self._book_turn:
            self._book = added(self._book, more)

    def _keep(self) -> None:
        written = time.monotonic()
        while not self._stopping.wait(self.settings.model_watch_s):
            try:
                self.look()
                if time.monotonic() - written >= WRITE_EVERY_S:
                    written = time.monotonic()
                    self.write()
            except Exception:  # noqa: BLE001 - a bug in one look must not end all others
                _log.exception("event=watch_failed")

    def _take(self, found: Standing, *, again: bool) -> None:
        self._switch = found.switch
        champion = found.champion
        now = self._clock.now().timestamp()
        self.metrics.looked(now, promoted=champion.sequence if champion else 0, enabled=found.switch.enabled)
        if champion is None:
            self._refused = None
        elif again or self._is_due(champion):
            self._load(champion, raises=again)
        self.metrics.verified(is_verified=self._refused is None)

    def _is_due(self, champion: Entry) -> bool:
        before = self._refused
        if before is not None:
            return before.entry != champion or time.monotonic() - before.tried_s >= AGAIN_AFTER_S
        return not self._serves(champion) or time.monotonic() - self._verified_s >= VERIFY_EVERY_S

    def _serves(self, champion: Entry) -> bool:
        return self._served is not None and self._served.entry == champion

    def _load(self, champion: Entry, *, raises: bool) -> None:
        try:
            served = self._read(champion)
        except PlmsError as error:
            self._refuse(champion, error)
            if not raises:
                return
            if error.http_status == _BAD_REQUEST:
                # Nothing that was sent is wrong.
                raise Conflict(error.message, code=error.code) from None
            raise
        is_new = not self._serves(champion)
        self._refused, self._served, self._verified_s = None, served, time.monotonic()
        if is_new:
            self.metrics.serves(champion.sequence, served.figures)
            _log.info("event=model_served candidate=%s sequence=%d", champion.version.candidate_id, champion.sequence)

    def _read(self, champion: Entry) -> Served:
        """The champion, verified: read anew, or as it is in memory when its files still are what they were."""
        kept = self._served
        try:
            if kept is not None and kept.entry == champion and kept.history is not None:
                files.verify(champion, self.settings.data_dir)
                return kept
            served = files.load(champion, self.settings.data_dir)
            # A cap that names nothing would be met with each request.
            self.limits(served)
        except PlmsError:
            raise
        except Exception as error:
            _log.exception("event=model_not_read candidate=%s", champion.version.candidate_id)
            raise Conflict(
                f"Reading {champion.folder} failed with {type(error).__name__}; the log of the server has it.",
                code="model_unreadable",
            ) from error
        return served

    def _refuse(self, champion: Entry, error: PlmsError) -> None:
        before = self._refused
        self._refused = Unverified(champion, time.monotonic(), error)
        self.metrics.verified(is_verified=False)
        if before is None or (before.entry, before.error.code) != (champion, error.code):
            _log.error(
                "event=model_not_verified candidate=%s sequence=%d code=%s why=%r",
                champion.version.candidate_id, champion.sequence, error.code, error.message,
            )  # fmt: skip

    def _tell_unread(self, error: PlmsError) -> None:
        now = time.monotonic()
        if self._unread is None or self._unread.code != error.code or now - self._told_s >= TELL_EVERY_S:
            self._told_s = now
            _log.warning("event=registry_not_read code=%s why=%r", error.code, error.message)
        self._unread = error
