"""Who may do what through the Dagster UI's front door?

Open-source Dagster has no login, and its webserver runs a mutation that arrives by GET: one `<img>` on any page that a
user visits launches a run. This middleware stands in front of it: it answers to its own host names only, lets changes
in only as JSON posted by its own pages (or by programs, which need no browser's help), closes the WebSocket to
anything but subscriptions and the endpoints by which anyone could report a check as passed. It knows who asks, by token,
session or proxy, lets nobody do more than their scopes allow (`web/rules.py`), and stamps the actor.

Plain ASGI and nothing of Dagster, so that it can be read in one sitting and tested without a server.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from plms_pipeline.access.bearer import Doorkeeper
from plms_pipeline.access.hosts import Authority
from plms_pipeline.access.principals import Principal
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError, Unauthenticated
from plms_pipeline.instance.actors import ACTOR_HEADER, ROLE_HEADER, VERIFIED_HEADER, header_value
from plms_pipeline.web.connections import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    refuse,
    replay,
    with_security_headers,
)
from plms_pipeline.web.demands import Facts, Question, demand_of, question_of
from plms_pipeline.web.downloads import about_run, debugged_run, log_refusal, no_run
from plms_pipeline.web.operations import (
    BadRequest,
    Operations,
    check_websocket_message,
    operations_of_body,
    operations_of_url,
    shown,
)
from plms_pipeline.web.origins import (
    SAFE_METHODS,
    Refusal,
    embedding_refusal,
    host_refusal,
    origin_refusal,
)
from plms_pipeline.web.permits import NAMELESS, Grants, verdict
from plms_pipeline.web.permits import shown as shown_as
from plms_pipeline.web.rules import LOOKS
from plms_pipeline.web.signing import PATHS, Desk, safe_path

GRAPHQL_PATH = "/graphql"
REPORT_PREFIX = "/report_asset_"
MAX_BODY_BYTES = 8 * 1024 * 1024
POLICY_VIOLATION = 1008
# Under which name a connection's scope holds what its sender may do (`dagster_internals.GRANTS_KEY`); no client writes there.
GRANTS = "plms.grants"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that belongs into the audit log: a refusal, or a mutation that was let through (status None)."""

    principal: Principal | None
    subject: str
    code: str
    status: int | None
    peer: str | None


async def nothing_known(_question: Question) -> Facts:
    """The look-up of a door behind which nothing can be looked up."""
    return Facts()


async def not_noted(_event: Event) -> None:
    """The audit log of a door that has none."""


