"""Does `plms` answer at once, fail in one line, and exit with the code that scripts rely on?"""

from __future__ import annotations

import glob
import importlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from plms_pipeline import __version__
from plms_pipeline.cli import COMMANDS, main
from plms_pipeline.errors import BadInput, NoData, PlmsError, Unavailable, VerdictNo
from plms_pipeline.registry.migrate import ADVISORY_LOCK

HEAVY = ("pandas", "sklearn", "matplotlib", "scipy", "numba", "dagster", "pyarrow")
Run = Callable[..., "subprocess.CompletedProcess[str]"]

probe_app = typer.Typer()


@probe_app.command(epilog="Example: plms probe")
def probe(how: str, text: str = typer.Argument("\udcff"), as_json: bool = typer.Option(False, "--json")) -> None:
    """End in every way that a command can end."""
    failures: dict[str, BaseException] = {
        "no": VerdictNo("The answer is no."),
        "bad": BadInput("The thing broke the rule; do this.", code="thing_is_bad"),
        "nothing": NoData("There is nothing."),
        "away": Unavailable("It is away."),
        "interrupt": KeyboardInterrupt(),
        "abort": typer.Abort(),
        "pipe": BrokenPipeError(32, "Broken pipe"),
        "disk": OSError(28, "No space left on device", "/data/x.parquet"),
        "exit1": typer.Exit(1),
    }
    if how == "store":
        text.encode()
    if how == "log":
        logger = logging.getLogger("plms_pipeline.somewhere")
        logger.setLevel(logging.INFO)
        logger.info("books_proven")
        logger.warning("something_is_wrong")
    if how == "half an import":
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("Error calling __set_name__") from interrupt
    if how in failures:
        raise failures[how]
    typer.echo(json.dumps({"how": how}) if as_json else how)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLMS_")}
    return {**kept, "PLMS_DATA_DIR": str(tmp_path / "data"), "PLMS_REPORTS_DIR": str(tmp_path / "reports")}


