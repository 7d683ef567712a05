"""Are keys kept where only their owner reads them, and does a rotation lose nobody?"""

from __future__ import annotations

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plms_pipeline.access.files import KEEP_RETIRED, KeyRing, make_keys, signing_keys
from plms_pipeline.access.tokens import Algorithm, issue, verify
from plms_pipeline.errors import BadInput, NoData, VerdictNo

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def token_of(data_dir: Path, subject: str = "ci") -> str:
    return issue(
        signing_keys(data_dir).current, subject=subject, role="viewer", issuer="plms", audience="plms-api", now=NOW,
        ttl=timedelta(days=30), token_id="t",
    )  # fmt: skip


def name_in(token: str, ring: KeyRing, now: datetime = NOW) -> str:
    return verify(token, keys=ring.keys(now), now=now, issuer="plms", audience="plms-api").name


@pytest.mark.parametrize("alg", ["RS256", "HS256"])
def test_keys_are_for_their_owner_only(tmp_path: Path, alg: Algorithm) -> None:
    """Whoever reads the signing key is everybody."""
    keys = make_keys(tmp_path, alg=alg, now=NOW, rotate=False)
    assert mode(tmp_path / "secrets") == 0o700
    assert mode(tmp_path / "secrets" / "token_keys.json") == 0o600
    assert keys.current.alg == alg
    assert name_in(token_of(tmp_path), KeyRing(tmp_path)) == "ci"


def test_the_public_file_is_enough_to_verify_and_holds_nothing_more(tmp_path: Path) -> None:
    """It is given to others; a private exponent or shared secret in it gives everything away."""
    public = make_keys(tmp_path, alg="RS256", now=NOW, rotate=False).public_file
    make_keys(tmp_path, alg="HS256", now=NOW, rotate=True)
    entries = json.loads(public.read_text())["keys"]
    assert [set(entry) for entry in entries] == [{"kty", "kid", "alg", "use", "n", "e"}]
    rotated_away = token_of(tmp_path)
    with pytest.raises(Exception, match="token is refused"):
        name_in(rotated_away, KeyRing(tmp_path, public))
    make_keys(tmp_path, alg="RS256", now=NOW, rotate=True)
    assert name_in(token_of(tmp_path), KeyRing(tmp_path, public)) == "ci"


def test_a_second_key_is_made_only_when_asked_for(tmp_path: Path) -> None:
    """`plms token keys` typed twice must not lock out everybody who holds a token."""
    first = make_keys(tmp_path, alg="RS256", now=NOW, rotate=False).current.kid
    with pytest.raises(VerdictNo, match="--rotate") as raised:
        make_keys(tmp_path, alg="RS256", now=NOW, rotate=False)
    assert raised.value.code == "keys_exist"
    assert signing_keys(tmp_path).current.kid == first


def test_a_rotation_needs_no_restart_and_the_old_key_verifies_for_a_week(tmp_path: Path) -> None:
    """Tokens in use go on working; a leaked key stops mattering without anybody thinking of it again."""
    make_keys(tmp_path, alg="RS256", now=NOW, rotate=False)
    ring = KeyRing(tmp_path)
    old = token_of(tmp_path, "old")
    assert name_in(old, ring) == "old"
    assert ring.keys(NOW) is ring.keys(NOW)
    make_keys(tmp_path, alg="HS256", now=NOW, rotate=True)
    assert name_in(old, ring) == "old"
    assert name_in(token_of(tmp_path, "new"), ring) == "new"
    late = NOW + KEEP_RETIRED
    assert name_in(token_of(tmp_path, "new"), ring, late) == "new"
    with pytest.raises(Exception, match="names no key of ours"):
        name_in(old, ring, late)
    make_keys(tmp_path, alg="HS256", now=late, rotate=True)
    assert len(signing_keys(tmp_path).public) == 2


