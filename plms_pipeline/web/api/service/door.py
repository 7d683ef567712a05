"""Who stands at the door of a serving process, API and guarded UI alike?

Apart from the rest of the composition, because the parent of several web processes asks too, before it starts them: keys that
are missing are told once, and it imports no routes for that.
"""

from __future__ import annotations

from plms_pipeline.access.actors import local_actor
from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.files import KeyRing
from plms_pipeline.access.principals import unchecked
from plms_pipeline.access.proxies import trusted_proxy
from plms_pipeline.clock import Clock
from plms_pipeline.settings import Settings


def doorkeeper(settings: Settings, clock: Clock, *, needs_keys: bool = True) -> Doorkeeper:
    """Who checks the tokens; with PLMS_AUTH=disabled nobody does.

    Args:
        settings: hold keys, issuer, audience and proxy.
        clock: the present moment.
        needs_keys: whether nothing can be done here without a token; else keys are asked for when somebody has one.

    Raises:
        NoData: no keys were made yet (`no_token_keys`), and nothing else says who somebody is.
        BadInput: the keys or the settings of the proxy cannot be used.
    """
    ring = KeyRing(settings.data_dir, settings.jwt_public_keys)
    proxy = trusted_proxy(
        settings.proxy_user_header, settings.proxy_role_header, settings.proxy_addresses, settings.proxy_roles
    )
    everybody = unchecked(local_actor()) if settings.auth == "disabled" else None
    if everybody is None and proxy is None and needs_keys:
        ring.keys(clock.now())
    return Doorkeeper(
        ring.keys,
        clock,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        everybody=everybody,
        proxy=proxy,
    )