@pytest.fixture
def plms(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run the real program, from a directory that has nothing to do with it."""

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plms_pipeline.cli", *arguments],
            env={**environment, **extra}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Mounts the command above beside the real ones."""
    monkeypatch.setitem(COMMANDS, "probe", (f"{__name__}:probe_app", "End in every way."))
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    children = getattr(command, "commands", None)
    if children:
        for name, child in children.items():
            yield from leaves(child, (*path, name))
    else:
        yield path, command


def offered(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    return typer.main.get_command(getattr(importlib.import_module(module), attribute))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_how_it_is_used(name: str) -> None:
    """People read `--help`, see an example that they can copy, and stop reading."""
    for path, command in leaves(offered(name), ("plms", name)):
        spoken = " ".join(path)
        assert command.help, f"{spoken} does not say what it does"
        assert spoken in (command.epilog or ""), f"{spoken} --help has no example that calls it"
        assert all(getattr(option, "help", "x") for option in command.params), f"{spoken} has an option without help"


def examples(name: str) -> Iterator[list[str]]:
    """What the help of a command and of those below it says to type, as a shell would pass it on."""
    for _, command in leaves(offered(name), ("plms", name)):
        found = re.search(r"Example: plms (.+?)(?:\. |$)", command.epilog)
        assert found, command.epilog
        words = shlex.split(found[1])
        yield [each for word in words for each in (sorted(glob.glob(word)) if "*" in word else [word])]


@pytest.mark.live
def test_the_examples_run_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a fresh checkout: whoever copies an example and gets an error stops believing the rest of the help."""
    samples = Path(__file__).resolve().parent.parent / "data" / "samples"
    shutil.copytree(samples, tmp_path / "data" / "samples", ignore=shutil.ignore_patterns("kpi_receipt.json"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(tmp_path / "reports"))
    for name in ("db", "import", "kpi", "invariants"):
        for words in examples(name):
            assert main(words) == 0, f"plms {' '.join(words)}: {capsys.readouterr()}"
            if "downgrade" in words:
                assert main(["db", "upgrade"]) == 0


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"ui"}))
def test_every_command_speaks_to_machines(name: str) -> None:
    """A script that must read a table of box characters breaks with the next release."""
    for path, command in leaves(offered(name), ("plms", name)):
        options = {flag for option in command.params for flag in option.opts}
        assert "--json" in options, f"{' '.join(path)} has no --json"


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """The list is the product's table of contents."""
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, (_, description) in COMMANDS.items():
        assert name in printed
        assert description.split()[0] in printed


def test_no_arguments_is_a_request_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that anybody types."""
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The first question in every bug report."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"plms {__version__}\n"


@pytest.mark.parametrize(
    ("how", "exit_code", "code"),
    [("no", 1, "verdict_no"), ("bad", 2, "thing_is_bad"), ("nothing", 3, "no_data"), ("away", 4, "unavailable"),
     ("interrupt", 130, "interrupted"), ("half an import", 130, "interrupted"), ("abort", 130, "interrupted"),
     ("disk", 4, "os_error")],
)  # fmt: skip
@pytest.mark.usefixtures("probing")
def test_errors_are_one_line_or_one_json_object(
    how: str, exit_code: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for people, one object for machines, the same exit code for both; standard output stays clean."""
    assert main(["probe", how]) == exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert main(["probe", how, "--json"]) == exit_code
    told = json.loads(capsys.readouterr().err)["error"]
    assert told["code"] == code
    assert printed.err == f"error: {told['detail']}\n"


@pytest.mark.usefixtures("probing")
def test_success_and_plain_exits_pass_through(capsys: pytest.CaptureFixture[str]) -> None:
    """0 is done and true; a command that prints a table of failures and exits 1 is not an error message."""
    assert main(["probe", "well"]) == 0
    assert main(["probe", "exit1"]) == 1
    assert capsys.readouterr() == ("well\n", "")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["db", "nonsense"], ["db", "upgrade", "--nonsense"], ["db", "query"], ["probe"], ["--nonsense"]],
)
@pytest.mark.usefixtures("probing")
def test_bad_use_is_exit_2_with_the_way_to_the_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 would read as "the verdict is no" to whatever called it."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "--help`" in printed.err
    assert printed.err.count("\n") == 1
    assert main([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "bad_usage"


@pytest.mark.usefixtures("probing")
def test_an_argument_that_is_no_text_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal that speaks Latin-1 sends such bytes for an accent; they ended in a traceback of the database's driver."""
    assert main(["probe", "store", "caf\udce9"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: The argument 'caf\\udce9' is no UTF-8 text")
    assert told.count("\n") == 1
    with pytest.raises(UnicodeEncodeError):
        main(["probe", "store"])


@pytest.mark.live
def test_a_bad_setting_stops_every_command_that_needs_settings(plms: Run) -> None:
    """A command that runs with half of its settings writes where nobody looks."""
    done = plms("db", "upgrade", PLMS_ALPHA="2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: PLMS_ALPHA='2' is not valid")
    done = plms("db", "check", "--json", PLMS_TYPO="1")
    assert json.loads(done.stderr)["error"]["code"] == "unknown_setting"


def test_help_works_whatever_the_settings(plms: Run) -> None:
    """The person with a broken setting needs the help most."""
    assert plms("--help", PLMS_TYPO="1", PLMS_LOG_LEVEL="loud").returncode == 0


def test_help_is_quick_and_light(environment: dict[str, str]) -> None:
    """Shell users feel a second; `--help` must not pay for pandas, Dagster or a database driver."""
    script = (
        "import sys; from plms_pipeline.cli import main; code = main(['--help']); "
        f"print([m for m in {(*HEAVY, 'sqlalchemy', 'pydantic')!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert done.stderr.strip() == "[]"
    assert spent < 1.0, f"{spent:.2f} s of processor time"


@pytest.mark.live
@pytest.mark.parametrize(
    "ending",
    [
        "import plms_pipeline.cli as cli; sys.argv[1:] = ['--version']; cli.entry_point()",
        "import plms_pipeline.dagster_internals",
    ],
)
def test_the_end_of_a_process_is_no_search_for_garbage(ending: str, environment: dict[str, str]) -> None:
    """Python looked for it in all that Dagster made: a second for every run and for each `plms` that loads it."""
    script = f"import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 0)); {ending}"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "True"


@pytest.mark.live
def test_asking_for_a_commands_help_loads_nothing_heavy(environment: dict[str, str]) -> None:
    """Every command module imports its libraries inside functions, or each `plms` call pays for all of them."""
    script = f"""
import importlib, json, sys
from plms_pipeline.cli import COMMANDS
guilty = {{}}
for name, (target, _) in COMMANDS.items():
    importlib.import_module(target.partition(":")[0])
    for heavy in {HEAVY!r}:
        if heavy in sys.modules:
            guilty.setdefault(heavy, name)
print(json.dumps(guilty))
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {}


@pytest.mark.live
def test_a_closed_pipe_is_quiet_and_no_yes(environment: dict[str, str], plms: Run) -> None:
    """`plms invariants | head` must print no traceback, and exit neither 1 ("no") nor 0 ("yes") without having said it."""
    plms("db", "upgrade")
    # Unbuffered, Python takes a write that was cut short for a whole one.
    buffered = {name: value for name, value in environment.items() if name != "PYTHONUNBUFFERED"}
    statement = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 50000) SELECT i FROM t"
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -m plms_pipeline.cli db query --json "$1" | head -c 1',
         sys.executable, statement],
        env=buffered, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (141, "[", "")


@pytest.mark.live
@pytest.mark.usefixtures("probing")
def test_a_pipe_that_breaks_inside_a_command_is_quiet_too(environment: dict[str, str]) -> None:
    """Typer answers it with exit 1 by itself."""
    script = (
        "import sys, plms_pipeline.cli as cli; "
        f"cli.COMMANDS['probe'] = ({f'{__name__}:probe_app'!r}, ''); sys.exit(cli.main(['probe', 'pipe']))"
    )
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, "", "")


@pytest.mark.live
@pytest.mark.parametrize(("level", "is_shown"), [("", False), ("WARNING", False), ("INFO", True)])
def test_the_log_level_holds_whoever_lowers_that_of_a_logger(
    level: str, is_shown: bool, environment: dict[str, str]
) -> None:
    """Dagster lowers our loggers to INFO for its own log: a night printed what PLMS_LOG_LEVEL=WARNING had switched off."""
    script = (
        "import sys, plms_pipeline.cli as cli; "
        f"cli.COMMANDS['probe'] = ({f'{__name__}:probe_app'!r}, ''); sys.exit(cli.main(['probe', 'log']))"
    )
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script], env={**environment, "PLMS_LOG_LEVEL": level}, cwd=root, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert ("books_proven" in done.stderr) is is_shown
    assert "something_is_wrong" in done.stderr


@pytest.mark.live
def test_interrupting_exits_130_with_one_line(
    environment: dict[str, str], empty_postgres_url: str, tmp_path: Path
) -> None:
    """Control-C while a command waits for a lock: scripts tell 130 from a verdict, and people see no traceback."""
    engine = create_engine(empty_postgres_url, poolclass=NullPool)
    with engine.connect() as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        child = subprocess.Popen(
            [sys.executable, "-m", "plms_pipeline.cli", "db", "upgrade"], cwd=tmp_path, text=True,
            env={**environment, "PLMS_DATABASE_URL": empty_postgres_url}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        for _ in range(600):
            if holder.scalar(waiting):
                break
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    engine.dispose()
    assert (child.returncode, out) == (130, "")
    assert err.startswith("error: Interrupted")
    assert err.count("\n") == 1


@pytest.mark.live
@pytest.mark.parametrize("arguments", [("check",), ("query", "SELECT 1"), ("downgrade",)])
def test_asking_about_a_registry_that_was_never_made_makes_none(
    plms: Run, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """SQLite makes an empty file of whatever it is asked to open, and the next reader takes it for the books."""
    done = plms("db", *arguments)
    assert done.returncode == 4
    assert "`plms db upgrade` makes it" in done.stderr
    assert not (tmp_path / "data" / "registry.db").exists()


@pytest.mark.live
def test_the_registry_from_a_terminal(plms: Run) -> None:
    """The first two commands of the README."""
    assert plms("db", "upgrade").returncode == 0
    state = json.loads(plms("db", "check", "--json").stdout)
    assert state["at_head"] is True
    lanes = json.loads(plms("db", "query", "SELECT lane_id, cap FROM lanes ORDER BY 1", "--json").stdout)
    assert lanes[0] == {"lane_id": 4200, "cap": 4}
    done = plms("db", "query", "SELECT nothing", "--json")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["code"] == "bad_input"


def test_every_error_class_is_reported() -> None:
    """A new kind of error must not slip past the one place that turns errors into exit codes."""
    assert all(issubclass(kind, PlmsError) for kind in (VerdictNo, BadInput, NoData, Unavailable))
