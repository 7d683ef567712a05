"""Who started this run, and how far is that name to be trusted?

A Dagster run carries its actor in the tag `plms/actor`. Run configuration and launch tags are written by whoever
launches, so a name found there proves nothing. The tag is therefore stamped, always, by our run coordinator: from the
header that the front door sets (and strips from clients), from the schedule or sensor that asked, or from the account
that ran the command. `plms/launched_from` says which of these it was; only `ui` can ever carry a verified name, and only when
`plms/actor_verified` says that the door knew the person by token, session or proxy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote

ACTOR_HEADER = "x-plms-actor"
# All of them begin alike, so that whatever a client sends of them is taken out by one rule.
VERIFIED_HEADER = "x-plms-actor-verified"
ROLE_HEADER = "x-plms-actor-role"
ACTOR_TAG = "plms/actor"
VERIFIED_TAG = "plms/actor_verified"
ROLE_TAG = "plms/actor_role"
LAUNCHED_FROM_TAG = "plms/launched_from"
UNGUARDED_ACTOR = "anonymous:unguarded"

_BACKFILL_TAG = "dagster/backfill"
_PARENT_RUN_TAG = "dagster/parent_run_id"
_SCHEDULE_TAG = "dagster/schedule_name"
_SENSOR_TAG = "dagster/sensor_name"
_MAX_ACTOR_LENGTH = 200
_NOT_IN_EVENT_TAGS = re.compile(r"[^A-Za-z0-9_.-]")


class LaunchedFrom(StrEnum):
    """The way by which a run entered the queue."""

    UI = "ui"
    TERMINAL = "terminal"
    DAEMON = "daemon"
    UNGUARDED = "unguarded"


@dataclass(frozen=True, slots=True)
class Launch:
    """Who launched a run, by which way, whether something vouched for the name, and in which role."""

    actor: str
    launched_from: LaunchedFrom
    is_verified: bool = False
    role: str | None = None

    def tags(self) -> dict[str, str]:
        """The run tags that say so."""
        return {
            ACTOR_TAG: self.actor,
            LAUNCHED_FROM_TAG: self.launched_from.value,
            VERIFIED_TAG: "yes" if self.is_verified else "no",
            ROLE_TAG: self.role or "none",
        }


def local_actor(os_user: str) -> str:
    """The actor of somebody known only by an account of this machine: unverified by definition."""
    return f"local:{os_user}"


def header_value(actor: str) -> str:
    """An actor as a header value: percent-encoded, because header bytes are Latin-1 and account names are not."""
    return quote(actor[:_MAX_ACTOR_LENGTH], safe=":@._-+")


def actor_from_header(value: str) -> str:
    """The inverse of `header_value`."""
    return unquote(value)


def event_tag_value(actor: str) -> str:
    """An actor as the value of a tag on an asset event: Dagster refuses there what it takes on a run, the colon first
    of all. Lossy: for people to read, not for rules to compare."""
    return _NOT_IN_EVENT_TAGS.sub("_", actor.replace(":", "."))[:63]


def launch_of(
    *,
    header: str | None,
    over_http: bool,
    tags: Mapping[str, str],
    inherited: str | None,
    os_user: str,
    verified: str | None = None,
    role: str | None = None,
) -> Launch:
    """Decide who launched a run.

    Args:
        header: value of `ACTOR_HEADER` on the request that submitted the run, if any.
        over_http: whether a request submitted the run at all. A request without the header came through a webserver
            that our front door does not guard.
        tags: the run's tags as submitted. Used only to tell a schedule, a sensor, a backfill and a retry apart;
            `plms/actor` among them is never believed.
        inherited: the stamped actor of the backfill or run that this one continues, read from storage.
        os_user: the account of the submitting process.
        verified: value of `VERIFIED_HEADER` on that request, if any.
        role: value of `ROLE_HEADER` on that request, if any.
    """
    if header:
        return Launch(actor_from_header(header), LaunchedFrom.UI, is_verified=verified == "yes", role=role)
    if over_http:
        return Launch(UNGUARDED_ACTOR, LaunchedFrom.UNGUARDED)
    if inherited and continued_id(tags):
        return Launch(inherited, LaunchedFrom.DAEMON)
    for tag, kind in ((_SCHEDULE_TAG, "schedule"), (_SENSOR_TAG, "sensor")):
        if name := tags.get(tag):
            return Launch(f"{kind}:{name}", LaunchedFrom.DAEMON)
    return Launch(local_actor(os_user), LaunchedFrom.TERMINAL)


def continued_id(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """What a run continues, as ("backfill" | "run", id), or None if it stands for itself."""
    if backfill := tags.get(_BACKFILL_TAG):
        return "backfill", backfill
    if parent := tags.get(_PARENT_RUN_TAG):
        return "run", parent
    return None
