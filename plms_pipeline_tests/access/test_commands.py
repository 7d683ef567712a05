"""Do `plms token keys` and `plms token issue` give what they promise, and leave a trace without the token?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from plms_pipeline.access.files import KeyRing
from plms_pipeline.access.tokens import verify
from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry
from plms_pipeline.settings import Settings


@pytest.fixture(autouse=True)
def instance(settings: Settings, sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


@pytest.mark.parametrize("alg", ["RS256", "hs256"])
def test_an_issued_token_is_accepted_and_recorded(
    settings: Settings, sqlite_registry: Registry, capsys: pytest.CaptureFixture[str], alg: str
) -> None:
    """Who gave whom a token is asked after an incident; the token itself must not lie in the log for whoever reads it."""
    code, keys, _ = told(capsys, "token", "keys", "--alg", alg)
    assert (code, keys["alg"], keys["verifies"]) == (0, alg.upper(), [keys["kid"]])
    code, issued, _ = told(capsys, "token", "issue", "--role", "operator", "--subject", "ci", "--ttl", "30m")
    assert code == 0
    now = SystemClock().now()
    principal = verify(
        issued["token"], keys=KeyRing(settings.data_dir).keys(now), now=now, issuer="plms", audience="plms-api"
    )
    assert (principal.name, sorted(principal.scopes)) == ("ci", issued["scopes"])
    with sqlite_registry.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "token.issued")).one()
    assert (entry.subject, entry.actor.split(":")[0]) == ("ci", "local")
    assert entry.details_json["token_id"] == issued["token_id"]
    assert issued["token"] not in str(entry.details_json)


def test_the_plain_form_prints_the_token_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """`TOKEN=$(plms token issue …)` in every script."""
    main(["token", "keys"])
    assert "RS256" in capsys.readouterr().out
    assert main(["token", "issue", "--role", "viewer", "--subject", "me"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("--role", "root", "--subject", "x"), 2, "unknown_role"),
        (("--role", "pas", "--subject", "local:x"), 2, "bad_subject"),
        (("--role", "viewer", "--subject", "x", "--ttl", "soon"), 2, "bad_ttl"),
        (("--role", "viewer", "--subject", "x", "--ttl", "0h"), 2, "bad_ttl"),
        (("--role", "viewer", "--subject", "x", "--ttl", "999999d"), 2, "bad_ttl"),
    ],
)  # fmt: skip
def test_what_cannot_be_issued_is_refused_and_not_recorded(
    sqlite_registry: Registry, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, error: str
) -> None:
    """A clear word instead of a token that nobody accepts."""
    told(capsys, "token", "keys", "--alg", "HS256")
    found, out, err = told(capsys, "token", "issue", *arguments)
    assert (found, out, json.loads(err)["error"]["code"]) == (code, None, error)
    with sqlite_registry.reading() as session:
        assert session.scalars(select(AuditEntry)).all() == []


def test_keys_are_made_once_and_replaced_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Typed twice it must not lock everybody out."""
    assert told(capsys, "token", "issue", "--role", "viewer", "--subject", "x")[0] == 3
    first = told(capsys, "token", "keys", "--alg", "HS256")[1]["kid"]
    code, _, err = told(capsys, "token", "keys")
    assert (code, json.loads(err)["error"]["code"]) == (1, "keys_exist")
    second = told(capsys, "token", "keys", "--rotate")[1]
    assert sorted([first, second["kid"]]) == second["verifies"]
    assert Path(second["public_keys"]).is_file()
    assert told(capsys, "token", "keys", "--alg", "ES256", "--rotate")[0] == 2
