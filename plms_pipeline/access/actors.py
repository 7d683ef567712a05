"""Who is acting, and do we know it?

From the command line an actor is `local:<operating-system user>` and unverified: nobody checked a password. From the
guarded UI it is what the front door vouched for. An unverified actor is never the second person of a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plms_pipeline.instance.actors import ACTOR_TAG, LAUNCHED_FROM_TAG, UNGUARDED_ACTOR, VERIFIED_TAG, LaunchedFrom
from plms_pipeline.instance.actors import local_actor as local_name
from plms_pipeline.instance.process import os_user


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or process that acts; `is_verified` when something we trust vouched for the name."""

    name: str
    is_verified: bool = False


SCHEDULE = Actor("schedule", is_verified=True)


def local_actor() -> Actor:
    """The actor of a command typed on this machine: the account it runs under, which nobody vouched for."""
    return Actor(local_name(os_user()))


def launch_actor(tags: Mapping[str, str]) -> Actor:
    """The actor of a Dagster run, from the tags that our run coordinator stamped.

    Only the front door vouches for a name: one that it knows by token, session or proxy, and not for one that is merely an
    account of its machine. A run without the tag bypassed the coordinator (`dagster job execute`): it is the account's.
    """
    name = tags.get(ACTOR_TAG)
    if name is None:
        return local_actor()
    is_known = tags.get(VERIFIED_TAG) == "yes" and not name.startswith(("local:", "anonymous:"))
    is_vouched_for = is_known and tags.get(LAUNCHED_FROM_TAG) == LaunchedFrom.UI
    return Actor(name, is_verified=is_vouched_for and name != UNGUARDED_ACTOR)
