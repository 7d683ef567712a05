"""Which channels, rules and people count here? What the settings and the two files say, put together."""

from __future__ import annotations

from plms_pipeline.alerts import files
from plms_pipeline.alerts.oncall import ChannelForm, OnCall
from plms_pipeline.alerts.routing import Routing
from plms_pipeline.alerts.rules import Rule
from plms_pipeline.notify.channels import LOG, Channel, checked_url
from plms_pipeline.notify.mail import checked_address
from plms_pipeline.settings import Settings


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
