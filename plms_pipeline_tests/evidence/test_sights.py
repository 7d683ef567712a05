"""Does what was seen lead to one reason, the one that a plain reading of the rules gives?"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.evidence.obligations import Pending
from plms_pipeline.evidence.sights import REASONS, Sight, Verdict, failed, judged, malformed, picked, sight_of
from plms_pipeline_tests.evidence.worlds import AT, CONFIG, foreign_need

WAIT_MS, POLL_MS, MOST_ERRORS = 2000, 100, 2
NEED = foreign_need(CONFIG, "run-1")
PENDING = Pending(**{name: NEED.row(CONFIG, now=AT)[name] for name in Pending.__slots__})


@st.composite
def looks(draw: st.DrawFn) -> list[Sight]:
    """What thirty looks find: something new now and then, the same in between."""
    found: list[Sight] = []
    while len(found) < 30:
        sight = draw(
            st.one_of(
                st.just(Sight("absent")),
                st.just(malformed("no stamp")),
                st.just(failed("down")),
                st.builds(
                    lambda ms, name: Sight("evidence", AT + timedelta(milliseconds=ms), correlation_id=name),
                    st.integers(-5000, 3000),
                    st.sampled_from([None, None, PENDING.obligation_id, "another"]),
                ),
            )
        )
        found += [sight] * draw(st.integers(1, 12))
    return found[:30]


def belongs(sight: Sight) -> bool:
    assert sight.at is not None
    if sight.correlation_id is not None:
        return sight.correlation_id == PENDING.obligation_id
    return sight.at >= AT


def expected(sights: list[Sight], first_ms: int) -> tuple[str, int]:
    """The rules read one by one, in the order in which a person would: (reason, number of looks)."""
    errors, answered = 0, None
    for number, sight in enumerate(sights):
        elapsed = first_ms + number * POLL_MS
        if sight.kind == "failed":
            errors += 1
            if errors == MOST_ERRORS:
                return "redis_error", number + 1
        else:
            answered = sight
            if sight.kind == "evidence" and belongs(sight):
                assert sight.at is not None
                in_time = elapsed < WAIT_MS or sight.at <= PENDING.deadline_at
                return "ok" if in_time else "timeout", number + 1
        if elapsed >= WAIT_MS and answered is not None:
            words = {"absent": "timeout", "evidence": "stale", "malformed": "parse_error"}
            return words[answered.kind], number + 1
    raise AssertionError("thirty looks are enough")


@given(looks(), st.integers(0, 5000))
def test_every_obligation_ends_once_for_the_reason_that_the_rules_give(sights: list[Sight], first_ms: int) -> None:
    """Three reasons of the guide's five could not be reached, and one error hid behind another."""
    seen: object = picked(PENDING, now=AT + timedelta(milliseconds=first_ms), now_ms=7_000.0)
    for number, sight in enumerate(sights):
        assert not isinstance(seen, Verdict)
        seen = judged(seen, sight, now_ms=7_000.0 + number * POLL_MS, max_errors=MOST_ERRORS)  # type: ignore[arg-type]
        if isinstance(seen, Verdict):
            break
    assert isinstance(seen, Verdict)
    assert (seen.reason, seen.polls) == expected(sights, first_ms)
    assert seen.reason in REASONS
    assert seen.queue_ms == first_ms
    assert seen.wait_ms == first_ms + (seen.polls - 1) * POLL_MS
    assert seen.errors == sum(sight.kind == "failed" for sight in sights[: seen.polls])


@given(st.dictionaries(st.sampled_from(["ts_epoch", "correlation_id", "heat_level"]), st.text(max_size=30)))
def test_whatever_a_hash_holds_is_evidence_or_told_as_none(fields: dict[str, str]) -> None:
    """Whoever may write a hash may write anything into it; the loop must go on."""
    sight = sight_of(fields)
    assert sight.kind == ("absent" if not fields else sight.kind)
    assert (sight.kind == "evidence") == (sight.at is not None)


@given(st.text(max_size=500), st.text(max_size=500), st.integers(0, 400))
def test_what_is_kept_for_debugging_is_bounded(name: str, value: str, longest: int) -> None:
    """An observation must not be as large as what somebody wrote into a hash."""
    sight = Sight("evidence", AT, fields={name: value})
    verdict = Verdict(PENDING, "ok", 1, 1, 1, 0, sight)
    row = verdict.row(observer_id="o", config_digest="d", at=AT, debug_chars=longest)
    kept = row["debug_json"] or {}
    assert sum(len(key) + len(text) for key, text in kept.items()) <= longest
