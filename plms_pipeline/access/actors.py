"""Who is acting, and do we know it?

From the command line an actor is `local:<operating-system user>` and unverified: nobody checked a password. From the
guarded UI it is what the front door vouched for. An unverified actor is never the second person of a decision.
"""

from __future__ import annotations

from dataclasses import dataclass

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
