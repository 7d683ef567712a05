"""Does the server keep serving the right model, whatever happens to registry, files and switches?"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Conflict, NoData, Unavailable
from plms_pipeline.models.decision.levels import breached
from plms_pipeline.models.records import MARKET
from plms_pipeline.models.serving import files, service
from plms_pipeline.models.serving.health import reasons
from plms_pipeline.models.serving.metrics import ServingMetrics
from plms_pipeline.models.serving.service import ModelServer
from plms_pipeline.models.store.levels import service_levels
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ServingMinute
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.serving.worlds import promote, trained, turn


@pytest.fixture
def server(settings: Settings, registry: Registry, clock: FrozenClock) -> ModelServer:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return ModelServer(settings, registry, clock, ServingMetrics())


def value(server: ModelServer, series: str, /, **labels: str) -> float | None:
    return server.metrics.registry.get_sample_value(series, labels)


def test_promotion_and_rollback_are_picked_up(server: ModelServer, registry: Registry, settings: Settings) -> None:
    """A restart for every promotion is a reason not to roll back."""
    server.look()
    assert server.served is None
    old, new = trained(settings.data_dir), trained(settings.data_dir, 3.0)
    for of in (old, new, old):
        champion = promote(registry, of)
        server.look()
        assert server.served is not None
        assert server.served.version.promotion_id == champion.promotion_id
        assert server.served.version.model_sha256 == of.model
    assert value(server, "plus_ultra_service_model_sequence") == 3
    assert value(server, "plus_ultra_service_model_swaps_total") == 3


def test_a_model_that_cannot_be_verified_never_serves(
    server: ModelServer, registry: Registry, settings: Settings
) -> None:
    """And the one before it goes on; the gauge tells somebody."""
    old, new = trained(settings.data_dir), trained(settings.data_dir, 3.0)
    promote(registry, old)
    server.look()
    path = settings.data_dir / new.folder / "training" / "checkpoints" / "candidate.npz"
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    promote(registry, new)
    server.look()
    assert server.served is not None
    assert server.served.version.model_sha256 == old.model
    assert value(server, "plus_ultra_service_model_unverified") == 1
    assert value(server, "plus_ultra_service_promoted_sequence") == 2
    with pytest.raises(Conflict):
        server.reload(None)
    # Restored, it is taken.
    path.write_bytes(content)
    assert server.reload(None).version.model_sha256 == new.model
    assert value(server, "plus_ultra_service_model_unverified") == 0


def test_without_any_good_model_it_says_why(server: ModelServer, registry: Registry, settings: Settings) -> None:
    """`No model` and `a model that was tampered with` call for different people."""
    with pytest.raises(Unavailable) as none:
        server.required(server.served)
    assert none.value.code == "no_champion"
    of = trained(settings.data_dir)
    promote(registry, of)
    (settings.data_dir / of.folder / "manifest.json").write_text("{}")
    server.look()
    with pytest.raises(Unavailable) as bad:
        server.required(server.served)
    assert bad.value.code == "model_not_verified"


def test_a_rollback_ends_the_alarm(server: ModelServer, registry: Registry, settings: Settings) -> None:
    """What is not promoted any more need not be verified."""
    old, new = trained(settings.data_dir), trained(settings.data_dir, 3.0)
    promote(registry, old)
    server.look()
    (settings.data_dir / new.folder / "manifest.json").write_text("{}")
    promote(registry, new)
    server.look()
    promote(registry, old)
    server.look()
    assert server.refused is None
    assert value(server, "plus_ultra_service_model_unverified") == 0


def test_reload_loads_what_is_promoted_and_nothing_else(
    server: ModelServer, registry: Registry, settings: Settings
) -> None:
    """The original loaded whatever path was sent, and its default again when none was."""
    old, new = trained(settings.data_dir), trained(settings.data_dir, 3.0)
    promote(registry, old)
    server.look()
    promote(registry, new)
    with pytest.raises(Conflict) as refused:
        server.reload(old.model)
    assert refused.value.code == "not_promoted"
    assert server.reload(new.model).version.model_sha256 == new.model
    assert server.reload(None).version.model_sha256 == new.model


def test_a_registry_that_is_away_ends_no_answer(
    server: ModelServer, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of the books is no reason for one of the answers, and counts are written later."""
    promote(registry, trained(settings.data_dir))
    server.look()
    server.answered("predict", "POST", 200, 0.01)

    def away(*_: object) -> None:
        raise Unavailable("The registry is away.")

    with monkeypatch.context() as broken:
        broken.setattr(registry, "reading", away)
        broken.setattr(registry, "writing", away)
        server.look()
        server.write()
        assert server.served is not None
        assert server.unread is not None
    server.answered("predict", "POST", 503, 0.9)
    server.look()
    server.write()
    server.write()
    assert server.unread is None
    with registry.reading() as session:
        sums = session.execute(
            select(func.sum(ServingMinute.requests), func.sum(ServingMinute.errors), func.sum(ServingMinute.slow_750))
        ).one()
    assert tuple(sums) == (2, 1, 1)


