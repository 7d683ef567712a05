"""Are annotations of real trades, kept as they were said, and found again?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from plms_pipeline.access.actors import Actor
from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, Conflict, NoData, NotFound
from plms_pipeline.models.actions.candidates import retrain_candidate
from plms_pipeline.models.actions.reevaluating import trades_of
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import retrain
from plms_pipeline.models.annotations import actions, rules
from plms_pipeline.models.annotations.actions import About
from plms_pipeline.models.annotations.rules import Annotation, Draft
from plms_pipeline.models.evaluation.books import Columns
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig, guardrail_metrics
from plms_pipeline.models.market.files.keeping import write_bars
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.models.worlds import small_bars, small_experiment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLOCK = FrozenClock(NOW)
MADE = datetime(2024, 3, 1, 16, tzinfo=UTC)
DRAFT = Draft("reject", "An outlier of the feed.", "Risk desk")


def trades(folder: Path, *rows: tuple[int | None, str, datetime]) -> Path:
    table = pd.DataFrame(
        [
            {
                "trade_id": number,
                "timestamp": made.isoformat(),
                "symbol": symbol,
                "side": "long",
                "size": 2,
                "price": 5.0,
            }
            for number, symbol, made in rows
        ]
    )
    table.to_csv(folder / "trades.csv", index=False)
    return folder / "trades.csv"


@pytest.fixture
def traded(registry: Registry, tmp_path: Path) -> Registry:
    actions.bring_trades(registry, trades(tmp_path, (7, "SPY", MADE), (8, "QQQ", MADE)))
    return registry


def test_a_trade_is_named_by_symbol_and_moment(traded: Registry) -> None:
    """In the source this crashed whenever it was used: the zone was given twice."""
    at_home = MADE.astimezone(timezone(timedelta(hours=-5)))
    kept = actions.record(traded, About(symbol="SPY", timestamp=at_home), DRAFT, clock=CLOCK)
    assert (kept.trade_id, kept.symbol, kept.trade_timestamp, kept.created_at) == (7, "SPY", MADE, NOW)
    assert actions.record(traded, About(trade_id=8), DRAFT, clock=CLOCK).symbol == "QQQ"
    assert [one.trade_id for one in actions.listed(traded)] == [8, 7]


@pytest.mark.parametrize(
    "about",
    [About(trade_id=9), About(symbol="IWM", timestamp=MADE), About(trade_id=7, symbol="QQQ"),
     About(symbol="SPY", timestamp=MADE + timedelta(seconds=1))],
)  # fmt: skip
def test_what_was_not_traded_cannot_be_annotated(traded: Registry, about: About) -> None:
    """The source accepted unknown trades: it asked for foreign keys inside of a transaction, where that does nothing."""
    with pytest.raises(NotFound) as told:
        actions.record(traded, about, DRAFT, clock=CLOCK)
    assert told.value.code == "unknown_trade"
    assert actions.listed(traded) == []


def test_the_database_refuses_it_too(traded: Registry) -> None:
    """Whoever writes past our code must not leave words about nothing."""
    insert = text(
        "INSERT INTO trade_annotations (trade_id, decision, rationale, author, created_at) "
        "VALUES (:trade, :decision, 'r', 'a', :at)"
    )
    for values in ({"trade": 99, "decision": "reject"}, {"trade": 7, "decision": "rejected"}):
        with pytest.raises(IntegrityError), traded.writing() as session:
            session.execute(insert, {**values, "at": NOW})


def test_two_trades_at_once_are_not_guessed_between(registry: Registry, tmp_path: Path) -> None:
    """A word about the wrong one of two would teach the wrong thing."""
    actions.bring_trades(registry, trades(tmp_path, (1, "SPY", MADE), (2, "SPY", MADE)))
    with pytest.raises(BadInput, match="1, 2"):
        actions.record(registry, About(symbol="SPY", timestamp=MADE), DRAFT, clock=CLOCK)
    with pytest.raises(BadInput, match="--trade-id"):
        actions.record(registry, About(symbol="SPY"), DRAFT, clock=CLOCK)


def test_what_is_said_is_kept_as_it_was_said(traded: Registry) -> None:
    """Tags once each and sorted, moments in UTC, what is unknown null: the source printed the text NaT."""
    full = Draft(
        "flag", " why ", "me", 0.5, ("b, a", "a"), datetime.fromisoformat("2024-03-02"), {"desk": ["x"]},
        datetime.fromisoformat("2024-02-01"), datetime.fromisoformat("2024-03-01"),
    )  # fmt: skip
    actions.record(traded, About(trade_id=7), full, clock=CLOCK)
    (found,) = (one.as_document() for one in actions.listed(traded, symbol="SPY", decision="flag"))
    assert found | {"annotation_id": 0} == {
        "annotation_id": 0, "trade_id": 7, "symbol": "SPY", "trade_timestamp": "2024-03-01T16:00:00+00:00",
        "decision": "flag", "rationale": "why", "confidence": 0.5, "tags": ["a", "b"], "author": "me",
        "created_at": "2024-03-02T00:00:00+00:00", "metadata": {"desk": ["x"]},
        "context_window_start": "2024-02-01T00:00:00+00:00", "context_window_end": "2024-03-01T00:00:00+00:00",
    }  # fmt: skip
    actions.record(traded, About(trade_id=8), DRAFT, clock=CLOCK)
    bare = actions.listed(traded, symbol="QQQ")[0].as_document()
    assert (bare["context_window_start"], bare["metadata"], bare["confidence"], bare["tags"]) == (None, None, None, [])


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (Draft("maybe", "r", "a"), "approve, escalate, flag, hold, reject"),
        (Draft("hold", "  ", "a"), "rationale"),
        (Draft("hold", "r", ""), "author"),
        (Draft("hold", "r", "a", 1.01), "between 0 and 1"),
        (Draft("hold", "r", "a", float("nan")), "between 0 and 1"),
        (Draft("hold", "r", "a", context_from=NOW, context_to=MADE), "ends before"),
        (Draft("hold", "r", "a", metadata={"x": "y" * 20_000}), "longer than"),
    ],
)
def test_what_breaks_a_rule_is_refused(draft: Draft, words: str) -> None:
    """The source's table took any word and any confidence."""
    with pytest.raises(BadInput, match=words):
        rules.checked(draft)


