"""To whom does a message go, over which channel, and when?

A route is a list of targets. One whose channel is not configured (its secret is missing), or where nobody has an address,
falls back to the log: what is not told anywhere else is at least kept where the operator looks first. Several targets of
one mail channel are one mail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from plms_pipeline.alerts.oncall import OnCall
from plms_pipeline.alerts.rules import Rule
from plms_pipeline.notify.channels import LOG, Channel, ChannelKind

PATIENT = ("P2", "P3")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where one message goes."""

    channel: str
    kind: ChannelKind
    address: str


@dataclass(frozen=True, slots=True)
class Routing:
    """What decides where messages go.

    Args:
        oncall: the validated file.
        channels: those that are configured, by name; the log is always there.
        environment: what messages call this installation.
        fallback_mail: who gets mail that nobody is named for (ALERT_EMAIL).
    """

    oncall: OnCall
    channels: Mapping[str, Channel]
    environment: str = "development"
    fallback_mail: str | None = None

    def targets_of(self, rule: Rule) -> tuple[str, ...]:
        """The route of a rule: what the file says, else the rule's own."""
        return tuple(self.oncall.routes.get(rule.name, rule.route))

    def recipients(self, targets: Iterable[str], *, project_id: int | None, now: datetime) -> tuple[Recipient, ...]:
        """Where a message about a project (or none) goes; never empty."""
        found: dict[str, list[str]] = {}
        for target in targets:
            name, _, who = target.partition(":")
            channel = self.channels.get(name)
            if channel is None or channel.kind == "log":
                found.setdefault(LOG, [])
            elif channel.kind != "smtp":
                found.setdefault(name, [])
            else:
                addresses = self._addresses(who, project_id=project_id, now=now)
                known = found.setdefault(name if addresses else LOG, [])
                known += [each for each in addresses if each not in known]
        if not found:
            found[LOG] = []
        return tuple(self._recipient(name, addresses) for name, addresses in found.items())

    def due_at(self, severity: str, now: datetime) -> datetime:
        """When a message of a severity may go out: at once, or after the quiet hours."""
        quiet = self.oncall.quiet_hours
        return now if quiet is None or severity not in PATIENT else quiet.until(now)

    def runbook(self, rule: str) -> str:
        """The page about a rule: a URL where one is configured, else its path in the product."""
        return f"{self.oncall.runbooks}{rule}.md" if self.oncall.runbooks else f"docs/runbooks/{rule}.md"

    def _addresses(self, who: str, *, project_id: int | None, now: datetime) -> list[str]:
        names = self.oncall.contacts_of(who, project_id=project_id, now=now)
        found = [self.oncall.contacts[name].email for name in names if name in self.oncall.contacts]
        known = [address for address in found if address is not None]
        return known or ([self.fallback_mail] if self.fallback_mail else [])

    def _recipient(self, name: str, addresses: list[str]) -> Recipient:
        if name == LOG:
            return Recipient(LOG, "log", LOG)
        channel = self.channels[name]
        return Recipient(name, channel.kind, ", ".join(addresses) or channel.address or name)