def test_the_switch_is_read_with_the_champion(server: ModelServer, registry: Registry) -> None:
    """Whoever switches guardrails off wants them off now; whoever looks at the dashboard wants to see it."""
    server.look()
    assert value(server, "plus_ultra_guardrails_enabled", policy="service") == 1
    turn(registry, enabled=False)
    server.look()
    assert not server.switch.enabled
    assert value(server, "plus_ultra_guardrails_enabled", policy="service") == 0
    assert not server.limits(None).enabled
    turn(registry, enabled=True)
    server.look()
    assert server.limits(None).enabled


def test_caps_that_name_no_limit_are_refused_when_they_are_loaded(
    server: ModelServer, registry: Registry, settings: Settings
) -> None:
    """And not with the first book that is sent."""
    promote(registry, trained(settings.data_dir), caps={"max_weather": 1.0})
    server.look()
    assert server.served is None
    assert server.refused is not None
    assert "max_weather" in server.refused.error.message


def test_figures_of_the_champion_keep_their_sign(server: ModelServer, registry: Registry, settings: Settings) -> None:
    """The original told a Sharpe ratio of -1.2 as 1.2 (defect 17)."""
    promote(registry, trained(settings.data_dir))
    server.look()
    assert server.served is not None
    told = value(server, "plus_ultra_service_champion_metric", name="max_drawdown")
    assert told == server.served.figures["max_drawdown"]
    assert told is not None
    assert told < 0


def test_an_end_of_the_server_writes_what_was_counted(
    settings: Settings, registry: Registry, clock: FrozenClock
) -> None:
    """The last minute of a process is the one before its deployment."""
    server = ModelServer(settings, registry, clock, ServingMetrics())
    server.start()
    server.answered("guardrails", "POST", 200, 0.3)
    server.stop()
    with registry.reading() as session:
        [row] = session.execute(select(ServingMinute.guardrail_requests, ServingMinute.slow_250)).all()
    assert tuple(row) == (1, 1)


def codes(server: ModelServer) -> list[str]:
    return [one.code for one in reasons(server.served, server.refused, server.unread, server.switch)]


def model_of(settings: Settings, folder: str) -> Path:
    return settings.data_dir / folder / "training" / "checkpoints" / "candidate.npz"


