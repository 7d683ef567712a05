"""What did a reviewer fill in, and in which order is carried out what reviewers decided?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plms_pipeline.errors import Forbidden
from plms_pipeline.models.decision.words import CAPS
from plms_pipeline.models.records import Candidate


def require_reviewer(named: str, actor: str) -> None:
    """Nobody signs with the name of somebody else.

    Raises:
        Forbidden: a name was given that is not the actor's (`other_reviewer`).
    """
    given = named.strip()
    if given and given.casefold() != actor.casefold():
        raise Forbidden(
            f"{actor} is signed in, and the form says {given[:80]!r}; leave `reviewer` empty, or let that person decide.",
            code="other_reviewer",
        )


def caps_given(form: Mapping[str, Any]) -> dict[str, float] | None:
    """The caps that somebody filled in; None where there are none."""
    return {name: form[name] for name in CAPS if form.get(name) is not None} or None


def in_order(approved: Iterable[Candidate]) -> list[str]:
    """Approved candidates, the oldest decision first: what was decided last serves in the end."""
    found = sorted(approved, key=lambda one: (one.decided_at or one.created_at, one.candidate_id))
    return [one.candidate_id for one in found]