def test_a_log_of_trades_is_brought_in_once(registry: Registry, tmp_path: Path) -> None:
    """Again is unchanged, with or without ids; other values under a known id are refused, and nothing of that file lands."""
    file = trades(tmp_path, (None, "SPY", MADE), (None, "QQQ", MADE))
    assert actions.bring_trades(registry, file) == (2, 0)
    assert actions.bring_trades(registry, file) == (0, 2)
    assert actions.bring_trades(registry, trades(tmp_path, (7, "SPY", MADE))) == (1, 0)
    with pytest.raises(Conflict):
        actions.bring_trades(registry, trades(tmp_path, (9, "IWM", MADE), (7, "DIA", MADE)))
    with pytest.raises(NotFound):
        actions.record(registry, About(trade_id=9), DRAFT, clock=CLOCK)


@pytest.mark.parametrize("name", ["positions.csv", "positions.json"])
def test_trades_of_the_registry_are_held_against_the_limits(registry: Registry, tmp_path: Path, name: str) -> None:
    """The source's columns have neither notional nor position, so its own trades could not be measured by its guardrails."""
    table = pd.DataFrame(
        {"timestamp": [MADE.isoformat()] * 3, "symbol": ["SPY", "QQQ", "TLT"], "side": ["long", "short", "flat"],
         "size": [2, 3, 4], "price": [5.0, 1.5, 9.0], "pnl": [0.5, None, 0.0]}
    )  # fmt: skip
    table.to_csv(tmp_path / "trades.csv", index=False)
    actions.bring_trades(registry, tmp_path / "trades.csv")
    assert actions.positions(registry, tmp_path / name) == 3
    book = trades_of(tmp_path / name, Columns())
    assert book["notional"].tolist() == [10.0, -4.5, 0.0]
    assert book["position"].tolist() == [2.0, -3.0, 0.0]
    found = guardrail_metrics(book, GuardrailConfig())
    assert (found["gross_exposure_peak"], found["net_exposure_peak"]) == (14.5, 5.5)
    assert actions.positions(registry, tmp_path / name, symbol="QQQ") == 1
    with pytest.raises(NoData, match="`plms annotate trades FILE`"):
        actions.positions(registry, tmp_path / "none.csv", symbol="IEF")
    assert not (tmp_path / "none.csv").exists()


def test_the_sources_table_of_trades_is_read_though_pandas_wrote_it(registry: Registry, tmp_path: Path) -> None:
    """Without a primary key every annotation failed there with a foreign key mismatch."""
    with closing(sqlite3.connect(tmp_path / "market.db")) as connection:
        connection.executescript(
            "CREATE TABLE trades (trade_id INTEGER, timestamp TEXT, symbol TEXT, side TEXT, size REAL, price REAL, pnl REAL);"
            "INSERT INTO trades VALUES (3, '2024-03-01 16:00:00', 'SPY', 'short', 2, 5, -1);"
        )
    assert actions.bring_trades(registry, tmp_path / "market.db") == (1, 0)
    assert actions.record(registry, About(symbol="SPY", timestamp=MADE), DRAFT, clock=CLOCK).trade_id == 3


