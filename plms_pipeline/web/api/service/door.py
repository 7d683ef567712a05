"""Who stands at the door of a serving process?

Apart from the rest of the composition, because the parent of several web processes asks too, before it starts them: keys that
are missing are told once, and it imports no routes for that.
"""

from __future__ import annotations

from plms_pipeline.access.actors import local_actor
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.files import KeyRing
from plms_pipeline.access.principals import unchecked
from plms_pipeline.clock import Clock
from plms_pipeline.settings import Settings


def doorkeeper(settings: Settings, clock: Clock) -> Doorkeeper:
    """Who checks the tokens; with PLMS_AUTH=disabled nobody does.

    Raises:
        NoData: no keys were made yet (`no_token_keys`).
        BadInput: the keys cannot be used.
    """
    ring = KeyRing(settings.data_dir, settings.jwt_public_keys)
    everybody = unchecked(local_actor()) if settings.auth == "disabled" else None
    if everybody is None:
        ring.keys(clock.now())
    return Doorkeeper(ring.keys, clock, issuer=settings.jwt_issuer, audience=settings.jwt_audience, everybody=everybody)
