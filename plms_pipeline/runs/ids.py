"""How are things of a run named?

A run's id is random; a job card's is derived from run, task and attempt, so that whoever hands the card over again, after a
crash or a timeout, hands over the same one. Ids are handed in as a function, so that a simulation can replay them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from plms_pipeline.errors import BadInput

NewId = Callable[[], str]
_CARDS = uuid.UUID("6f0f5b7e-5f57-5c0e-9e57-2b8f3c1d4a60")
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


def random_id() -> str:
    """A new random UUID, as text."""
    return str(uuid.uuid4())


def card_key(run_id: str, task_id: str, attempt: int) -> str:
    """The key of one attempt at one task: a UUID (version 5) of the three, length-prefixed so that none runs into the next."""
    name = f"{len(run_id)}:{run_id}{len(task_id)}:{task_id}{attempt}"
    return str(uuid.uuid5(_CARDS, name))


def path_safe(name: str, what: str) -> str:
    """`name`, if it may become one component of a path.

    Raises:
        BadInput: it is empty, longer than 128 characters, or holds anything but letters, digits, dots, dashes and underscores
            (or starts or ends with one of those), so `..`, `/` and NUL never reach a file system.
    """
    if not _SAFE.fullmatch(name):
        raise BadInput(
            f"The {what} {name[:60]!r} is no safe name: use up to 128 letters, digits, '.', '_' and '-', beginning and ending "
            "with a letter or digit.",
            code="unsafe_name",
        )
    return name
