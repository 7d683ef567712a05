"""Does the machine below have room, and did what we keep catch a secret?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from plms_pipeline.alerts import files
from plms_pipeline.alerts.looking import Asked, Seen
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.secret_shapes import findings
from plms_pipeline.alerts.store import facts

PASSPORT, REPORT = "passport:", "report:"
MOST_PASSPORTS: Final = 200
MOST_FILES: Final = 200
MOST_BYTES: Final = 1_000_000


def disk(asked: Asked) -> Seen:
    """Free space of the data and the reports; once where both lie on one disk."""
    seen, found = set(), []
    for name, folder in (("data", asked.settings.data_dir), ("reports", asked.settings.reports_dir)):
        device = files.device_of(folder)
        if device is not None and device not in seen:
            seen.add(device)
            found.append(Reading("disk_free_gib", f"disk:{name}", files.free_gib(folder), asked.now, str(folder)))
    return Seen(tuple(found))


def secrets(asked: Asked) -> Seen:
    """Places in passports and reports that look like a secret: what is new since the last look, and what was found before.

    The text itself is never told.
    """
    memo = asked.memo or {}
    since = datetime.fromisoformat(memo["since"]) if "since" in memo else datetime.fromtimestamp(0, UTC)
    places: dict[str, list[str]] = {}
    newest = since
    with asked.registry.reading() as session:
        passports = facts.passports_since(session, since, limit=MOST_PASSPORTS)
        known = [place for place in memo.get("found", []) if place.startswith(PASSPORT)]
        again = [
            (place.removeprefix(PASSPORT), facts.passport_text(session, place.removeprefix(PASSPORT)))
            for place in known
        ]
    for run, at, text in passports:
        places[PASSPORT + run] = _kinds(text)
        newest = max(newest, at)
    for run, text_ in again:
        places[PASSPORT + run] = _kinds(text_ or "")
    files_since = float(memo.get("files_since", 0.0))
    texts, is_more = files.texts_since(asked.settings.reports_dir, files_since, limit=MOST_FILES, most_bytes=MOST_BYTES)
    for name, text in texts:
        places[REPORT + name] = _kinds(text)
    found = sorted(place for place, kinds in places.items() if kinds)
    kept = [place for place in memo.get("found", []) if place.startswith(REPORT) and place not in places]
    readings = [
        Reading("secrets_found", place[:255], 1.0, asked.now, ", ".join(places[place])[:200] if place in places else "")
        for place in (*found, *_still_there(asked, kept))
    ]
    until = files_since if is_more else asked.now.timestamp() - 1.0
    return Seen(
        tuple(readings),
        memo={"since": newest.isoformat(), "files_since": until, "found": [one.subject for one in readings]},
    )


def _still_there(asked: Asked, kept: list[str]) -> list[str]:
    found = []
    for place in kept:
        text = files.text_of(asked.settings.reports_dir / place.removeprefix(REPORT), most_bytes=MOST_BYTES)
        if text is not None and _kinds(text):
            found.append(place)
    return found


def _kinds(text: str) -> list[str]:
    return sorted({kind for _, kind in findings(text)})
