"""The inbox, night after night."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from plms_pipeline.errors import Unavailable
from plms_pipeline.kpis.actions.inbox import evaluate_inbox
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.evaluation import InboxItem
from plms_pipeline.kpis.files.inbox import add
from plms_pipeline.registry.tables import KpiReceipt, LaneGate
from plms_pipeline_tests.kpis.actions.test_evaluate import GOOD, table, with_database
from plms_pipeline_tests.kpis.conftest import Builder
from plms_pipeline_tests.kpis.test_readability import EASY, HARD


def count(world: World) -> int:
    with world.registry.reading() as session:
        return int(session.scalar(select(func.count()).select_from(KpiReceipt)) or 0)


def states(items: list[InboxItem]) -> dict[str, tuple[str, str | None]]:
    return {item.name: (item.state, item.verdict) for item in items}


def put(world: World, *roots: Path) -> None:
    for root in roots:
        add(root, world.settings.artifacts_inbox)


def test_a_second_night_measures_nothing_again(world: World, artifact: Builder) -> None:
    """And says the same as the first."""
    put(world, artifact("4202-easy", {"generated_docs.md": EASY}), artifact("4202-hard", {"generated_docs.md": HARD}))
    first = evaluate_inbox(world)
    assert states(first) == {"4202-easy": ("evaluated", "passed"), "4202-hard": ("evaluated", "failed")}
    rows = count(world)
    second = evaluate_inbox(world)
    assert states(second) == {"4202-easy": ("unchanged", "passed"), "4202-hard": ("unchanged", "failed")}
    assert count(world) == rows
    for before, after in zip(first, second, strict=True):
        shown = [{**item.as_json(), "state": ""} for item in (before, after)]
        assert shown[0] == shown[1]


def test_changed_work_and_changed_gates_are_measured_again(world: World, artifact: Builder) -> None:
    """A stricter lane must not leave old verdicts standing."""
    put(world, artifact("4202-a", {"generated_docs.md": EASY}))
    evaluate_inbox(world)
    put(world, artifact("4202-a", {"generated_docs.md": HARD}))
    assert states(evaluate_inbox(world)) == {"4202-a": ("evaluated", "failed")}
    put(world, artifact("4202-a", {"generated_docs.md": EASY}))
    with world.registry.writing() as session:
        session.scalars(select(LaneGate).where(LaneGate.lane_id == 4202)).one().threshold = -5
    assert states(evaluate_inbox(world)) == {"4202-a": ("evaluated", "failed")}


def test_an_outside_system_that_changed_is_measured_again(world: World, artifact: Builder, tmp_path: Path) -> None:
    """Who reloads the missing rows wants to see the gate pass, although the artifact is the same."""
    measured = with_database(world, tmp_path, "CREATE TABLE runs (id INTEGER); INSERT INTO runs VALUES (1);")
    put(world, artifact("5101-a", table({"id": "int"}, 2)))
    assert states(evaluate_inbox(measured)) == {"5101-a": ("evaluated", "failed")}
    assert states(evaluate_inbox(measured)) == {"5101-a": ("unchanged", "failed")}
    connection = sqlite3.connect(tmp_path / "measured.db")
    connection.execute("INSERT INTO runs VALUES (2)")
    connection.commit()
    connection.close()
    assert states(evaluate_inbox(measured)) == {"5101-a": ("evaluated", "passed")}
    assert states(evaluate_inbox(measured)) == {"5101-a": ("unchanged", "passed")}


def test_what_was_away_is_tried_again(world: World, artifact: Builder, tmp_path: Path) -> None:
    """The database comes back; the artifact need not be touched."""
    put(world, artifact("5101-a", table({"id": "int"}, 1)))
    path = tmp_path / "later.db"
    later = replace(world, settings=world.settings.model_copy(update={"kpi_database_url": f"sqlite:///{path}"}))
    assert states(evaluate_inbox(later)) == {"5101-a": ("evaluated", "failed")}
    assert states(evaluate_inbox(later)) == {"5101-a": ("evaluated", "failed")}
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE runs (id INTEGER); INSERT INTO runs VALUES (1);")
    connection.close()
    assert states(evaluate_inbox(later)) == {"5101-a": ("evaluated", "passed")}


def test_broken_folders_fail_with_their_reason_and_stop_nobody(world: World, artifact: Builder) -> None:
    """One bad delivery must not cost the whole night."""
    inbox = world.settings.artifacts_inbox
    put(world, artifact("4202-good", {"generated_docs.md": EASY}), artifact("nolane", {"x": "1"}))
    put(world, artifact("4202-manifest", {"plms_artifact.json": '{"threshold": 1}'}), artifact("9999-lane", {"x": "1"}))
    put(world, artifact("4202-run", {"plms_artifact.json": json.dumps({"run_id": "nothing"})}))
    (inbox / "4202-file").write_bytes(b"\x89PNG")
    (inbox / "4202-link").symlink_to(inbox / "4202-good")
    (inbox / os.fsdecode(b"4202-\xff")).mkdir()
    Path(inbox / os.fsdecode(b"4202-\xff"), "generated_docs.md").write_text(EASY)
    items = evaluate_inbox(world)
    found = states(items)
    assert found["4202-good"] == ("evaluated", "passed")
    broken = {"nolane", "4202-manifest", "9999-lane", "4202-run", "4202-file", "4202-link"}
    assert {name for name, state in found.items() if state == ("broken", "failed")} == broken
    assert all(item.reason for item in items if item.state == "broken")
    json.dumps([item.as_json() for item in items], ensure_ascii=False).encode("utf-8")


def test_ungated_work_is_said_to_be_ungated(world: World, artifact: Builder) -> None:
    """Every night again; there is nothing to remember."""
    put(world, artifact("6100-a", GOOD))
    for _ in range(2):
        assert states(evaluate_inbox(world)) == {"6100-a": ("evaluated", "ungated")}
    assert count(world) == 0


def test_a_night_takes_bounded_time_and_says_what_it_left(world: World, artifact: Builder) -> None:
    """What does not fit is postponed, not forgotten."""
    put(world, *(artifact(f"4202-{name}", {"generated_docs.md": EASY}) for name in "abc"))
    seconds = iter([0.0, 0.0, 50.0, 100.0])
    said: list[InboxItem] = []
    items = evaluate_inbox(replace(world, elapsed=lambda: next(seconds)), budget_s=60.0, said=said.append)
    assert Counter(item.state for item in items) == {"evaluated": 2, "postponed": 1}
    assert said == items
    assert items[2].verdict is None
    assert "used up" in str(items[2].reason)


def test_a_registry_that_is_away_stops_the_night(world: World, artifact: Builder) -> None:
    """To call every artifact broken because our own books are gone would be a lie."""
    put(world, artifact("4202-a", {"generated_docs.md": EASY}))

    class Gone:
        def reading(self) -> object:
            raise Unavailable("the registry is away")

    with pytest.raises(Unavailable):
        evaluate_inbox(replace(world, registry=Gone()))  # type: ignore[arg-type]


def test_an_empty_inbox_is_no_trouble(world: World) -> None:
    """The first night of a fresh installation."""
    assert evaluate_inbox(world) == []