def test_rejected_bars_teach_no_more_and_the_manifest_says_so(tmp_path: Path) -> None:
    """The original claimed that annotations reach training and report; nothing ever read them."""
    bars = small_bars()
    write_bars(tmp_path / "bars.parquet", bars)
    moments = [moment.astype("datetime64[us]").item().replace(tzinfo=UTC) for moment in bars.timestamp[[0, -1]]]
    word = Annotation(
        1,
        1,
        bars.symbols[0],
        moments[0],
        "reject",
        "A <broken> feed.",
        None,
        (),
        "me",
        NOW,
        None,
        moments[0],
        moments[1],
    )

    def trained(name: str, weights: dict[str, float]) -> tuple[str, dict[str, object] | None, str]:
        asked = Request(
            tmp_path / "bars.parquet",
            small_experiment(annotations={"weights": weights}),
            gates=GateConfig(resamples=50),
        )
        done = retrain(asked, root=tmp_path / name, clock=CLOCK, run_id="r", code_version="0", said=lambda _: [word])
        return done.run.model_sha256, done.run.manifest["annotations"], (done.run.path / "report.html").read_text()

    plain, weighed = trained("a", {}), trained("b", {"reject": 0.0})
    assert plain[0] != weighed[0]
    assert plain[1] is None
    assert weighed[1] is not None
    rows = int(bars.starts[1])
    assert (weighed[1]["bars"], weighed[1]["weights"]) == ({"reject": rows}, {"reject": 0.0})
    assert "A &lt;broken&gt; feed." in plain[2]
    with pytest.raises(BadInput, match="registry"):
        retrain(
            Request(tmp_path / "bars.parquet", small_experiment(annotations={"weights": {"reject": 0.0}})),
            root=tmp_path / "c", clock=CLOCK, run_id="r", code_version="0",
        )  # fmt: skip


def test_a_candidate_is_trained_with_what_the_registry_knows(sqlite_registry: Registry, tmp_path: Path) -> None:
    """The words are in the registry: a training that is registered hears them without being told where they are."""
    bars = small_bars()
    write_bars(tmp_path / "bars.parquet", bars)
    made = bars.timestamp[-1].astype("datetime64[us]").item().replace(tzinfo=UTC)
    actions.bring_trades(sqlite_registry, trades(tmp_path, (7, bars.symbols[0], made), (8, "SPY", made)))
    for number in (7, 8):
        actions.record(sqlite_registry, About(trade_id=number), DRAFT, clock=CLOCK)
    weighing = small_experiment(annotations={"weights": {"reject": 0.25}})
    asked = Request(tmp_path / "bars.parquet", weighing, gates=GateConfig(resamples=50), has_report=False)
    done, _ = retrain_candidate(
        sqlite_registry, asked, root=tmp_path / "data", clock=CLOCK, run_id="r1", code_version="0",
        actor=Actor("ann", is_verified=True), expiry=timedelta(days=14),
    )  # fmt: skip
    kept = done.run.manifest["annotations"]
    assert (kept["annotations"], kept["bars"], kept["weights"]) == (1, {"reject": 1}, {"reject": 0.25})


def test_a_list_sends_nothing_that_a_terminal_obeys(
    sqlite_registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An author of escape sequences renamed the window of everybody who listed."""
    monkeypatch.setenv("PLMS_DATABASE_URL", sqlite_registry_url)
    assert main(["annotate", "trades", str(trades(tmp_path, (7, "SPY", MADE)))]) == 0
    given = ["--decision", "hold", "--rationale", "two\nlines", "--author", "a\x1b]0;t\x07b"]
    assert main(["annotate", "record", "--trade-id", "7", *given]) == 0
    capsys.readouterr()
    assert main(["annotate", "list"]) == 0
    assert capsys.readouterr().out.endswith(" a?]0;t?b: two?lines\n")


def test_the_command_records_lists_and_exports(
    sqlite_registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What people type; exit codes that scripts understand."""
    monkeypatch.setenv("PLMS_DATABASE_URL", sqlite_registry_url)
    assert main(["annotate", "trades", str(trades(tmp_path, (7, "SPY", MADE))), "--json"]) == 0
    given = ["annotate", "record", "--decision", "hold", "--rationale", "=1+1", "--author", "me", "--tags", "b,a"]
    assert main([*given, "--symbol", "SPY", "--trade-timestamp", "2024-03-01T16:00:00"]) == 0
    capsys.readouterr()
    assert main([*given, "--trade-id", "8", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "unknown_trade"
    assert main(["annotate", "list", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["tags"], found["context_window_end"]) == (["a", "b"], None)
    for name in ("a.json", "a.csv"):
        assert main(["annotate", "export", str(tmp_path / name), "--json"]) == 0
    assert json.loads((tmp_path / "a.json").read_text()) == [found]
    assert "'=1+1" in (tmp_path / "a.csv").read_text()
