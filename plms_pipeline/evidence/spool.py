"""What is written down locally while the registry is away, and how is it read again?

One line per obligation or observation, each with its own digest: a line that a crash cut off, or a disk bent, is told apart
from one that was written, and never taken for another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from plms_pipeline.registry.types import canonical_json

Kind = Literal["obligation", "observation"]
_MOMENTS: Final = ("accepted_at", "deadline_at", "evidence_at", "at")


@dataclass(frozen=True, slots=True)
class Spooled:
    """What a spool held: rows of obligations, rows of observations, and how many lines could not be read."""

    obligations: tuple[dict[str, Any], ...]
    observations: tuple[dict[str, Any], ...]
    broken: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to replay."""
        return not self.obligations and not self.observations


def line_of(kind: Kind, row: Mapping[str, Any]) -> str:
    """One line, without its end."""
    plain = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
    text = canonical_json({"kind": kind, "row": plain})
    return f"{_digest(text)} {text}"


def read_lines(lines: Iterable[str]) -> Spooled:
    """The rows of a spool."""
    found: dict[str, list[dict[str, Any]]] = {"obligation": [], "observation": []}
    broken = 0
    for line in lines:
        digest, _, text = line.rstrip("\n").partition(" ")
        if not text or digest != _digest(text):
            broken += bool(line.strip())
            continue
        read = json.loads(text)
        row = {
            key: datetime.fromisoformat(value) if key in _MOMENTS and value is not None else value
            for key, value in read["row"].items()
        }
        found[read["kind"]].append(row)
    return Spooled(tuple(found["obligation"]), tuple(found["observation"]), broken)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
