"""What is known tonight about some invariants: what the night's report says, or a proof of just these."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from plms_pipeline.clock import Clock
from plms_pipeline.invariants import files
from plms_pipeline.invariants.actions.proving import prove
from plms_pipeline.invariants.report import to_json
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings


def checks_of(
    registry: Registry, settings: Settings, clock: Clock, *, as_of: datetime, names: Collection[str]
) -> dict[str, Any]:
    """Name → check, as in the report's JSON.

    The report of the same night (its instant is `as_of`) has proven them already, and proving twice would double the night's
    longest step. Anything older says nothing about now: then they are proven here.
    """
    document = files.stored_document(settings.data_dir)
    if document is not None and document.get("timestamp") == as_of.isoformat():
        checks = document.get("checks", {})
        if set(names) <= set(checks):
            return {name: checks[name] for name in names}
    report = prove(registry, settings, clock, as_of=as_of, only=names)
    return {name: to_json(report)["checks"][name] for name in names}
