"""Is an event taken only when PAS sent exactly this, just now?"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plms_pipeline.access.webhooks import TOLERANCE, event_id_for, sign, verify
from plms_pipeline.errors import Unauthenticated

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
SECRET = b"between us"
BODY = b'{"run_id": "r"}'


def refusal(secret: bytes = SECRET, event_id: str = "e1", at: int = AT, body: bytes = BODY, signature: str = "",
            now: datetime = NOW) -> str:  # fmt: skip
    with pytest.raises(Unauthenticated) as raised:
        verify(secret, event_id, at, body, signature, now=now)
    return raised.value.code


def test_the_signature_is_the_documented_one() -> None:
    """Whoever writes another PAS has the sentence in the OpenAPI document and nothing else."""
    expected = hmac.new(SECRET, b"e1." + str(AT).encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert sign(SECRET, "e1", AT, BODY) == f"v1={expected}"


@given(
    st.binary(min_size=1, max_size=64), st.from_regex(r"[A-Za-z0-9_:-]{1,128}", fullmatch=True), st.binary(max_size=200)
)
def test_what_was_signed_is_accepted(secret: bytes, event_id: str, body: bytes) -> None:
    """Any secret, any id, any bytes; and not one byte more."""
    signature = sign(secret, event_id, AT, body)
    verify(secret, event_id, AT, body, signature, now=NOW)
    assert refusal(secret=secret, event_id=event_id, body=body + b"\x00", signature=signature) == "webhook_forged"


@given(st.sampled_from(["secret", "id", "time", "body"]), st.integers(1, 250))
def test_whatever_is_changed_makes_it_forged(what: str, by: int) -> None:
    """An id or a time outside the signature lets a known body count as new."""
    signature = sign(SECRET, "e1", AT, BODY)
    changed: dict[str, object] = {
        "secret": {"secret": SECRET + bytes([by])},
        "id": {"event_id": f"e1{by}"},
        "time": {"at": AT + by},
        "body": {"body": BODY + bytes([by])},
    }[what]  # type: ignore[assignment]
    assert refusal(signature=signature, **changed) == "webhook_forged"  # type: ignore[arg-type]


@given(st.text(max_size=80))
def test_no_text_is_a_signature_by_chance(text: str) -> None:
    """It comes from strangers: whatever it is, the answer is 401."""
    assume(text != sign(SECRET, "e1", AT, BODY))
    assert refusal(signature=text) == "webhook_forged"
    assert refusal(event_id=text, signature=sign(SECRET, "e1", AT, BODY)) == "webhook_forged" or text == "e1"


@pytest.mark.parametrize("direction", [1, -1])
def test_a_signature_is_good_for_five_minutes(direction: int) -> None:
    """One that was recorded is worth nothing an hour later."""
    signature = sign(SECRET, "e1", AT, BODY)
    verify(SECRET, "e1", AT, BODY, signature, now=NOW + direction * TOLERANCE)
    assert refusal(signature=signature, now=NOW + direction * (TOLERANCE + timedelta(seconds=1))) == "webhook_stale"


def test_a_stranger_learns_nothing_about_time() -> None:
    """A forged event is forged, however old it claims to be."""
    assert refusal(signature="v1=" + "0" * 64, now=NOW + timedelta(days=1)) == "webhook_forged"


def test_without_a_secret_nothing_is_ours() -> None:
    """An empty secret is one that everybody knows."""
    assert refusal(secret=b"", signature=sign(b"", "e1", AT, BODY)) == "webhook_forged"


def test_the_parts_cannot_run_into_each_other() -> None:
    """`a.1` and time 2 must not be signed like `a` and time 1 with `2.` before the body."""
    lent = sign(SECRET, "a", 1, f"{AT}.".encode() + BODY)
    assert refusal(event_id="a.1", signature=lent) == "webhook_forged"


def test_equal_facts_have_equal_ids_and_others_do_not() -> None:
    """A delivery without an id, repeated, must be known again; two tasks must not be one."""
    one = event_id_for("task_completed", "r", "1", 1, "succeeded")
    assert one == event_id_for("task_completed", "r", 1, 1, "succeeded")
    assert len(one) == 64
    others = [("task_completed", "r", "1", 2, "succeeded"), ("task_completed", "r1", "", 1, "succeeded"),
              ("task_completed", "r", "1", 1, "failed"), ("run_completed", "r", None, None, "succeeded")]  # fmt: skip
    assert len({one, *(event_id_for(*other) for other in others)}) == 5
