"""Is a training asked for once, by facts that nobody can reset?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.models.training.history import Attempt, Look, Trained, history_of, open_episode
from plms_pipeline.models.training.trigger import MAX_ATTEMPTS, decide

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def action(current: str | None, trained: list[Trained], attempts: list[Attempt], cooldown_h: float = 0) -> str:
    return decide(current, history_of(trained, attempts), NOW, cooldown=timedelta(hours=cooldown_h)).action


def test_changed_data_are_trained_once() -> None:
    """A sensor that forgets what it asked for trains all night."""
    assert action("a", [], []) == "train"
    assert action("a", [], [Attempt("running", "a", ago(1))]) == "rest"
    assert action("a", [Trained("a", ago(1))], [Attempt("ended", "a", ago(1))]) == "rest"


def test_what_is_written_while_a_training_runs_is_trained_afterwards() -> None:
    """The source took such writes for trained."""
    running = [Attempt("running", "a", ago(1))]
    assert action("b", [], running) == "wait"
    assert action("b", [Trained("a", ago(0.5))], [Attempt("ended", "a", ago(1))]) == "train"


def test_data_that_return_to_what_they_were_are_trained_again() -> None:
    """A feed that was corrupt for a day and then corrected must not keep the model of the corrupt day."""
    trained = [Trained("a", ago(3)), Trained("b", ago(2))]
    assert action("a", trained, []) == "train"


def test_a_training_by_hand_is_waited_for() -> None:
    """Two trainings at once take each other's memory."""
    assert action("a", [], [Attempt("running", None, ago(1))]) == "wait"


def test_a_training_that_always_fails_is_not_tried_for_ever() -> None:
    """A broken file would otherwise fail every thirty seconds."""
    failed = [Attempt("failed", "a", ago(hours)) for hours in (1, 2, 3)]
    assert len(failed) == MAX_ATTEMPTS
    assert action("a", [], failed) == "rest"
    assert action("a", [], failed[1:]) == "train"
    assert action("b", [], failed) == "train"
    assert action("a", [], [failed[0], Attempt("ended", "a", ago(1.5)), *failed[1:]]) == "train"


def test_only_failures_on_known_data_are_counted() -> None:
    """A training by hand on another file, or one that just runs, says nothing of whether these data can be trained."""
    failed = [Attempt("failed", "a", ago(hours)) for hours in (2, 3, 4)]
    assert history_of([], failed).failed_attempts == MAX_ATTEMPTS
    for between in (
        Attempt("failed", None, ago(2.5)),
        Attempt("failed", None, ago(1)),
        Attempt("running", "b", ago(1)),
    ):
        found = history_of([], [*failed, between])
        assert (found.failed_hash, found.failed_attempts) == ("a", MAX_ATTEMPTS), between


def test_the_cooldown_counts_from_the_last_beginning() -> None:
    """A feed that is written every minute would otherwise be trained on every minute."""
    assert action("b", [Trained("a", ago(1))], [], cooldown_h=2) == "wait"
    assert action("b", [Trained("a", ago(3))], [], cooldown_h=2) == "train"


@given(st.permutations([Trained("a", ago(5)), Trained("b", ago(4)), Trained("c", ago(3))]))
def test_the_order_of_the_facts_does_not_matter(trained: list[Trained]) -> None:
    """What a query returns first is not what happened first."""
    assert history_of(trained, []).trained_hash == "c"


def looks(*actions: str, promotion: str = "p") -> list[Look]:
    return [Look(number, promotion, ago(10 - number), what) for number, what in enumerate(actions)]


def test_drift_is_one_episode_until_it_is_over() -> None:
    """A retraining per snapshot would answer one drift a hundred times."""
    first = open_episode(looks("keep", "request_retrain", "request_retrain"), "p")
    assert first is not None
    assert first.number == 1
    assert open_episode(looks("request_retrain", "keep"), "p") is None
    again = open_episode(looks("request_retrain", "keep", "request_retrain"), "p")
    assert again is not None
    assert again.number == 2


def test_the_drift_of_an_older_champion_asks_for_nothing() -> None:
    """The new champion would otherwise be replaced for what the old one did."""
    assert open_episode(looks("request_retrain", promotion="old"), "p") is None