class FrontDoor:
    """The guard, as an ASGI application around Dagster's.

    Args:
        app: the webserver to protect.
        allowed_hosts: names (and ports) that a request may be addressed to.
        door: says who sends a request.
        clock: the present moment.
        look_up: what is known of the runs, backfills and jobs that a mutation names.
        note: told about every refusal and every mutation.
        nameless_may_look: whether somebody whom nobody knows may look at pages and ask queries.
    """

    def __init__(
        self,
        app: App,
        allowed_hosts: Iterable[Authority],
        door: Doorkeeper,
        clock: Clock,
        *,
        look_up: Callable[[Question], Awaitable[Facts]] = nothing_known,
        note: Callable[[Event], Awaitable[None]] = not_noted,
        nameless_may_look: bool = True,
    ) -> None:
        self._app = app
        self._allowed = frozenset(allowed_hosts)
        self._door = door
        self._look_up = look_up
        self._note = note
        self._nameless_may_look = nameless_may_look
        self._desk = Desk(door, clock, nameless_may_look)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one connection and hand it on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, with_security_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, doubled = headers_of(scope)
        principal, refusal = None, _doubled(doubled) or self._place_refusal(scope, headers)
        if refusal is None:
            principal, refusal = self._who(scope)
        if scope["path"] in PATHS and (refusal is None or refusal.status == 401):
            known = None if principal is NAMELESS else principal
            refused = await self._desk.serve(scope, headers, receive, send, known)
            if refused is not None:
                await self._refused(scope, refused, principal)
            return
        refusal = refusal or self._judge(scope, headers)
        if refusal is None and principal is NAMELESS and not self._nameless_may_look:
            await self._ask_to_sign_in(scope, headers, send)
            return
        refusal = refusal or _look_refusal(principal)
        if refusal is None and scope["path"] == GRAPHQL_PATH and scope["method"] == "POST":
            refusal, receive = await self._judge_body(scope, receive, principal or NAMELESS)
        refusal = refusal or await self._absent(scope["path"])
        if refusal is not None:
            await self._refused(scope, refusal, principal)
            await refuse(refusal, send)
            return
        await self._app(self._stamped(scope, principal or NAMELESS), receive, send)

    async def _absent(self, path: str) -> Refusal | None:
        """Why there is no such download; asked last, so that who may not look learns nothing of what there is."""
        run_id = debugged_run(path)
        if run_id is None:
            return log_refusal(path)
        facts = await self._look_up(about_run(run_id))
        return None if run_id in facts.runs else no_run(run_id)

    def _place_refusal(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        return host_refusal(headers.get("host"), self._allowed) or _path_refusal(scope["path"])

    def _who(self, scope: Scope) -> tuple[Principal | None, Refusal | None]:
        """Who sends a request; nobody in particular when only a cookie says so, and that is no longer good."""
        try:
            return self._door.of(scope), None
        except Unauthenticated as error:
            names = {name for name, _ in scope["headers"]}
            if b"authorization" in names or error.code.startswith(("proxy_", "two_", "session_")):
                return None, Refusal(401, error.code, error.message)
            return NAMELESS, None
        except PlmsError as error:
            # There are no keys, or they cannot be read: whoever shows a token must hear it, whoever shows none may look.
            if b"authorization" in {name for name, _ in scope["headers"]}:
                return None, Refusal(error.http_status, error.code, error.message)
            _log.warning("event=keys_not_usable code=%s", error.code)
            return NAMELESS, None

    def _judge(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        method, path = scope["method"], scope["path"]
        if method not in SAFE_METHODS | {"POST"}:
            return Refusal(405, "method_not_allowed", f"{method} is not used here.", allow="GET, HEAD, OPTIONS, POST")
        if path.startswith(REPORT_PREFIX):
            return Refusal(
                403,
                "report_endpoint_closed",
                "Materializations and checks are not reported to this address: it cannot know who reports them.",
            )
        if method == "POST":
            return origin_refusal(headers) or _media_type_refusal(headers)
        if refusal := embedding_refusal(method, headers):
            return refusal
        return _url_refusal(scope) if path == GRAPHQL_PATH else None

    async def _judge_body(self, scope: Scope, receive: Receive, principal: Principal) -> tuple[Refusal | None, Receive]:
        body = await read_body(receive, MAX_BODY_BYTES)
        if body is None:
            return Refusal(413, "too_large", f"A request body may hold at most {MAX_BODY_BYTES} bytes."), receive
        try:
            operations = operations_of_body(body)
            refusal = await self._judge_mutations(scope, operations, principal) if operations.mutates else None
        except BadRequest as error:
            return Refusal(400, "bad_graphql_request", str(error)), receive
        return refusal, replay(body, receive)

    async def _judge_mutations(self, scope: Scope, operations: Operations, principal: Principal) -> Refusal | None:
        demands = [demand_of(call) for call in operations.calls()]
        # Who may not do it whatever it is about does not make us look anything up.
        refusal = verdict(principal, [demand.at_least for demand in demands], Facts())
        if refusal is not None:
            return refusal
        question = question_of(demands)
        facts = Facts() if question.is_empty else await self._look_up(question)
        refusal = verdict(principal, demands, facts)
        if refusal is None:
            fields = shown(operations.mutation_fields)
            _log.info("event=graphql_mutation fields=%s actor=%s", fields, header_value(principal.name))
            await self._note(Event(principal, fields, "let_through", None, _peer(scope)))
        return refusal

    async def _ask_to_sign_in(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        """A person gets the page, a program the reason.

        A link on another site is followed without our `SameSite=Strict` cookie: then the page asks for itself once more, and
        that time the browser sends it.
        """
        refusal = Refusal(401, "sign_in_needed", "Nobody looks at this without a name; sign in at /login.")
        await self._refused(scope, refusal, None)
        if "text/html" not in headers.get("accept", "") or scope["method"] != "GET":
            await refuse(refusal, send)
            return
        is_followed = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        query = scope.get("query_string", b"").decode("latin-1")
        onward = safe_path(scope["path"] + (f"?{query}" if query else ""))
        await self._desk.show(send, onward=onward, status=401, reload=is_followed)

    async def _refused(self, scope: Scope, refusal: Refusal, principal: Principal | None) -> None:
        method = scope.get("method", "websocket")
        _log.warning("event=refused code=%s method=%s path=%.80r", refusal.code, method, scope["path"])
        if refusal.status in (401, 403):
            path = "".join(mark if mark.isascii() and mark.isprintable() else "?" for mark in scope["path"][:200])
            known = None if principal is NAMELESS else principal
            await self._note(Event(known, f"ui {method} {path}", refusal.code, refusal.status, _peer(scope)))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, doubled = headers_of(scope)
        refusal = _doubled(doubled) or host_refusal(headers.get("host"), self._allowed) or origin_refusal(headers)
        principal: Principal | None = None
        if refusal is None:
            principal, refusal = self._who(scope)
        if refusal is None and principal is NAMELESS and not self._nameless_may_look:
            refusal = Refusal(401, "sign_in_needed", "Sign in at /login.")
        refusal = refusal or _look_refusal(principal)
        if refusal is not None:
            await self._refused(scope, refusal, principal)
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.code})
            return

        async def checked_receive() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                check_websocket_message(message.get("text"))
            except BadRequest as error:
                _log.warning("event=refused code=bad_graphql_message websocket path=%.80r", scope["path"])
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)[:120]})
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        await self._app(self._stamped(scope, principal or NAMELESS), checked_receive, send)

    def _stamped(self, scope: Scope, principal: Principal) -> Scope:
        """The connection as Dagster sees it: who acts and what they may do, said by us, and without what proved it."""
        kept = [(name, value) for name, value in scope["headers"] if not _is_ours_to_say(name)]
        said = {
            ACTOR_HEADER: header_value(principal.name),
            VERIFIED_HEADER: "yes" if principal.is_verified else "no",
            ROLE_HEADER: principal.role or "none",
        }
        stamps = [(name.encode("ascii"), value.encode("ascii")) for name, value in said.items()]
        return {**scope, "headers": [*kept, *stamps], GRANTS: Grants(principal)}


