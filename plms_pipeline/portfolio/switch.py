"""Is anything that starts or spends stopped, here and now, and what may be said about it?

A kill switch is on for everything (`global`), for a lane or for a project; a flag file stops everything as well, and so does a
registry that cannot be read, because then nobody knows. It stops what starts or spends, never what keeps the books. The
sources had one file, polled by nothing that ran, which a spent budget pulled for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from plms_pipeline.errors import BadInput

Scope = Literal["global", "lane", "project"]
SCOPES: Final[tuple[Scope, ...]] = ("global", "lane", "project")
FLAG_SUBJECT: Final = "flag file"
REGISTRY_SUBJECT: Final = "registry"
# What was stopped stays stopped until a person says otherwise; these two are only a record of it.
MIRRORED: Final = frozenset({FLAG_SUBJECT, REGISTRY_SUBJECT})
UNREADABLE: Final = "the registry cannot be read, so nobody knows whether the kill switch is on"
TERMINATE_AFTER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class OnSwitch:
    """A kill switch that is on. `subject` is a lane's or project's id, empty for everything."""

    switch_id: int
    scope: str
    subject: str
    reason: str
    actor: str
    turned_on_at: datetime

    @property
    def is_mirror(self) -> bool:
        """Whether it only records that the flag file was seen, or that the registry was away."""
        return self.scope == "global" and self.subject in MIRRORED

    @property
    def where(self) -> str:
        """Its scope, for people."""
        return self.scope if self.scope == "global" else f"{self.scope} {self.subject}"


def reason_in(switches: Iterable[OnSwitch], *, project_id: int | None = None, lane_id: int | None = None) -> str | None:
    """Why nothing may start there: the oldest switch of everything, of the project or of the lane; None when none is on."""
    wanted = {("global", ""), ("project", str(project_id)), ("lane", str(lane_id))}
    found = [one for one in switches if not one.is_mirror and (one.scope, one.subject) in wanted]
    if not found:
        return None
    first = min(found, key=lambda one: (one.scope != "global", one.turned_on_at, one.switch_id))
    return f"{first.reason} ({first.where}, by {first.actor} since {first.turned_on_at:%Y-%m-%d %H:%M:%S} UTC)"


def checked_scope(scope: str, subject: str) -> tuple[Scope, str]:
    """A scope with its subject, as it is kept.

    Raises:
        BadInput: an unknown scope, or a subject that is no lane's or project's number.
    """
    for known in SCOPES:
        if scope != known:
            continue
        if known == "global":
            if subject:
                raise BadInput(f"A global switch has no subject; {subject[:40]!r} is one too many.", code="bad_scope")
            return known, ""
        if not (subject.isascii() and subject.isdigit() and len(subject) <= 18):
            raise BadInput(f"Name the {known} by its number: {subject[:40]!r} is none.", code="bad_scope")
        return known, str(int(subject))
    raise BadInput(f"There is no scope {scope[:40]!r}; choose one of {', '.join(SCOPES)}.", code="bad_scope")
