"""A refusal is a fact: who was refused what, and why."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from plms_pipeline.access import store
from plms_pipeline.access.actors import Actor
from plms_pipeline.access.refusals import Window, admit
from plms_pipeline.errors import PlmsError
from plms_pipeline.registry.engine import Registry

ANONYMOUS = Actor("anonymous")
SERVICE = Actor("service:plms serve", is_verified=True)
_log = logging.getLogger(__name__)


class RefusalBook:
    """Writes refusals into the audit log, at most a bounded number a minute; the rest is counted.

    Not locked: two threads that refuse at once may both write, and then the minute holds one entry more.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._window: Window | None = None

    def note(
        self,
        *,
        at: datetime,
        actor: Actor | None,
        subject: str,
        code: str,
        status: int,
        request_id: str,
        peer: str | None,
    ) -> None:
        """Record one refusal. A registry that is away must not turn a 401 into a 500: then only the log has it."""
        self._window, left_out = admit(self._window, at)
        if left_out is None:
            return
        details: dict[str, Any] = {"status": status, "request_id": request_id}
        if peer is not None:
            details["peer"] = peer
        if left_out:
            details["left_out_before"] = left_out
        try:
            with self._registry.writing() as session:
                store.record(
                    session, at=at, actor=actor or ANONYMOUS, action="http.refused", subject=subject, outcome=code[:32],
                    details=details,
                )  # fmt: skip
        except PlmsError as error:
            _log.warning("event=refusal_not_audited code=%s reason=%s request_id=%s", code, error.code, request_id)


def record_ui_mutation(registry: Registry, *, at: datetime, actor: Actor, fields: str, peer: str | None) -> None:
    """Record what the guarded UI let somebody change; the run, sensor or asset that it concerned is Dagster's to show.

    A registry that is away does not stop the UI, by which somebody may be putting it right: then only the log has it.
    """
    details = {"peer": peer} if peer is not None else None
    try:
        with registry.writing() as session:
            store.record(
                session,
                at=at,
                actor=actor,
                action="ui.mutation",
                subject=fields,
                outcome="let_through",
                details=details,
            )
    except PlmsError as error:
        _log.warning("event=mutation_not_audited fields=%s actor=%s reason=%s", fields, actor.name, error.code)


def record_cache_episode(registry: Registry, *, at: datetime, is_up: bool, reason: str) -> None:
    """Record that the answer cache went away or came back: a fact for the alert engine.

    Raises:
        Unavailable: the registry is away.
    """
    outcome = "recovered" if is_up else "lost"
    with registry.writing() as session:
        store.record(
            session,
            at=at,
            actor=SERVICE,
            action="cache.redis",
            subject="redis",
            outcome=outcome,
            details={"reason": reason},
        )


def record_token(registry: Registry, *, at: datetime, actor: Actor, subject: str, details: dict[str, Any]) -> None:
    """Record that a token was issued to `subject`; `details` never hold the token.

    Raises:
        Unavailable: the registry is away.
    """
    with registry.writing() as session:
        store.record(
            session, at=at, actor=actor, action="token.issued", subject=subject, outcome="issued", details=details
        )
