"""How does the front door know who comes, what is behind it, and whom to tell?

Tokens and proxies, Dagster's history and the audit log meet here; the door itself knows none of them. Apart from the rest of
`plms ui`, because the API shares its sockets and signals and parses no GraphQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from plms_pipeline.access.actions import RefusalBook, record_ui_mutation
from plms_pipeline.access.hosts import Authority
from plms_pipeline.clock import Clock
from plms_pipeline.errors import PlmsError
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.migrate import require_head
from plms_pipeline.web.api.service.door import doorkeeper
from plms_pipeline.web.demands import Facts, KnownRun, Question
from plms_pipeline.web.guard import Event, FrontDoor

if TYPE_CHECKING:
    from plms_pipeline.dagster_internals import History, Webserver
    from plms_pipeline.settings import Settings

_log = logging.getLogger(__name__)


def guarded(
    webserver: Webserver, settings: Settings, registry: Registry, allowed: frozenset[Authority], clock: Clock
) -> FrontDoor:
    """The webserver behind its front door.

    Args:
        webserver: Dagster's.
        settings: say who may come in, and how.
        registry: holds the audit log.
        allowed: the names that the door answers to.
        clock: the present moment.

    Raises:
        BadInput: the settings of the proxy cannot be meant.
    """
    return FrontDoor(
        webserver.app,
        allowed,
        doorkeeper(settings, clock, needs_keys=False),
        clock,
        look_up=looking_up(webserver.history),
        note=noting(registry, clock),
        nameless_may_look=settings.ui_nameless == "view",
    )


def looking_up(history: History) -> Callable[[Question], Awaitable[Facts]]:
    """What answers the door's questions from Dagster's instance and workspace, beside the event loop."""

    def looked_up(question: Question) -> Facts:
        runs = {run_id: history.run(run_id) for run_id in question.runs}
        backfills = {backfill_id: history.backfill_job(backfill_id) for backfill_id in question.backfills}
        return Facts(
            runs={run_id: KnownRun(*found) for run_id, found in runs.items() if found is not None},
            backfills={backfill_id: job for backfill_id, job in backfills.items() if job is not None},
            job_tags={job: history.job_tags(job) for job in question.jobs},
        )

    async def look_up(question: Question) -> Facts:
        return await asyncio.to_thread(looked_up, question)

    return look_up


def noting(registry: Registry, clock: Clock) -> Callable[[Event], Awaitable[None]]:
    """What writes the door's events into the audit log, beside the event loop; refusals a bounded number a minute.

    The UI also opens where there is no registry yet, or an older one that somebody is about to migrate from it: then only the
    log has the events.
    """
    book = RefusalBook(registry)
    is_made = False

    def noted(event: Event) -> None:
        nonlocal is_made
        actor = event.principal.actor if event.principal is not None else None
        try:
            if not is_made:
                require_head(registry)
                is_made = True
        except PlmsError as error:
            _log.warning("event=not_audited subject=%r code=%s reason=%s", event.subject, event.code, error.code)
            return
        if event.status is not None:
            book.note(
                at=clock.now(), actor=actor, subject=event.subject, code=event.code, status=event.status, request_id="",
                peer=event.peer,
            )  # fmt: skip
        elif actor is not None:
            record_ui_mutation(registry, at=clock.now(), actor=actor, fields=event.subject, peer=event.peer)

    async def note(event: Event) -> None:
        await asyncio.to_thread(noted, event)

    return note
