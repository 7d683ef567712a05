"""Does the emergency exit open when it is needed, and never onto something that nobody judged?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text

from plms_pipeline.decisions import store as decided
from plms_pipeline.errors import NoData, PlmsError, Unavailable
from plms_pipeline.models.actions.deciding import turn_guardrails
from plms_pipeline.models.actions.promotion import Promoted, rollback
from plms_pipeline.models.files.reading import sha256_of
from plms_pipeline.models.records import Champion
from plms_pipeline.models.store import champions, switches
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.patience import impatient
from plms_pipeline_tests.models.candidates import REVIEWER, House


def back(home: House, *, registry: Registry | None = None) -> Promoted:
    return rollback(
        registry or home.registry, places=home.places, family="market", reason="it loses", actor=REVIEWER,
        clock=home.clock, ids=home.ids,
    )  # fmt: skip


def record(home: House, champion: Champion) -> dict[str, object]:
    with home.registry.reading() as session:
        row = decided.find(session, champion.decision_id)
    assert row
    return dict(row.payload)


def data_of(home: House, champion: Champion) -> Path:
    return home.root / "market_snapshots" / f"{champion.data_sha256}.parquet"


def two(home: House) -> Champion:
    """Two champions; the first."""
    first = home.champion("one").champion
    home.champion("two")
    return first


def test_guardrails_that_are_off_do_not_lock_the_exit_and_are_kept_in_the_record(home: House) -> None:
    """Whoever switched them off in the same emergency must still get the old model back, and be told what is off."""
    two(home)
    turning = {"actor": REVIEWER, "places": home.places, "clock": home.clock, "ids": home.ids}
    turn_guardrails(home.registry, enabled=False, reason="a storm", **turning)  # type: ignore[arg-type]
    home.candidate("three", seed=9)
    home.decide("three", "halt")
    done = back(home)
    assert done.champion.candidate_id == "one"
    assert "off" in done.warnings[0]
    with home.registry.reading() as session:
        (halt,) = switches.open_halts(session, "market")
    kept = record(home, done.champion)
    assert (kept["guardrails"], kept["halts"], kept["data"]) == ("off", [halt.halt_id], "as judged")
    turn_guardrails(home.registry, enabled=True, reason="over", **turning)  # type: ignore[arg-type]


def test_a_champion_comes_back_with_the_data_it_was_judged_on_or_not_at_all(home: House) -> None:
    """The server takes the history of each bar from them: another history makes other predictions under an approved name."""
    first = two(home)
    path = data_of(home, first)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(PlmsError) as refused:
        back(home)
    assert (refused.value.code, refused.value.exit_code) == ("data_altered", 1)
    with home.registry.reading() as session:
        serves = champions.current(session, "market")
    assert serves
    assert serves.candidate_id == "two"


def test_data_that_were_purged_are_no_forgery(light: House) -> None:
    """Gone is not changed: the model serves without a history, and whoever asked is told."""
    first = two(light)
    data_of(light, first).unlink()
    done = back(light)
    assert done.champion.candidate_id == "one"
    assert record(light, done.champion)["data"] == "missing"
    assert "gone" in done.warnings[0]


def test_a_run_folder_that_is_gone_says_what_to_do(light: House) -> None:
    """A question in place of a remedy, and an exit code that says the person had typed something wrong."""
    first = two(light)
    (light.root / first.folder).rename(light.root / "elsewhere")
    with pytest.raises(NoData, match="from a backup") as refused:
        back(light)
    assert (refused.value.code, refused.value.exit_code) == ("file_missing", 3)


def test_where_nothing_was_promoted_there_is_no_data(light: House) -> None:
    """`plms model history` says 3 of the same; 2 would say that somebody typed something wrong."""
    with pytest.raises(NoData) as refused:
        back(light)
    assert (refused.value.code, refused.value.exit_code) == ("no_champion", 3)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    """Reading it would stand still until somebody writes into it, which nobody does."""
    os.mkfifo(tmp_path / "model.npz")
    with pytest.raises(PlmsError, match="no ordinary file") as refused:
        sha256_of(tmp_path / "model.npz")
    assert refused.value.code == "file_unreadable"


def test_a_lock_that_nobody_gives_back_is_not_waited_for_for_ever(postgres_registry_url: str) -> None:
    """A program that was stopped in the middle of a transaction held a rollback up until somebody found it."""
    holder, waiter = Registry.open(postgres_registry_url), Registry.open(postgres_registry_url)
    with holder.engine.connect() as held:
        held.execute(text("LOCK TABLE champions IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(Unavailable, match="held by another transaction"), waiter.writing() as session:
            impatient(session, seconds=0.05)
            champions.current(session, "market")
    # It was of that transaction only.
    with waiter.writing() as session:
        assert session.scalar(text("SHOW lock_timeout")) == "0"
    holder.close()
    waiter.close()
