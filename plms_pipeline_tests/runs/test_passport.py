"""Does a passport say everything that a repetition needs, and does it notice when it was changed?"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.runs.passport import (
    Passport,
    PlannedTask,
    is_intact,
    issue,
    matrix_of,
    mismatch_of,
    missing_from,
    prd_sha,
    why_incomplete,
)
from plms_pipeline_tests.runs.worlds import AT, PROVIDERS, WORLD

names = st.text("abcdefgh-", min_size=1, max_size=6)
tasks = st.builds(
    PlannedTask, task_id=names, name=names, description=st.none() | names, lane_id=st.sampled_from([4200, 4202]),
    provider=st.sampled_from(sorted(PROVIDERS)), task_kind=st.none() | names, complexity=st.none(),
    depends_on=st.tuples(names), command=st.none() | st.tuples(names, names),
    payload=st.none() | st.dictionaries(names, st.integers() | names),
)  # fmt: skip
plans = st.lists(tasks, min_size=1, max_size=6, unique_by=lambda task: task.task_id)


def made(plan: list[PlannedTask], **changes: object) -> Passport:
    world = replace(WORLD, **changes)  # type: ignore[arg-type]
    return issue(
        project_id=42, run_id="r", run_kind="baseline", write_sandbox=False, plan=plan, world=world, policies={},
        started_at=AT,
    )  # fmt: skip


@given(plans, st.randoms())
def test_the_digest_of_a_plan_does_not_depend_on_the_order_of_its_tasks(
    plan: list[PlannedTask], random: object
) -> None:
    """Two listings of one plan must not look like two plans, or every replay is refused."""
    shuffled = list(plan)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert prd_sha(shuffled) == prd_sha(plan)


@given(plans, st.data())
def test_any_change_of_any_task_changes_the_digest(plan: list[PlannedTask], data: st.DataObject) -> None:
    """The prototype kept 16 digits of a constant: whatever was changed, the hash was the same."""
    index = data.draw(st.integers(0, len(plan) - 1))
    changed = data.draw(
        st.sampled_from(["name", "provider", "lane_id", "command", "payload", "depends_on", "description"])
    )
    old = getattr(plan[index], changed)
    new = {"lane_id": 6100, "command": ("x", "y", "z"), "payload": {"other": [1]}, "depends_on": ("zz",)}.get(
        changed, f"{old}!"
    )
    other = [replace(task, **{changed: new}) if place == index else task for place, task in enumerate(plan)]
    assert len(prd_sha(plan)) == 64
    assert prd_sha(other) != prd_sha(plan)


@given(plans)
def test_a_passport_with_everything_is_complete_and_intact(plan: list[PlannedTask]) -> None:
    """Equal documents, equal text, equal digest; one changed character is noticed."""
    passport = made(plan)
    assert passport.is_complete
    assert json.loads(passport.text) == passport.document
    assert is_intact(passport.text, passport.sha256)
    assert not is_intact(passport.text.replace("baseline", "hotfixes", 1), passport.sha256)
    assert made(plan).sha256 == passport.sha256


def test_what_is_missing_is_named() -> None:
    """`the passport is incomplete` sends people looking; the field's name sends them to the cause."""
    plan = [PlannedTask("a", "a", None, 4200, "nobody", None, None, (), None, None)]
    lacking = made(plan, git_commit=None, python_version="", capabilities=None)
    assert lacking.missing == ("provider_matrix.nobody", "capabilities", "env.git_commit", "env.python_version")
    assert missing_from({}) == (
        "provider_matrix", "capabilities", "prd_sha", "env.git_commit", "env.python_version",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("missing", "providers", "told"),
    [(("provider_matrix.a/x",), {"b/y": "1", "c/z": "2"}, ["serves no a/x", "it serves b/y, c/z", "plan those tasks with one"]),
     (("provider_matrix.a/x", "provider_matrix.a/w"), {}, ["serves no a/x, a/w", "it serves none"]),
     (("provider_matrix.a/x", "capabilities"), None, ["never heard: start it", "`plms pas health`"]),
     (("capabilities",), {"a/x": "1"}, ["states no capabilities"]),
     (("env.git_commit",), {"a/x": "1"}, ["PLMS_GIT_COMMIT"]),
     (tuple(f"provider_matrix.p{n}" for n in range(10_000)), {f"q{n}": "1" for n in range(10_000)}, ["p9 …", "q0, q1, "])],
)  # fmt: skip
def test_an_incomplete_passport_says_which_provider_and_what_to_do(
    missing: tuple[str, ...], providers: dict[str, str] | None, told: list[str]
) -> None:
    """Whoever misspelt a provider in a plan was told to start an executor that runs."""
    sentence = why_incomplete(missing, providers)
    assert all(part in sentence for part in told), sentence
    assert ("never heard" in sentence) == (providers is None)
    assert len(sentence) < 1000


def test_a_passport_holds_no_command_and_no_payload() -> None:
    """A command line may hold a token; passports are kept for ever and read by many."""
    plan = [
        PlannedTask("a", "a", "secret plan", 4200, "p", None, None, (), ("curl", "-H", "hunter2"), {"token": "hunter2"})
    ]
    text = made(plan, providers={"p": "1"}).text
    assert "hunter2" not in text
    assert "secret plan" not in text


def test_every_provider_must_serve_in_the_version_that_was_promised() -> None:
    """An empty matrix matched everything in the sources, and a router that drifted was never found."""
    assert mismatch_of(matrix_of([], PROVIDERS), {}) is None
    assert mismatch_of(PROVIDERS, PROVIDERS) is None
    assert mismatch_of(PROVIDERS, {**PROVIDERS, "third": "1"}) is None
    assert "unknown at the executor" in str(mismatch_of(PROVIDERS, {"openai/gpt-4": "gpt-4-0613"}))
