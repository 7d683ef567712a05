"""Can this process do its work, and what is missing if not?

Two questions that the sources mixed. *Alive* needs no answer from anybody else: a process that is restarted because the
database is away does not bring the database back. *Ready* is the truth about what the work needs: without registry or data
directory nothing works; without the executor or the cache everything is kept and some of it waits, which is `degraded`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ComponentStatus = Literal["healthy", "degraded", "unhealthy", "missing", "unavailable", "unknown"]
_WORKS: frozenset[ComponentStatus] = frozenset({"healthy", "degraded", "unknown"})


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that the work needs; `details` hold no credentials."""

    name: str
    status: ComponentStatus
    is_essential: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether the work can go on as far as this component is concerned."""
        return not self.is_essential or self.status in _WORKS


def is_ready(components: Sequence[Component]) -> bool:
    """Whether everything essential works."""
    return all(component.works for component in components)


def readiness(components: Sequence[Component]) -> dict[str, Any]:
    """The body of `/readyz`: `ready`, `degraded` or `not_ready`, and each component.

    Everybody may ask, so it says neither where things lie nor how large they are.
    """
    if not is_ready(components):
        status = "not_ready"
    elif all(component.status in ("healthy", "unknown") for component in components):
        status = "ready"
    else:
        status = "degraded"
    told = {component.name: {"status": component.status} for component in components}
    for component in components:
        if "error" in component.details:
            told[component.name]["error"] = component.details["error"]
    return {"status": status, "components": told}


def operations_health(components: Sequence[Component]) -> dict[str, Any]:
    """The body of `/api/ops/healthz`, with the sources' field names."""
    wanting = [component.name for component in components if component.status not in ("healthy", "unknown")]
    return {
        "status": "healthy" if is_ready(components) else "unhealthy",
        "components": {component.name: {"status": component.status, **component.details} for component in components},
        "degraded": bool(wanting),
        "unhealthy_components": wanting,
    }
