"""How is everything that spends stopped, how is it let go again, and who is told what is on?

Turning a switch on or off is a row, an audit entry and a decision with its reason. What runs is paused by whoever looks after
the executor (`runs.actions.stopping`); turning off resumes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.decisions.actions import decide
from plms_pipeline.decisions.rules import reason_of
from plms_pipeline.errors import NotFound, PlmsError
from plms_pipeline.portfolio.store import switches as store
from plms_pipeline.portfolio.switch import UNREADABLE, OnSwitch, checked_scope, reason_in
from plms_pipeline.registry.engine import Registry

Flag = Callable[[], str | None]
_LISTED: Final = {
    "lane": "`plms lanes list` and GET /api/portfolio/lanes",
    "project": "`plms project list` and GET /api/projects",
}


@dataclass(frozen=True, slots=True)
class Switched:
    """What became of a switch; `changed` is False when it was so already.

    `still_on`: what stays stopped after a switch was turned off for everything, or keeps stopping what it was turned off for.
    """

    scope: str
    subject: str
    is_on: bool
    changed: bool
    still_on: tuple[OnSwitch, ...] = ()

    @property
    def left(self) -> list[dict[str, str]]:
        """`still_on` for machines: where, why, and the command that lets it go."""
        return [
            {"scope": one.scope, "subject": one.subject, "reason": one.reason, "let_go": _let_go(one)}
            for one in self.still_on
        ]


@dataclass(frozen=True, slots=True)
class SwitchStatus:
    """What stops things now: the flag file's reason, the rows that are on, and whether the registry could be read."""

    flag: str | None
    switches: tuple[OnSwitch, ...]
    unreadable: str | None

    @property
    def is_on(self) -> bool:
        """Whether anything anywhere is stopped."""
        return self.flag is not None or self.unreadable is not None or any(not one.is_mirror for one in self.switches)

    def as_json(self) -> dict[str, Any]:
        """For machines: what `plms killswitch status --json` prints and the API answers."""
        rows = [
            {"scope": one.scope, "subject": one.subject, "reason": one.reason, "by": one.actor,
             "since": one.turned_on_at.isoformat()}
            for one in self.switches if not one.is_mirror
        ]  # fmt: skip
        return {"on": self.is_on, "flag_file": self.flag, "registry": self.unreadable, "switches": rows}


def stop_reason(
    registry: Registry, *, flag: Flag, project_id: int | None = None, lane_id: int | None = None
) -> str | None:
    """Why nothing may start there now, or None. A registry that cannot be read counts as on."""
    found = flag()
    if found is not None:
        return found
    try:
        with registry.asking() as ask:
            return reason_in(store.seen(ask), project_id=project_id, lane_id=lane_id)
    except Exception as error:  # noqa: BLE001 - whatever keeps us from reading, nobody knows then
        return f"{UNREADABLE} ({_named(error)})"


def turn_on(
    registry: Registry,
    *,
    clock: Clock,
    ids: Callable[[], str],
    actor: Actor,
    reason: str,
    scope: str = "global",
    subject: str = "",
) -> Switched:
    """Stop what starts or spends in a scope. What has passed the check before is in the books; nothing starts after it.

    Raises:
        BadInput: an unknown scope, or no reason.
        NotFound: there is no such lane or project.
    """
    return _switch(registry, clock, ids, actor, reason, scope, subject, is_on=True)


def turn_off(
    registry: Registry,
    *,
    clock: Clock,
    ids: Callable[[], str],
    actor: Actor,
    reason: str,
    scope: str = "global",
    subject: str = "",
) -> Switched:
    """Let things start again in a scope. What was paused stays paused until somebody resumes it.

    Raises:
        BadInput: an unknown scope, or no reason.
    """
    return _switch(registry, clock, ids, actor, reason, scope, subject, is_on=False)


def status(registry: Registry, *, flag: Flag) -> SwitchStatus:
    """What stops things now."""
    found = flag()
    try:
        with registry.reading() as session:
            return SwitchStatus(found, tuple(store.that_are_on(session)), None)
    except Exception as error:  # noqa: BLE001 - as above
        return SwitchStatus(found, (), f"{UNREADABLE} ({_named(error)})")


def _switch(
    registry: Registry,
    clock: Clock,
    ids: Callable[[], str],
    actor: Actor,
    reason: str,
    scope: str,
    subject: str,
    *,
    is_on: bool,
) -> Switched:
    scope, subject = checked_scope(scope, subject)
    reason = reason_of(reason)
    with registry.writing() as session:
        if is_on and not store.has_subject(session, scope, subject):
            raise NotFound(
                f"There is no {scope} {subject}; {_LISTED[scope]} show those that exist.", code=f"{scope}_not_found"
            )
        now = clock.now()
        facts: dict[str, Any] = {"scope": scope, "subject": subject, "actor": actor.name, "now": now}
        changed = store.turn_on(session, reason=reason, **facts) if is_on else store.turn_off(session, **facts)
        if changed:
            decide(
                session, clock_now=now, ids=ids, kind="kill_switch", subject_type=scope, subject_id=subject or "everything",
                decision="on" if is_on else "off", reason=reason, actor=actor,
            )  # fmt: skip
        left = () if is_on else tuple(one for one in store.that_are_on(session) if _stays(one, scope))
    return Switched(scope, subject, is_on, changed, left)


def _stays(one: OnSwitch, scope: str) -> bool:
    """Whether a switch that is on is told to who turned one of `scope` off."""
    return not one.is_mirror and (scope == "global" or one.scope == "global")


def _let_go(one: OnSwitch) -> str:
    where = "" if one.scope == "global" else f" --{one.scope} {one.subject}"
    return f'plms killswitch off{where} --reason "…"'


def _named(error: Exception) -> str:
    return error.code if isinstance(error, PlmsError) else type(error).__name__
