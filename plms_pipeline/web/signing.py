"""How does a person sign in at the guarded UI, and out again?

`/login` takes a token by a form and keeps it in the cookie that API and page use too (`access/sessions.py`); `/logout` forgets
it. The token is posted, never part of an address, and the page that takes it runs no script. Only our own pages may post here:
a browser that another site signs in works in somebody else's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.principals import Principal
from plms_pipeline.access.sessions import came_by_https, cookie_for, ended_cookie
from plms_pipeline.access.tokens import MAX_TOKEN_CHARS
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.web.connections import Receive, Scope, Send, read_body, refuse, respond
from plms_pipeline.web.origins import Refusal, origin_refusal
from plms_pipeline.web.render import sign_in_page

LOGIN, LOGOUT = "/login", "/logout"
PATHS = frozenset({LOGIN, LOGOUT})
FORM = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 2 * MAX_TOKEN_CHARS
_HTML = (b"content-type", b"text/html; charset=utf-8")
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
)
_PAGE_HEADERS = (_HTML, _POLICY, (b"cache-control", b"no-store"))


@dataclass(frozen=True, slots=True)
class Desk:
    """Where people sign in.

    Args:
        door: who judges a token.
        clock: the present moment.
        may_look: whether somebody without a name may look at the UI.
    """

    door: Doorkeeper
    clock: Clock
    may_look: bool

    async def serve(
        self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send, known: Principal | None
    ) -> Refusal | None:
        """Answer a request to `/login` or `/logout`; the refusal that was answered, for the log.

        Args:
            scope: of the request.
            headers: by lower-case name.
            receive: gives its body.
            send: takes the answer.
            known: who is signed in already.
        """
        if scope["method"] != "POST":
            await self.show(send, onward=_onward(scope), known=known, has_session=b"cookie" in _names(scope))
            return None
        refusal = origin_refusal(headers)
        if refusal is None and scope["path"] == LOGOUT:
            cookie = ended_cookie(is_secure=_is_secure(scope, headers))
            await respond(303, [(b"location", LOGIN.encode()), (b"set-cookie", cookie.encode())], b"", send)
            return None
        if refusal is None and headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            refusal = Refusal(415, "form_required", f"Sign in with the form of {LOGIN}.")
        if refusal is not None:
            await refuse(refusal, send)
            return refusal
        return await self._sign_in(scope, headers, receive, send)

    async def show(
        self,
        send: Send,
        *,
        onward: str,
        known: Principal | None = None,
        has_session: bool = False,
        refused: str = "",
        status: int = 200,
        reload: bool = False,
    ) -> None:
        """Answer with the page."""
        page = sign_in_page(
            onward=onward,
            name=known.name if known is not None else None,
            role=known.role if known is not None else None,
            refused=refused,
            may_look=self.may_look,
            may_sign_out=has_session and not self.door.is_open,
            reload=reload,
        )
        await respond(status, _PAGE_HEADERS, page, send)

    async def _sign_in(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> Refusal | None:
        body = await read_body(receive, MAX_FORM_BYTES)
        fields = _fields(body or b"")
        token, onward = fields.get("token", "").strip().removeprefix("Bearer ").strip(), safe_path(fields.get("next"))
        try:
            found = self.door.verified(token)
            cookie = cookie_for(
                token, expires_at=found.expires_at, now=self.clock.now(), is_secure=_is_secure(scope, headers)
            )
        except PlmsError as error:
            await self.show(send, onward=onward, refused=error.message, status=error.http_status)
            return Refusal(error.http_status, error.code, error.message)
        await respond(303, [(b"location", onward.encode("ascii")), (b"set-cookie", cookie.encode())], b"", send)
        return None


def safe_path(given: str | None) -> str:
    """A path of this server, or `/`: what somebody else wrote into a link must not lead to their own server."""
    path = given or "/"
    is_ours = path.startswith("/") and not path.startswith("//") and path.isascii() and path.isprintable()
    is_plain = not any(mark in path for mark in "\\ \"'<>") and path.partition("?")[0] not in PATHS
    return path if is_ours and is_plain and len(path) <= 2000 else "/"


def _onward(scope: Scope) -> str:
    """Where to go afterwards: what the link asked for; no token is looked for in an address."""
    return safe_path(_fields(scope.get("query_string", b"")).get("next"))


def _fields(encoded: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(encoded.decode("latin-1"), max_num_fields=10))
    except ValueError:  # more fields than any form of ours has
        return {}


def _names(scope: Scope) -> set[bytes]:
    return {name for name, _ in scope["headers"]}


def _is_secure(scope: Scope, headers: dict[str, str]) -> bool:
    return came_by_https(str(scope.get("scheme", "http")), headers.get("origin"))
