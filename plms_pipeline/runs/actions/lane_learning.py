"""What do the corrections of lanes teach by now?"""

from __future__ import annotations

from plms_pipeline.estimates.store.receipts import lane_words
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.lane_classifier import Correction
from plms_pipeline.runs.lanes import by_keywords
from plms_pipeline.runs.plan import text_of_task
from plms_pipeline.runs.store import verdicts as store


def corrections(registry: Registry) -> list[Correction]:
    """Every task whose lane a person corrected: its words, the lane, and what the keywords would have said."""
    with registry.reading() as session:
        words = lane_words(session)
        rows = store.corrected_tasks(session)
    found = []
    for name, description, kind, lane_id in rows:
        text = text_of_task(name, description, kind)
        guess = by_keywords(text, words)
        found.append(Correction(text, lane_id, guess.lane_id if guess else None))
    return found
