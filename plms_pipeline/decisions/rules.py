"""May this person decide this, and is what was said enough to be kept for ever?

A decision that somebody asked for is taken by somebody else, whose name something we trust vouched for: a token, never an
account of the machine. The obvious check (the names differ) lets one person ask as `local:ann` and approve as `ann`, so the
account `ann` of a machine counts as the person `ann`.
`PLMS_AUTH=disabled`, which binds to loopback only, lifts the rule for a single machine; the row then says that nobody was
verified.
"""

from __future__ import annotations

import re
from typing import Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.errors import BadInput, Forbidden
from plms_pipeline.instance.actors import local_actor as local_name

REQUEST: Final = "request"
APPROVE: Final = "approve"
REJECT: Final = "reject"

MAX_REASON: Final = 4000
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_ACCOUNT: Final = local_name("")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


def require_second_person(actor: Actor, requested_by: str | None, *, auth_disabled: bool) -> None:
    """Let pass who may be the second person of a decision.

    Args:
        actor: who decides.
        requested_by: who asked for it; None when nobody did.
        auth_disabled: whether `PLMS_AUTH=disabled` lifts the rule.

    Raises:
        Forbidden: nobody vouched for the name (`unverified_decider`), or it is the one who asked (`same_person`).
    """
    if auth_disabled:
        return
    if not actor.is_verified:
        raise Forbidden(
            f"{actor.name} cannot be the second person of this decision: nobody vouched for the name. Decide over HTTP with "
            "a token, or set PLMS_AUTH=disabled where one person works alone.",
            code="unverified_decider",
        )
    if requested_by is not None and is_same_person(actor.name, requested_by):
        raise Forbidden(
            f"{actor.name} asked for this decision and cannot take it too; another person must.", code="same_person"
        )


def is_same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: an account of the machine counts as the person of its name."""
    return _person(one) == _person(other)


def _person(name: str) -> str:
    return name.removeprefix(_ACCOUNT).casefold()


def reason_of(text: str) -> str:
    """The reason of a decision as it is kept: no blanks around it, no control characters but line breaks and tabs.

    Raises:
        BadInput: it is empty or longer than 4,000 characters (`missing_reason`, `bad_reason`).
    """
    reason = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.strip())
    if not reason:
        raise BadInput("A decision needs a reason: it is what everybody will ask for later.", code="missing_reason")
    if len(reason) > MAX_REASON:
        raise BadInput(f"The reason has {len(reason):,} characters; give up to {MAX_REASON:,}.", code="bad_reason")
    return reason


def word_of(text: str, what: str) -> str:
    """A kind or a decision as a word that queries can rely on.

    Raises:
        ValueError: it is none (a bug in the caller).
    """
    if not _WORD.fullmatch(text):
        raise ValueError(f"{text!r} is no {what}: lower-case letters, digits and underscores, up to 32")
    return text
