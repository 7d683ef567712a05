"""Is a cached answer the answer of exactly this request?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.access.answers import Answer, NoCache, cache_key, decoded, encoded

texts = st.text(max_size=20)


@given(st.integers(100, 599), texts, st.dictionaries(texts, st.none() | st.integers() | texts | st.lists(texts)))
def test_an_answer_comes_back_as_it_went(status: int, digest: str, body: dict[str, object]) -> None:
    """A repetition must be the same answer, byte for byte once rendered."""
    answer = Answer(status, digest, body)
    assert decoded(encoded(answer)) == answer


@given(st.tuples(texts, texts, texts, texts), st.tuples(texts, texts, texts, texts))
def test_different_requests_have_different_keys(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """The sources left the client's key out: its second run could not be started, and another body was not noticed."""
    assert (cache_key(*one) == cache_key(*other)) is (one == other)


def test_all_keys_lie_in_one_slot_of_a_cluster() -> None:
    """Redis hashes what stands in braces; without them a command on two keys fails on a cluster."""
    assert cache_key("u", "POST", "/p", "k").startswith("{plms}:idem:")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"\xff", b'{"v":2}', b'{"v":1}', b'{"v":1,"status_code":"200"}',
                                  b'{"v":1,"status_code":"a","body_sha256":"b","answer":{}}',
                                  b'{"v":1,"status_code":200,"body_sha256":"b","answer":[]}'])  # fmt: skip
def test_what_somebody_else_wrote_there_is_a_miss(data: bytes) -> None:
    """Another version or another program on the same Redis must not answer our clients."""
    assert decoded(data) is None


def test_without_redis_nothing_is_remembered() -> None:
    """The default installation."""
    cache = NoCache()
    cache.put("k", Answer(200, "d", {}), ttl_s=60)
    assert cache.get("k") is None
    assert not cache.is_up()
