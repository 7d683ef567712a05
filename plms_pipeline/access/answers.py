"""Which finished answer was given to this request before?

The registry decides (table `idempotency_keys`); what is said here only spares it the question. A cached answer therefore
holds everything that a repeated request needs, the digest of the body that it belongs to included: without that, the
same key with another body would be answered as a repetition.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

# The braces make one hash slot of all keys, so that commands on several of them work on a cluster.
KEY_PREFIX = "{plms}:idem:"


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: status, JSON body, and the digest of the request body that it belongs to."""

    status_code: int
    body_sha256: str
    answer: dict[str, Any]


class AnswerCache(Protocol):
    """Remembers finished answers for a while; may forget any of them at any moment, and never raises."""

    def get(self, key: str) -> Answer | None:
        """The answer under a key, or None."""
        ...

    def put(self, key: str, answer: Answer, *, ttl_s: int) -> None:
        """Remember an answer for at most `ttl_s` seconds."""
        ...

    def is_up(self) -> bool:
        """Whether it can remember anything now."""
        ...


class NoCache:
    """The cache of an installation without Redis: it remembers nothing."""

    def get(self, key: str) -> Answer | None:  # noqa: ARG002 - the protocol's signature
        """None."""
        return None

    def put(self, key: str, answer: Answer, *, ttl_s: int) -> None:
        """Forget it at once."""

    def is_up(self) -> bool:
        """False."""
        return False


def cache_key(user: str, method: str, path: str, key: str) -> str:
    """The cache's key for what makes a request unique; no part can run into the next one."""
    parts = json.dumps([user, method, path, key])
    return KEY_PREFIX + hashlib.sha256(parts.encode()).hexdigest()


def encoded(answer: Answer) -> bytes:
    """An answer as bytes."""
    return json.dumps({"v": 1, **asdict(answer)}, separators=(",", ":")).encode()


def decoded(data: bytes) -> Answer | None:
    """The inverse of `encoded`; None for anything else, which somebody else must have written there."""
    try:
        found = json.loads(data)
        if found.pop("v") != 1:
            return None
        answer = Answer(**found)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    is_sound = (
        isinstance(answer.status_code, int) and isinstance(answer.body_sha256, str) and isinstance(answer.answer, dict)
    )
    return answer if is_sound else None
