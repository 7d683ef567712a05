"""How is what is owed sent, each message at least once, and what becomes of one that nobody takes?

Claimed one at a time, sent with no transaction open, and written down at once: a sender that is killed repeats one message,
under the key that it had. Waits double up to half a minute with full jitter; a service may ask for more. What is refused
for good, or too often, becomes a dead letter of kind `delivery`, and `plms dlq reset-retries` tries it anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from plms_pipeline.alerts.store import deliveries
from plms_pipeline.alerts.store.deliveries import Claimed
from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput
from plms_pipeline.letters import store as letters
from plms_pipeline.letters.actions.retrying import Round, Tried, retry_due
from plms_pipeline.letters.reasons import PERMANENT, TRANSIENT
from plms_pipeline.letters.rules import RETRIER, Failure, Letter, Policy, chance_of, letter_id_of, wait_s
from plms_pipeline.notify.channels import Channel, NotSent
from plms_pipeline.notify.message import Message
from plms_pipeline.registry.engine import Registry

ACTOR: Final = "alerts"
LETTER: Final = "delivery"
SUBJECT: Final = "delivery:"
# An outage of a service lasts hours, and a page that was given up meanwhile is told to nobody: with a minute between two
# attempts in the mean, these go on for half a day.
POLICY: Final = Policy(max_attempts=720, longest_wait_s=120.0)
Outcome = Literal["sent", "later", "dead"]
_log = logging.getLogger(__name__)


class Sends(Protocol):
    """Hands one message to a service (`Notifier.send`)."""

    def __call__(self, channel: Channel, message: Message, recipient: str, *, now: datetime) -> str:
        """What the service said."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What deliveries are made with.

    Args:
        channels: those that are configured, by name.
        send: hands one message to a service.
        holder: names this process in leases; no other process carries it.
        is_dead: whether a holder is known to be gone.
        policy: how often, and how long to wait.
    """

    registry: Registry
    clock: Clock
    channels: dict[str, Channel]
    send: Sends
    holder: str
    is_dead: Callable[[str], bool]
    policy: Policy = POLICY


@dataclass(frozen=True, slots=True)
class Made:
    """One delivery as it came out."""

    claimed: Claimed
    outcome: Outcome
    said: str


def deliver(desk: Desk, *, channels: Collection[str] | None = None, limit: int = 100) -> list[Made]:
    """Send what is due over some channels (None: all), until nothing is, something failed, or `limit` were tried.

    A channel that fails is left alone until its message is due again: a service that hangs costs one timeout, not one for each.

    Raises:
        Unavailable: the registry is away; what was claimed is due again when its lease ends.
    """
    found: list[Made] = []
    while len(found) < limit:
        made = deliver_one(desk, channels=channels)
        if made is None:
            break
        found.append(made)
        if made.outcome == "later" and channels is not None:
            break
    return found


def deliver_one(desk: Desk, *, channels: Collection[str] | None = None) -> Made | None:
    """Send the most urgent message that is due; None when there is none."""
    with desk.registry.reading() as session:
        if not deliveries.is_any_due(session, channels, desk.clock.now()):
            return None
    with desk.registry.writing() as session:
        claimed = deliveries.claim(session, channels, holder=desk.holder, now=desk.clock.now())
    if claimed is None:
        return None
    channel = desk.channels.get(claimed.channel)
    try:
        if channel is None:
            raise NotSent(f"Channel {claimed.channel} is not configured any more", is_permanent=True)  # noqa: TRY301 - as if refused
        said = desk.send(channel, claimed.message, claimed.recipient, now=desk.clock.now())
    except (NotSent, BadInput) as error:
        return _not_taken(desk, claimed, error)
    except Exception as error:  # noqa: BLE001 - told below
        # What nobody foresaw counts as an attempt: else it would be tried for ever, and nobody would hear of it. Its text may
        # hold a secret.
        return _not_taken(desk, claimed, NotSent(f"Channel {claimed.channel} failed: {type(error).__name__}"))
    with desk.registry.writing() as session:
        now = desk.clock.now()
        deliveries.done(session, claimed.id, now=now, answer=said)
        letters.recover(session, letter_id_of(LETTER, SUBJECT + claimed.key), now=now, actor=ACTOR)
    return Made(claimed, "sent", said)


def _not_taken(desk: Desk, claimed: Claimed, error: NotSent | BadInput) -> Made:
    is_permanent = isinstance(error, BadInput) or error.is_permanent
    is_over = is_permanent or claimed.attempts >= desk.policy.max_attempts
    with desk.registry.writing() as session:
        now = desk.clock.now()
        if not is_over:
            wait = wait_s(claimed.attempts, chance_of(claimed.key, claimed.attempts), desk.policy)
            due_at = now + timedelta(seconds=max(wait, float(error.retry_after_s or 0)))
            deliveries.later(session, claimed.id, due_at=due_at, now=now, error=error.message)
        elif deliveries.dead(session, claimed.id, now=now, error=error.message):
            failure = Failure(
                kind=LETTER, subject_id=SUBJECT + claimed.key, reason=error.message,
                error_class=PERMANENT if is_permanent else TRANSIENT, is_final=True,
                payload={"rule": claimed.message.rule, "channel": claimed.channel, "attempts": claimed.attempts},
            )  # fmt: skip
            letters.put(session, failure, now=now, actor=ACTOR)
    level = logging.ERROR if is_over else logging.WARNING
    _log.log(
        level, "event=alert_not_sent key=%s rule=%s channel=%s attempts=%d is_over=%s reason=%s", claimed.key,
        claimed.message.rule, claimed.channel, claimed.attempts, is_over, error.message,
    )  # fmt: skip
    return Made(claimed, "dead" if is_over else "later", error.message)


def free_from_dead(desk: Desk) -> int:
    """Take deliveries from processes of this machine that are gone; how many. Otherwise their leases end in a minute."""
    with desk.registry.reading() as session:
        gone = [holder for holder in deliveries.holders(session) if holder != desk.holder and desk.is_dead(holder)]
    if not gone:
        return 0
    with desk.registry.writing() as session:
        return deliveries.free_from(session, gone)


def try_anew(desk: Desk) -> Round:
    """Owe again what a person brought back from the dead letters."""

    def again(letter: Letter) -> Tried:
        with desk.registry.writing() as session:
            if not letters.begun(session, letter):
                return Tried("overtaken", "somebody else has decided about it meanwhile")
            key = letter.subject_id.removeprefix(SUBJECT)
            if deliveries.revive(session, key, now=desk.clock.now()):
                return Tried("begun", "it is owed again")
            letters.recover(session, letter.letter_id, now=desk.clock.now(), actor=RETRIER)
        return Tried("begun", "nothing is owed any more")

    return retry_due(desk.registry, clock=desk.clock, holder=desk.holder, handlers={LETTER: again})
