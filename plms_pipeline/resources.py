"""What do assets, checks and sensors reach the world through?

One Dagster resource that opens settings, registry and clock when an asset body asks for them, so that importing the
definitions touches neither database nor environment; and one IO manager for the small documents that assets hand to the
nightly report. Dagster's default IO manager pickles: no pickle is ever loaded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from plms_pipeline.clock import Clock, SystemClock
from plms_pipeline.errors import BadInput, NoData, PlmsError, Unavailable
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.opening import opened
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.settings import Settings, load_settings

AS_OF_TAG = "plms/as_of"
DOCUMENTS = "documents"


class Plms(dg.ConfigurableResource[Any]):
    """Settings, registry and clock of this process; opened on first use, closed when the run ends."""

    _registry: Registry | None = PrivateAttr(default=None)
    _at_the_end: ExitStack = PrivateAttr(default_factory=ExitStack)

    @cached_property
    def _settings(self) -> Settings:
        return load_settings()

    def settings(self) -> Settings:
        """The validated settings."""
        return self._settings

    def clock(self) -> Clock:
        """The machine's clock."""
        return SystemClock()

    def registry(self) -> Registry:
        """The registry, at head.

        Raises:
            Unavailable: the database is away or not at the newest revision.
        """
        if self._registry is None:
            self._registry = self._at_the_end.enter_context(opened(self.settings()))
        return self._registry

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster's signature
        """Close the registry when the run is over."""
        self._at_the_end.close()
        self._registry = None


class Documents(dg.ConfigurableIOManager):
    """Small JSON documents, one per asset: `$PLMS_DATA_DIR/documents/<asset>.json`, replaced atomically.

    That file is what the last run handed on, which may be a night that was repeated for a past date. A document that says
    `as_of` is therefore also kept as `<asset>.newest.json` until one of the same or a later instant comes: what is read
    outside the night reads this one.
    """

    def _path(self, asset_key: dg.AssetKey) -> Path:
        return load_settings().data_dir / "documents" / f"{'__'.join(asset_key.path)}.json"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the document of an asset; equal documents give equal bytes."""
        path = self._path(context.asset_key)
        text = canonical_json(obj) + "\n"
        _replace(path, text)
        newest = path.with_suffix(".newest.json")
        instant = _instant_of(obj)
        if instant is not None and not _is_later(newest, instant):
            _replace(newest, text)

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the document of an upstream asset.

        Raises:
            NoData: the asset was never materialized here.
        """
        path = self._path(context.asset_key)
        if not path.is_file():
            raise NoData(
                f"The asset {context.asset_key.to_user_string()} has no document at {path}; materialize it first "
                "(`plms nightly` materializes all of them)."
            )
        return json.loads(path.read_text(encoding="utf-8"))


def _replace(path: Path, text: str) -> None:
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))


def _instant_of(document: Any) -> datetime | None:
    """The instant that a document says it holds for, if it says one."""
    try:
        return parse_as_of(document["as_of"])
    except (BadInput, KeyError, TypeError):
        return None


def _is_later(path: Path, instant: datetime) -> bool:
    """Whether a readable document of a later instant lies there."""
    try:
        held = _instant_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False
    return held is not None and held > instant


@contextmanager
def no_retry_for_permanent_errors() -> Iterator[None]:
    """Bad input does not become good by trying again: stop Dagster's retry policy for it, keep it for outages."""
    try:
        yield
    except Unavailable:
        raise
    except PlmsError as error:
        raise dg.Failure(description=f"{error.code}: {error.message}", allow_retries=False) from error


def as_of(context: Any, clock: Clock) -> datetime:
    """The one instant of a run: its tag `plms/as_of` (ISO 8601 with a zone), else now.

    Raises:
        BadInput: the tag is no aware ISO moment.
    """
    tag = context.run.tags.get(AS_OF_TAG)
    return parse_as_of(tag) if tag else clock.now()


def parse_as_of(text: str) -> datetime:
    """An aware ISO 8601 moment, in UTC.

    Raises:
        BadInput: the text is no moment or has no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadInput(f"The tag {AS_OF_TAG}={text!r} is no moment with a zone; write it as 2026-03-01T07:00:00+00:00.")
    return moment.astimezone(UTC)
