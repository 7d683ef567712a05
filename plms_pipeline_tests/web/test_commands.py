"""`plms ui` at the terminal."""

from __future__ import annotations

import json
import socket

import pytest

from plms_pipeline.cli import main


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # pytest's fixture
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path))
    for variable in ("DAGSTER_HOME", "PLMS_UI_PORT", "PLMS_UI_HOST"):
        monkeypatch.delenv(variable, raising=False)


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """People copy it."""
    assert main(["ui", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example: plms ui --port 3100" in shown
    for option in ("--host", "--port", "--no-daemon", "--no-browser", "--json"):
        assert option in shown


def test_a_port_in_use_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts look at the code, people at the line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["ui", "--port", port, "--no-browser"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"error: Port {port} on 127.0.0.1 is already in use")
        assert main(["ui", "--port", port, "--json"]) == 2
        assert json.loads(capsys.readouterr().err)["error"]["code"] == "port_in_use"


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "-1"], ["--port", "70000"], ["--nonsense"]])
def test_nonsense_is_bad_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 for whatever was typed wrongly."""
    assert main(["ui", *arguments]) == 2
    assert capsys.readouterr().err


def test_an_open_address_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """`--host 0.0.0.0` is what people type when a page does not open."""
    assert main(["ui", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "reachable from other machines" in capsys.readouterr().err
