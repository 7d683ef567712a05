"""What is an annotation, and which are refused?

A person's word about one trade: one of five decisions with a rationale, perhaps a confidence, tags, and the span of time that
they looked at. Moments are UTC; one without a zone is taken for UTC. What is unknown is None everywhere, also in JSON: the
source wrote the text "NaT".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from plms_pipeline.errors import BadInput

DECISIONS: Final = ("approve", "escalate", "flag", "hold", "reject")
LONGEST_RATIONALE: Final = 10_000
LONGEST_NAME: Final = 255
MOST_METADATA: Final = 16_384


@dataclass(frozen=True, slots=True)
class Draft:
    """An annotation before it is recorded; checked by `checked`."""

    decision: str
    rationale: str
    author: str
    confidence: float | None = None
    tags: tuple[str, ...] = ()
    created_at: datetime | None = None
    metadata: Mapping[str, Any] | None = None
    context_from: datetime | None = None
    context_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """A recorded annotation; all moments aware, in UTC."""

    annotation_id: int
    trade_id: int
    symbol: str | None
    trade_timestamp: datetime | None
    decision: str
    rationale: str
    confidence: float | None
    tags: tuple[str, ...]
    author: str
    created_at: datetime
    metadata: Mapping[str, Any] | None = field(default=None)
    context_window_start: datetime | None = None
    context_window_end: datetime | None = None

    def as_document(self) -> dict[str, Any]:
        """The row, as JSON has it: tags a list, metadata an object, unknown dates null."""
        return {
            "annotation_id": self.annotation_id, "trade_id": self.trade_id, "symbol": self.symbol,
            "trade_timestamp": _text(self.trade_timestamp), "decision": self.decision, "rationale": self.rationale,
            "confidence": self.confidence, "tags": list(self.tags), "author": self.author,
            "created_at": _text(self.created_at), "metadata": None if self.metadata is None else dict(self.metadata),
            "context_window_start": _text(self.context_window_start), "context_window_end": _text(self.context_window_end),
        }  # fmt: skip


def checked(draft: Draft) -> Draft:
    """The annotation as it is recorded.

    Raises:
        BadInput: the decision is unknown, a text is empty or too long, the confidence is no fraction, or the span ends before
            it begins.
    """
    if draft.decision not in DECISIONS:
        raise BadInput(
            f"{draft.decision[:40]!r} is no decision; there are {', '.join(DECISIONS)}.", code="bad_annotation"
        )
    rationale, author = draft.rationale.strip(), draft.author.strip()
    for name, text, longest in (("rationale", rationale, LONGEST_RATIONALE), ("author", author, LONGEST_NAME)):
        if not text or len(text) > longest:
            raise BadInput(f"The {name} has {len(text)} characters; write 1 to {longest:,}.", code="bad_annotation")
    if draft.confidence is not None and not (math.isfinite(draft.confidence) and 0 <= draft.confidence <= 1):
        raise BadInput(f"The confidence is {draft.confidence}; it lies between 0 and 1.", code="bad_annotation")
    metadata = None if draft.metadata is None else dict(draft.metadata)
    if metadata is not None and len(json.dumps(metadata)) > MOST_METADATA:
        raise BadInput(
            f"The metadata is longer than {MOST_METADATA:,} characters; keep a reference.", code="bad_annotation"
        )
    first, last = _utc(draft.context_from), _utc(draft.context_to)
    if first is not None and last is not None and last < first:
        raise BadInput("The context ends before it begins; swap the two moments.", code="bad_annotation")
    return Draft(
        draft.decision, rationale, author, draft.confidence, tags_of(draft.tags), _utc(draft.created_at), metadata, first,
        last,
    )  # fmt: skip


def tags_of(given: Iterable[str]) -> tuple[str, ...]:
    """Tags stripped, each once, sorted; a comma parts two.

    Raises:
        BadInput: a tag is too long.
    """
    found = sorted({part.strip() for text in given for part in text.split(",") if part.strip()})
    if any(len(tag) > LONGEST_NAME for tag in found):
        raise BadInput(f"A tag is longer than {LONGEST_NAME} characters.", code="bad_annotation")
    return tuple(found)


def moment_of(text: str | None, flag: str) -> datetime | None:
    """A moment in ISO 8601, in UTC; without a zone it is taken for UTC.

    Raises:
        BadInput: it is none; the message names the flag.
    """
    if text is None or not text.strip():
        return None
    try:
        return _utc(datetime.fromisoformat(text.strip()))
    except ValueError:
        raise BadInput(
            f"{flag} {text[:60]!r} is no moment; write ISO 8601, 2024-01-31 or 2024-01-31T16:00:00Z.", code="bad_moment"
        ) from None


def metadata_of(text: str | None) -> dict[str, Any] | None:
    """A JSON object.

    Raises:
        BadInput: it is none.
    """
    if text is None:
        return None
    try:
        found = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise BadInput(f"--metadata is no JSON ({error}); write an object.", code="bad_metadata") from None
    if not isinstance(found, dict):
        raise BadInput('--metadata is no JSON object; write for instance {"desk": "rates"}.', code="bad_metadata")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