def _is_ours_to_say(name: bytes) -> bool:
    plain = name.decode("latin-1").lower().replace("_", "-")
    return plain.startswith(ACTOR_HEADER) or plain in ("authorization", "cookie")


def _doubled(name: str | None) -> Refusal | None:
    return Refusal(400, "doubled_header", f"The header {name} may occur only once.") if name else None


def _look_refusal(principal: Principal | None) -> Refusal | None:
    """The executor's own token, for example, reports what happened and sees nothing."""
    if principal is None or principal.may(LOOKS):
        return None
    return Refusal(403, "missing_scope", f"Missing scope: {LOOKS} (you are {shown_as(principal)}).")


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _path_refusal(path: str) -> Refusal | None:
    r"""Starlette matches a route up to `$`, which in Python also stands before a final newline: `/graphql%0A` is the
    GraphQL endpoint to the router and some unknown page to a comparison."""
    if path.isprintable():
        return None
    return Refusal(400, "bad_path", "The path holds a character that no page of this server has in its name.")


def _media_type_refusal(headers: dict[str, str]) -> Refusal | None:
    """Only `application/json` itself: Dagster also takes `text/plain; x=application/json`, which any site may send."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return None
    return Refusal(415, "json_required", "What changes something is posted with Content-Type: application/json.")


def _url_refusal(scope: Scope) -> Refusal | None:
    try:
        operations = operations_of_url(scope.get("query_string", b""))
    except BadRequest as error:
        return Refusal(400, "bad_graphql_request", str(error))
    if operations is None or operations.only("query"):
        return None
    return Refusal(
        405,
        "mutation_needs_post",
        "By GET only queries are answered; a mutation is posted as JSON, by this server's own pages.",
        allow="POST",
    )
