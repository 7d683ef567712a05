"""Who may use API and UI, and whose word counts for it?"""

from typing import Literal

from plms_pipeline.settings.base import Group, setting
from plms_pipeline.settings.files import AbsolutePath


class Access(Group):
    """Access."""

    auth: Literal["jwt", "disabled"] = setting(
        "jwt", "mode", "Who may use API and UI: whoever has a valid token, or (on a loopback address only) everybody."
    )
    jwt_issuer: str = setting("plms", "name", "What claim `iss` of a token must be.", min_length=1)
    jwt_audience: str = setting("plms-api", "name", "What claim `aud` of a token must hold.", min_length=1)
    jwt_public_keys: AbsolutePath | None = setting(
        None, "path", "JWK set with the RSA keys that verify tokens; default: the keys that `plms token keys` made."
    )
    proxy_user_header: str | None = setting(
        None, "header", "Header in which a reverse proxy names the signed-in user, such as X-Forwarded-User."
    )
    proxy_role_header: str | None = setting(
        None, "header", "Header with the user's roles or groups, separated by commas, such as X-Forwarded-Groups."
    )
    proxy_addresses: str = setting(
        "", "addresses", "Addresses or networks, comma-separated, from which the proxy's headers are believed."
    )
    proxy_roles: str = setting(
        "",
        "mapping",
        "Role of each group, such as plms-oncall=operator,plms-risk=approver,*=viewer; default: groups are named as roles. "
        "Who has none of them is a viewer.",
    )
