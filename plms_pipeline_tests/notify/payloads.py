"""Would the real service take this? JSON schemas derived from what Slack and PagerDuty document."""

from __future__ import annotations

import json
from email.headerregistry import Address
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from plms_pipeline_tests.notify.receivers import Received

SCHEMAS = Path(__file__).with_name("schemas")


@cache
def validator(service: str) -> Any:
    return jsonschema_rs.Draft202012Validator(json.loads((SCHEMAS / f"{service}.json").read_text()))


def problems(service: str, document: Any) -> list[str]:
    """What a service would refuse; empty when it takes it."""
    return [error.message for error in validator(service).iter_errors(document)]


def checked(one: Received) -> Any:
    """A message that the service would take, as what it is."""
    if one.service == "smtp":
        mail = one.mail
        recipients = mail["To"].addresses
        assert recipients
        assert all(isinstance(address, Address) for address in recipients)
        assert all(mail[name] for name in ("From", "Subject", "Date", "Message-ID")), mail.items()
        assert mail["Auto-Submitted"] == "auto-generated"
        return mail
    found = problems({"tickets": "ticket"}.get(one.service, one.service), one.json)
    assert not found, found
    return one.json
