"""What does the executor have at hand when it acts?

Everything that an action may ask: the store, the clock, the seed, the switches. Held together so that a test can put another
clock or another seed in, and so that no action keeps anything between calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from pydantic import BaseModel

from plms_pipeline.clock import Clock
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.faults import Faults
from plms_pipeline.pas.reference.files import ArtifactRoot
from plms_pipeline.pas.reference.outcomes import Outcomes

# The lanes that this executor has workers for, and how many.
LANE_CAPS: Mapping[int, int] = {4200: 4, 4201: 4, 4202: 3, 5100: 2, 5101: 3, 5102: 2, 6100: 2, 6101: 3}
_NAMESPACE = UUID("3c1f7f0e-5f0b-5d0e-9a57-6a2d1f6f4c11")


@dataclass(frozen=True, slots=True)
class World:
    """One executor.

    Args:
        db: its open store.
        clock: the machine's time; tasks last `1 / speed` of their duration on it.
        outcomes: what tasks take.
        artifacts: where their results go.
        speed: virtual seconds per real second.
        seed: of every choice.
        faults: how the world misbehaves.
        lane_caps: the known lanes, and how many tasks of each work at once.
    """

    db: store.Connection
    clock: Clock
    outcomes: Outcomes
    artifacts: ArtifactRoot
    speed: float = 1000.0
    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    lane_caps: Mapping[int, int] = field(default_factory=lambda: dict(LANE_CAPS))

    def now(self) -> float:
        """Seconds since 1970."""
        return self.clock.now().timestamp()

    def after(self, seconds: float) -> float:
        """The moment after so many seconds. Rounded, so that ends that fall together stay so whatever was paused between."""
        return round(self.now() + seconds, 6)

    def real_s(self, virtual_ms: float) -> float:
        """How long a virtual duration really lasts, in seconds."""
        return virtual_ms / 1000 / self.speed

    def name(self, *about: str | int) -> str:
        """A UUID that is the same whenever this executor names the same thing, also after a crash in between."""
        return str(uuid5(_NAMESPACE, "/".join([store.store_id(self.db), *map(str, about)])))


def digest(message: BaseModel) -> str:
    """SHA-256 of a message, to tell a repetition from another message under the same key."""
    return hashlib.sha256(message.model_dump_json().encode()).hexdigest()