def test_a_file_that_is_lost_under_the_server_is_told_before_the_next_restart(
    server: ModelServer, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers from memory and looks well, until the host is rebooted at night and nothing answers any more."""
    of = trained(settings.data_dir)
    promote(registry, of)
    server.look()
    assert codes(server) == []
    path = model_of(settings, of.folder)
    content = path.read_bytes()
    path.unlink()
    server.look()
    assert codes(server) == []
    monkeypatch.setattr(service, "VERIFY_EVERY_S", 0.0)
    monkeypatch.setattr(service, "AGAIN_AFTER_S", 0.0)
    server.look()
    assert codes(server) == ["file_missing"]
    assert server.served is not None
    assert value(server, "plus_ultra_service_model_unverified") == 1
    [told] = reasons(server.served, server.refused, server.unread, server.switch)
    assert "goes on from memory" in told.detail
    with pytest.raises(NoData):
        server.reload(None)
    path.write_bytes(content)
    server.look()
    assert codes(server) == []
    # It was the same model all the time.
    assert value(server, "plus_ultra_service_model_swaps_total") == 1
    assert value(server, "plus_ultra_service_model_unverified") == 0


def test_reload_looks_at_the_files_even_of_the_model_that_serves(
    server: ModelServer, registry: Registry, settings: Settings
) -> None:
    """`200, not changed` about files that were altered would be believed."""
    of = trained(settings.data_dir)
    promote(registry, of)
    server.look()
    with model_of(settings, of.folder).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(Conflict) as refused:
        server.reload(None)
    assert refused.value.code == "run_altered"
    assert server.served is not None


def test_a_snapshot_that_comes_back_is_used_again(
    server: ModelServer, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who restored the file should not have to restart the server as well."""
    of = trained(settings.data_dir)
    promote(registry, of)
    path = settings.data_dir / "market_snapshots" / f"{of.data}.parquet"
    away = path.rename(path.with_suffix(".away"))
    server.look()
    assert codes(server) == ["no_history"]
    away.rename(path)
    monkeypatch.setattr(service, "VERIFY_EVERY_S", 0.0)
    server.look()
    assert codes(server) == []


def test_a_snapshot_that_is_cut_off_says_what_to_do(
    server: ModelServer, registry: Registry, settings: Settings
) -> None:
    """`Import the prices again` makes another snapshot; and nothing that was sent to /reload is wrong."""
    of = trained(settings.data_dir)
    promote(registry, of)
    path = settings.data_dir / "market_snapshots" / f"{of.data}.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(Conflict, match="move it away"):
        server.reload(None)


def test_what_nobody_foresaw_while_reading_is_told_as_well(
    server: ModelServer, registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the start of the server, and in its thread it was logged once a second and shown nowhere."""
    promote(registry, trained(settings.data_dir))

    def broken(*_: object) -> Any:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(files, "load", broken)
    server.look()
    assert codes(server) == ["model_unreadable"]


def test_an_outage_is_told_when_it_begins_and_when_it_ends(
    server: ModelServer, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A line a second hides what else happened in that night."""

    def away(*_: object) -> None:
        raise Unavailable("The registry is away.")

    with caplog.at_level(logging.WARNING, service.__name__):
        with monkeypatch.context() as broken:
            broken.setattr(registry, "reading", away)
            for _ in range(20):
                server.look()
            assert codes(server) == ["unavailable"]
        server.look()
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == [
        "event=registry_not_read", "event=registry_read_again",
    ]  # fmt: skip
    assert "The registry is away." in caplog.text


def test_every_reason_names_its_remedy(server: ModelServer, registry: Registry, settings: Settings) -> None:
    """`degraded` alone is a riddle at three in the morning."""
    server.look()
    [none] = reasons(server.served, server.refused, server.unread, server.switch)
    assert (none.code, "`plms model list`" in none.detail) == ("no_champion", True)
    old, new = trained(settings.data_dir), trained(settings.data_dir, 3.0)
    promote(registry, old)
    server.look()
    promote(registry, new)
    (settings.data_dir / new.folder / "manifest.json").write_text("{}")
    turn(registry, enabled=False, reason="A vendor sends nonsense.")
    server.look()
    altered, off = reasons(server.served, server.refused, server.unread, server.switch)
    assert (altered.code, off.code) == ("run_altered", "guardrails_disabled")
    assert "number 1 goes on answering" in altered.detail
    assert "`plms model rollback`" in altered.detail
    assert "A vendor sends nonsense." in off.detail
    assert "`plms model guardrails on`" in off.detail


def test_a_registry_that_hangs_is_told_and_holds_no_end_up(
    server: ModelServer, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A database behind a network may neither answer nor refuse: everything looked well, and SIGTERM waited for it."""
    asked, over = threading.Event(), threading.Event()

    def hanging(*_: object) -> None:
        asked.set()
        over.wait(30)
        raise Unavailable("The registry is away.")

    monkeypatch.setattr(service, "SILENT_AFTER_S", -60.0)
    monkeypatch.setattr(service, "ENDS_WITHIN_S", 0.01)
    assert server.unread is None
    server.settings = server.settings.model_copy(update={"model_watch_s": 0.01})
    server.start()
    monkeypatch.setattr(registry, "reading", hanging)
    try:
        assert asked.wait(30)
        assert "registry_silent" in codes(server)
        server.answered("predict", "POST", 200, 0.01)
        server.stop()
        assert "event=minutes_lost code=registry_silent minutes=1" in caplog.text
    finally:
        over.set()


def test_counts_that_are_lost_with_the_process_are_named(
    server: ModelServer, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The promises of that week are computed without them."""

    def away(*_: object) -> None:
        raise Unavailable("The registry is away.")

    server.start()
    server.answered("predict", "POST", 200, 0.01)
    monkeypatch.setattr(registry, "writing", away)
    server.stop()
    assert "event=minutes_lost code=registry_not_written minutes=1" in caplog.text


def test_asking_before_anything_was_promoted_holds_the_first_promotion_not_back(
    server: ModelServer, registry: Registry, settings: Settings, clock: FrozenClock
) -> None:
    """A new installation whose clients were there first: their 503s broke the service level for seven days, and a broken
    service level stops every promotion."""
    server.look()
    for _ in range(50):
        server.answered("predict", "POST", 503, 0.01)
    server.write()
    with registry.reading() as session:
        assert breached(service_levels(session, MARKET, clock.now())) == ()
    assert value(server, "plus_ultra_service_requests_total", endpoint="predict", method="POST", status="503") == 50
    of = trained(settings.data_dir)
    promote(registry, of)
    (settings.data_dir / of.folder / "manifest.json").write_text("{}")
    server.look()
    server.answered("predict", "POST", 503, 0.01)
    server.answered("predict", "POST", 503, 0.01)
    server.write()
    # What was promoted and cannot be served is an outage.
    with registry.reading() as session:
        [broken] = breached(service_levels(session, MARKET, clock.now()))
    assert (broken.bad, broken.of) == (2, 2)
