"""Who is told, and over which channel?"""

from plms_pipeline.settings.base import Group, setting
from plms_pipeline.settings.files import AbsolutePath


class Alerts(Group):
    """Alerts and messages."""

    alert_rules: AbsolutePath | None = setting(
        None, "path", "Rules of the alert engine; default: those that are shipped."
    )
    oncall_file: AbsolutePath | None = setting(
        None, "path", "Who is told what, over which channel; default: deploy/oncall.yaml of the checkout."
    )
    alert_attempts: int = setting(
        720,
        "attempts",
        "So often a message is tried before it becomes a dead letter; a minute apart in the mean: 720 are half a day.",
        ge=1,
        le=100_000,
    )
    alert_email: str | None = setting(
        None, "address", "Who gets alert mail that nobody is named for in deploy/oncall.yaml.", variable="ALERT_EMAIL"
    )
    smtp_url: str | None = setting(
        None,
        "URL",
        "Mail server for alerts: smtp://user:password@host:587 (with STARTTLS, but on this machine) or smtps://….",
        secret=True,
    )
    slack_webhook_url: str | None = setting(
        None,
        "URL",
        "Slack incoming webhook for alerts; the URL itself is the secret.",
        is_secret_path=True,
        variable="SLACK_WEBHOOK_URL",
    )
    pd_routing_key: str | None = setting(
        None,
        "text",
        "Routing key of the PagerDuty service (Events API v2) that is paged.",
        secret=True,
        variable="PD_ROUTING_KEY",
        pattern=r"^[A-Za-z0-9]{32}$",
    )
    pagerduty_url: str = setting(
        "https://events.pagerduty.com/v2/enqueue",
        "URL",
        "Where PagerDuty takes events; accounts in Europe: https://events.eu.pagerduty.com/v2/enqueue.",
    )
    ticket_url: str | None = setting(None, "URL", "Webhook of a ticket system for alerts.", is_secret_path=True)
    ticket_secret: str | None = setting(
        None, "text", "What requests to the ticket system are signed with.", secret=True, min_length=16
    )
