"""The one stream that tells a page what to ask for again (text/event-stream)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import ScopeCheck, State, requires
from plms_pipeline.web.page.service import require_room, watch_of

SCOPE = "projects.view"
router = APIRouter(tags=["page"])
EXAMPLE = (
    'id: 3f2b8c1e5a49-7\nevent: change\ndata: {"at":"2026-03-01T12:00:00+00:00","sections":["projects","portfolio"],'
    '"projects":[42],"lanes":[4200],"runs":[]}\n\n'
)


@router.get(
    "/api/events",
    response_class=StreamingResponse,
    summary="What changed, as it changes",
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
                     "description": "Events `hello`, `change`, `resumed`, `beat` and `bye`."}},
)  # fmt: skip
async def events(
    request: Request,
    state: State,
    _principal: Annotated[Principal, requires(SCOPE)],
    last_event_id: Annotated[
        str | None,
        Header(max_length=64, description="The id of the last event that was seen, to be told what was missed."),
    ] = None,
) -> StreamingResponse:
    """Names what changed: sections, projects, lanes, runs; what they are now is asked for with the other endpoints.

    `hello` (with every section) begins a stream, or `change` with everything that was missed since `Last-Event-ID`, or
    `resumed`. A `beat` comes every five seconds; its `blind` says why the books cannot be seen at the moment. `bye` ends the
    stream of somebody who may not read any more. Refused with 503 `too_many_streams`.
    """
    watch = watch_of(state)
    require_room(watch)
    check = ScopeCheck(SCOPE)

    async def still_may() -> None:
        await check(request)

    # A proxy that collects an answer before it hands it on would make a stream of it that never says anything.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(
        watch.events(last_event_id, still_may), media_type="text/event-stream", headers=headers
    )  # fmt: skip


events.is_a_stream = True  # type: ignore[attr-defined]  # how long it lasted is nobody's latency
