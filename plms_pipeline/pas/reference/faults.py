"""How does the outside world misbehave, and how often?

Each fault is a switch with a probability. Whether it strikes is a hash of seed, fault and subject (`chance.draw`), so that
a failing test can be run again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.pas.reference.chance import draw

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "duplicate": "an event is delivered twice",
        "late": "an event is held back for ten virtual minutes",
        "reordered": "an event is overtaken by those that follow within two virtual minutes",
        "lost": "an event is never delivered; only the status tells",
        "forged": "beside an event comes one with a wrong signature that claims the opposite",
        "partial": "the receipt in an event lacks its measures",
        "negative": "the receipt in an event costs less than nothing",
        "slow": "a submission is answered late",
        "ambiguous": "a submission has its effect and is answered with status 500",
        "missed_heartbeats": "a task stops to send heartbeats, and works on",
        "failed": "a task fails",
        "outlier": "a task costs twenty times as much and takes ten times as long",
        "wrong_version": "another version of the provider did the work, or is shown as routed to",
        "kpi_red": "the artifact fails its lane's gates while its echo is green",
    }
)
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Faults:
    """Probability per fault; what is not named never happens."""

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)

    def strikes(self, fault: str, *about: str | int) -> bool:
        """Whether `fault` happens to this subject."""
        rate = self.rates.get(fault, 0.0)
        return rate > 0 and draw(self.seed, "fault", fault, *about) < rate


def parse_faults(switches: Iterable[str], seed: int) -> Faults:
    """Read `name=probability` switches; a later one replaces an earlier one, `all` stands for every fault.

    Raises:
        BadInput: an unknown fault, or no probability (`bad_fault`).
    """
    rates: dict[str, float] = {}
    for switch in switches:
        name, _, text = switch.partition("=")
        name = name.strip().replace("-", "_")
        if name not in MEANINGS and name != ALL:
            raise BadInput(f"There is no fault {name!r}; there are all, {', '.join(MEANINGS)}.", code="bad_fault")
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0 <= rate <= 1:
            raise BadInput(f"--fault {switch}: give a probability from 0 to 1, such as {name}=0.1.", code="bad_fault")
        rates.update(dict.fromkeys(MEANINGS, rate) if name == ALL else {name: rate})
    return Faults(seed, rates)
