"""Who is to serve now, and what did serving do? Asked and written by the loops of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from plms_pipeline.models.records import Switch
from plms_pipeline.models.serving import store
from plms_pipeline.models.serving.minutes import Counts
from plms_pipeline.models.serving.served import Entry, Version
from plms_pipeline.models.store import candidates, champions, switches
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Standing:
    """What the registry says at one moment: the champion, and whether guardrails are on."""

    champion: Entry | None
    switch: Switch


def standing(registry: Registry, family: str) -> Standing:
    """Who is to serve, in one snapshot.

    Raises:
        Unavailable: the registry is away.
    """
    with registry.reading() as session:
        champion, switch = champions.current(session, family), switches.guardrails(session, family)
        candidate = None if champion is None else candidates.find(session, champion.candidate_id)
    if champion is None or candidate is None:
        return Standing(None, switch)
    return Standing(
        Entry(
            Version(champion.candidate_id, champion.promotion_id, champion.model_sha256),
            champion.sequence,
            champion.folder,
            candidate.bytes.manifest,
            champion.evaluation_sha256,
            champion.data_sha256,
            {name: float(cap) for name, cap in (champion.caps or {}).items()},
            champion.promoted_at,
        ),
        switch,
    )


def write_minutes(registry: Registry, family: str, book: Mapping[datetime, Counts]) -> None:
    """Add what was counted, all of it or nothing.

    Raises:
        Unavailable: the registry is away.
    """
    if not book:
        return
    with registry.writing() as session:
        store.add_minutes(session, family, book)
