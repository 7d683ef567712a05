"""Is this the name of something that alerts can be about?

What may be alarmed about tomorrow need not be known today, so a list of what there is would refuse a silence that is placed in
time. A kind that is written almost like one of ours, or a project without a number, is a slip: who placed it would be woken.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

# What stands before the colon; the first two are followed by a number.
NUMBERED: Final = ("project", "lane")
KINDS: Final = (
    *NUMBERED,
    "run",
    "disk",
    "candidate",
    "family",
    "killswitch",
    "tick",
    "day",
    "delivery",
    "launcher",
    "portfolio",
)
# Subjects of which there is one.
WHOLE: Final = ("invariants", "launcher", "tasks", "dead_letters", "evidence", "redis", "nightly")
ALIKE: Final = 0.8
NEAREST: Final = 3
_WORD: Final = re.compile(r"[A-Za-z_]+")


def slip(subject: str) -> str | None:
    """What is wrong with a subject, with what was probably meant; None when it may be one."""
    kind, colon, rest = subject.partition(":")
    if colon and kind in NUMBERED:
        return None if rest.isascii() and rest.isdigit() else f"{kind} is followed by its number, such as {kind}:42"
    known = KINDS if colon else WHOLE
    if kind in known or not _WORD.fullmatch(kind):
        return None
    meant = [f"{one}{colon}{rest}" for one in difflib.get_close_matches(kind.lower(), known, NEAREST, ALIKE)]
    return f"did you mean {' or '.join(meant)}?" if meant else None


def near(subject: str, known: Iterable[str]) -> list[str]:
    """Subjects that were alarmed about, and are written almost alike."""
    return difflib.get_close_matches(subject, sorted(set(known)), NEAREST, ALIKE)