def test_two_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    """Each would write what it read plus its own."""
    make_keys(tmp_path, alg="HS256", now=NOW, rotate=False)
    threads = [
        threading.Thread(target=make_keys, args=(tmp_path,), kwargs={"alg": "HS256", "now": NOW, "rotate": True})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(signing_keys(tmp_path).public) == 9


def test_without_keys_the_error_says_how_to_make_them(tmp_path: Path) -> None:
    """The first thing that a new user of the API meets."""
    for ask in (lambda: signing_keys(tmp_path), lambda: KeyRing(tmp_path).keys(NOW)):
        with pytest.raises(NoData, match="plms token keys") as raised:
            ask()
        assert raised.value.code == "no_token_keys"


def test_keys_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    """A backup restored with wide rights: whoever copied them meanwhile can make tokens."""
    make_keys(tmp_path, alg="RS256", now=NOW, rotate=False)
    (tmp_path / "secrets" / "token_keys.json").chmod(0o640)
    for ask in (lambda: signing_keys(tmp_path), lambda: KeyRing(tmp_path).keys(NOW)):
        with pytest.raises(BadInput, match="may be read by others") as raised:
            ask()
        assert raised.value.code == "keys_exposed"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"keys": []}', '{"keys": [{}]}', '{"keys": [{"kid": 1}]}', '{"keys": [7]}',
     '{"keys": [{"kid": "a", "kty": "oct", "alg": "HS256", "k": "c2hvcnQ"}]}',
     '{"keys": [{"kid": "a", "kty": "oct", "alg": "none", "k": "AAAA"}]}',
     '{"keys": [{"kid": "a", "kty": "RSA", "alg": "HS256", "n": "AQAB", "e": "AQAB"}]}',
     '{"keys": [{"kid": "a", "kty": "RSA", "alg": "RS256", "n": "AQAB", "e": "AQAB"}]}',
     '{"keys": [{"kid": "a", "kty": "RSA", "alg": "RS256"}]}',
     '{"keys": [{"kid": "a", "retired_at": "yesterday"}]}', '{"keys": [{"kid": "a", "retired_at": "2026-01-01"}]}',
     '{"keys": [{"kid": "a"}, {"kid": "a"}]}', "\x00", "𐀀"],
)  # fmt: skip
def test_a_file_that_holds_no_usable_key_is_one_clear_error(tmp_path: Path, content: str) -> None:
    """Half-restored, hand-edited, too short a key: never a traceback, never a weak key."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    file = folder / "token_keys.json"
    file.write_text(content)
    file.chmod(0o600)
    for ask in (lambda: signing_keys(tmp_path), lambda: KeyRing(tmp_path).keys(NOW)):
        with pytest.raises(BadInput) as raised:
            ask()
        assert raised.value.code == "bad_token_keys"


def test_somebody_elses_key_set_is_read_for_its_rsa_keys(tmp_path: Path) -> None:
    """Identity providers publish sets with keys for other purposes; a shared secret among them is a mistake to be told."""
    make_keys(tmp_path, alg="RS256", now=NOW, rotate=False)
    public = tmp_path / "secrets" / "token_public_keys.json"
    entries = json.loads(public.read_text())["keys"]
    theirs = tmp_path / "theirs.json"
    entries[0].pop("alg")
    encryption = {**entries[0], "kid": "enc", "use": "enc"}
    curve = {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"}
    theirs.write_text(json.dumps({"keys": [curve, encryption, *entries]}))
    ring = KeyRing(tmp_path, theirs)
    assert set(ring.keys(NOW)) == {entries[0]["kid"]}
    assert name_in(token_of(tmp_path), ring) == "ci"
    theirs.write_text(json.dumps({"keys": [*entries, {"kty": "oct", "kid": "s", "alg": "HS256", "k": "QQ" * 30}]}))
    with pytest.raises(BadInput, match="shared secret"):
        KeyRing(tmp_path, theirs).keys(NOW)
    theirs.write_text(json.dumps({"keys": [curve]}))
    with pytest.raises(BadInput, match="no RSA key"):
        KeyRing(tmp_path, theirs).keys(NOW)
