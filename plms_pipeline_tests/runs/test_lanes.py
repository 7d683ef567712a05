"""Keywords suggest lanes, a tie is a question, and learnt suggestions go first."""

from __future__ import annotations

import pytest

from plms_pipeline.runs.lanes import Suggestion, by_keywords, store_of, suggester, words_of
from plms_pipeline_tests.runs.test_plan import WORDS


@pytest.mark.parametrize(
    ("text", "lane"),
    [
        ("Add a REST endpoint for orders", 4200),
        ("Expose the API", 4200),
        ("Design the database schema", 5100),
        ("Write SQL for the report", 5100),
        ("Write pytest fixtures", 4201),
        ("README and user guide", 4202),
        ("Ingest the feed", 5101),
        ("Deduplicate and aggregate rows", 5102),
        ("Fine-tune: training for three epochs", 6100),
        ("Benchmark and evaluate", 6101),
    ],
)
def test_the_sources_words_and_ours_find_the_lane(text: str, lane: int) -> None:
    """The first suggestion that a new user sees."""
    found = by_keywords(text, WORDS)
    assert found is not None
    assert (found.lane_id, found.source) == (lane, "keywords")
    assert found.confidence is not None
    assert 0 < found.confidence <= 1


@pytest.mark.parametrize(
    "text", ["", "Do the thing", "Test the API", "Invent an algorithm", "Tell a story", "capital restaurants"]
)
def test_no_word_a_tie_or_a_lane_that_is_not_here_is_no_suggestion(text: str) -> None:
    """A guess that is wrong half of the time costs a gate that asks the wrong thing; `capital` holds no `api`."""
    assert by_keywords(text, WORDS) is None


def test_words_of_the_sources_speak_once_their_lane_is_registered() -> None:
    """Math-Algorithm is a lane of the sources; whoever registers it gets its keywords."""
    found = by_keywords("Invent an algorithm", {**WORDS, "math-algorithm": 1100})
    assert found is not None
    assert found.lane_id == 1100


def test_what_was_learnt_goes_before_keywords_where_it_is_sure() -> None:
    """Otherwise the same correction is made every week."""
    learnt = suggester(WORDS, lambda text: Suggestion(6101, "classifier", 0.9) if "ledger" in text else None)
    for text, lane in (("ledger api", 6101), ("an api", 4200)):
        found = learnt(text)
        assert found is not None
        assert found.lane_id == lane


def test_words_are_latin_and_digits() -> None:
    """`REST/JSON-API` are three words."""
    assert words_of("REST/JSON-API v2!") == ["rest", "json", "api", "v2"]


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("Write the code", "vec"),
        ("Write docs", "text"),
        ("Load relations", "graph"),
        ("Multimodal docs", "hybrid"),
        ("x", None),
    ],
)
def test_where_results_are_best_kept(text: str, store: str | None) -> None:
    """The sources' hint, for executors that ask."""
    assert store_of(text) == store
