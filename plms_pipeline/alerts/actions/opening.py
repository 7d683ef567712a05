"""Which channels, rules and people count here? What the settings and the two files say, put together.

Whoever works for months looks again, each time, whether a file has changed. One that makes no sense any more changes nothing:
a typing error at three in the morning must not silence what would have told of it.
"""

from __future__ import annotations

import logging
from typing import Final

from plms_pipeline.alerts import files
from plms_pipeline.alerts.oncall import ChannelForm, OnCall
from plms_pipeline.alerts.routing import Routing
from plms_pipeline.alerts.rules import Rule
from plms_pipeline.errors import BadInput
from plms_pipeline.notify.channels import LOG, Channel, checked_url
from plms_pipeline.notify.mail import checked_address
from plms_pipeline.settings import Settings

_log: Final = logging.getLogger(__name__)


class Rulebook:
    """Rules and routes as the files said when they made sense last. Reading them at the same time from two threads is harmless.

    `refused`: why the files as they stand do not count, None while they do.

    Args:
        or_shipped: begin with the shipped files when those that are named make no sense: for whoever was started anew, by
            nobody who reads what is refused, and must not be silent meanwhile.

    Raises:
        BadInput: they make no sense at the beginning.
    """

    def __init__(self, settings: Settings, *, or_shipped: bool = False) -> None:
        self.settings = settings
        self._good = self._seen = files.stamps(settings)
        self.refused: str | None = None
        try:
            self.rules, self.routing = _read(settings)
        except BadInput as error:
            if not or_shipped:
                raise
            self.refused = error.message
            _log.error("event=alert_files_refused code=%s detail=%s; the shipped ones count", error.code, error.message)
            self.rules, self.routing = _read(settings.model_copy(update={"alert_rules": None, "oncall_file": None}))

    def refresh(self) -> bool:
        """Read the files again if one of them has changed; whether other rules or people count now. Never raises."""
        seen = files.stamps(self.settings)
        if seen == self._seen and self.refused is None:
            return False
        self._seen = seen
        try:
            rules, routing = self._checked(seen)
        except BadInput as error:
            if error.message != self.refused:
                _log.error(
                    "event=alert_files_refused code=%s detail=%s; the last good ones count", error.code, error.message
                )
            self.refused = error.message
            return False
        self.rules, self.routing, self.refused, self._good = rules, routing, None, seen
        _log.warning("event=alert_files_taken_up rules=%d channels=%s", len(rules), ",".join(sorted(routing.channels)))
        return True

    def _checked(self, seen: tuple[files.Stamp | None, files.Stamp | None]) -> tuple[dict[str, Rule], Routing]:
        if self._good[1] is not None and seen[1] is None:
            # Where there never was one, nobody but the log is told; that is no wish of whoever moves it.
            raise BadInput(
                "The file of people on call is gone; bring it back, or correct PLMS_ONCALL_FILE.", code="bad_rules"
            )
        return _read(self.settings)


def _read(settings: Settings) -> tuple[dict[str, Rule], Routing]:
    rules = files.load_rules(settings)
    return rules, routing_of(settings, rules)


class LastGood:
    """The rulebook of a process in which everything else is made anew, as at each tick of a sensor."""

    def __init__(self) -> None:
        self._book: Rulebook | None = None

    def of(self, settings: Settings) -> Rulebook:
        """The rules that count.

        Raises:
            BadInput: the files make no sense, and never did in this process.
        """
        if self._book is None or self._book.settings != settings:
            self._book = Rulebook(settings)
        else:
            self._book.refresh()
        return self._book


def problem_of(settings: Settings) -> str | None:
    """Why the files make no sense as they stand; None when they do."""
    try:
        Rulebook(settings)
    except BadInput as error:
        return error.message
    return None


def routing_of(settings: Settings, rules: dict[str, Rule]) -> Routing:
    """Who is told what, over channels that can be used.

    Raises:
        BadInput: `oncall.yaml`, a secret's file or a URL is not as it must be.
    """
    oncall = files.load_oncall(settings, rules)
    mail = None if settings.alert_email is None else checked_address(settings.alert_email)
    return Routing(oncall, channels_of(settings, oncall), settings.env_name, mail)


def channels_of(settings: Settings, oncall: OnCall) -> dict[str, Channel]:
    """The channels that are configured, by name; the log always is.

    Raises:
        BadInput: a URL would carry its secret in the clear, or is none.
    """
    found = {LOG: Channel(LOG, "log", LOG)}
    for name, form in oncall.channels.items():
        channel = _channel(settings, name, form)
        if channel is not None:
            found[name] = channel
    return found


def _channel(settings: Settings, name: str, form: ChannelForm) -> Channel | None:
    given = files.read_secret(form.secret_file) if form.secret_file else None
    shows = form.shows or name
    if form.kind == "log":
        return Channel(name, "log", shows)
    if form.kind == "slack":
        url = given if given is not None else settings.slack_webhook_url
        return Channel(name, "slack", shows, checked_url(url, f"The webhook of channel {name}")) if url else None
    if form.kind == "pagerduty":
        key = given if given is not None else settings.pd_routing_key
        return (
            Channel(name, "pagerduty", shows, checked_url(settings.pagerduty_url, "PLMS_PAGERDUTY_URL"), key)
            if key
            else None
        )
    if form.kind == "smtp":
        url = given if given is not None else settings.smtp_url
        if not url:
            return None
        # STARTTLS protects smtp:// to other machines, or nothing is sent.
        checked = checked_url(url, f"The mail server of channel {name}", schemes=("smtps", "smtp"))
        return Channel(name, "smtp", shows, checked, sender=form.sender)
    secret = given if given is not None else settings.ticket_secret
    if not settings.ticket_url or not secret:
        return None
    return Channel(name, "ticket", shows, checked_url(settings.ticket_url, "PLMS_TICKET_URL"), secret)
