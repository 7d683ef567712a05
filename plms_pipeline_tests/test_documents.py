"""Is what README, docs and help texts tell people to type really there?"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from plms_pipeline.cli import COMMANDS
from plms_pipeline.definitions import defs
from plms_pipeline.models.serving.routes import router as model_router
from plms_pipeline.web.api.routes.app import DOMAIN_ROUTERS
from plms_pipeline.web.api.routes.ops import router as process_router

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
# In code spans and blocks: what stands in prose is not typed.
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`]+)`", re.DOTALL)
COMMAND = re.compile(r"(?<![\w./-])plms((?:[ \n]+[a-z][a-z-]*)+)")
OPTIONS = re.compile(r"--[a-z][a-z-]*")


def typed(text: str) -> list[str]:
    """What a page shows as code; a line break inside a span is a space."""
    return [(block or span) for block, span in CODE.findall(text)]


def walked(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words call, and the words that are no command's name."""
    module, _, attribute = COMMANDS[words[0]][0].partition(":")
    command: Any = typer.main.get_command(getattr(importlib.import_module(module), attribute))
    rest = words[1:]
    while rest and getattr(command, "commands", None):
        if rest[0] not in command.commands:
            break
        command = command.commands[rest.pop(0)]
    return command, rest


def wrong_commands(text: str) -> list[str]:
    """Commands in a text that do not exist, and options that theirs do not have."""
    wrong = []
    for code in typed(text):
        for line in code.split("\n") if "\n\n" in code or code.count("\n") > 2 else [code.replace("\n", " ")]:
            for found in COMMAND.finditer(line.partition("#")[0]):
                words = found[1].split()
                if words[0] not in COMMANDS:
                    wrong.append(f"plms {words[0]}")
                    continue
                command, rest = walked(words)
                if getattr(command, "commands", None) and rest:
                    wrong.append(f"plms {' '.join(words)}")
                tail = re.split(r"[|;]|`|, `| plms ", line[found.end() :])[0]
                known = {
                    flag for option in getattr(command, "params", ()) for flag in (*option.opts, *option.secondary_opts)
                }
                wrong += [f"plms {' '.join(words)} … {flag}" for flag in OPTIONS.findall(tail) if flag not in known]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    """A report once recommended a command that had never been there; the person on call tried it at three in the morning."""
    assert wrong_commands(page.read_text(encoding="utf-8")) == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    """The test above proves nothing unless it can fail."""
    assert wrong_commands("`plms decide kpi-override`") == ["plms decide kpi-override"]
    assert wrong_commands("`plms nonsense`") == ["plms nonsense"]
    assert wrong_commands("`plms run start 1 --quickly`") == ["plms run start … --quickly"]
    assert wrong_commands("`plms run start 1 --wait`") == []


def test_every_command_that_a_message_recommends_exists() -> None:
    """Errors, reports and help name the remedy; a remedy that is not there is worse than none."""
    wrong = []
    for path in sorted((ROOT / "plms_pipeline").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        wrong += [f"{path.relative_to(ROOT)}: {one}" for one in wrong_commands(text) if "…" not in one]
    assert wrong == []


def endpoints() -> set[tuple[str, str]]:
    return {
        (method, route.path)
        for router in (process_router, *DOMAIN_ROUTERS, model_router)
        for route in router.routes
        for method in getattr(route, "methods", ())
    }


def test_the_page_about_http_lists_every_endpoint_and_no_other() -> None:
    """An endpoint that nobody can find is not there, and one that was only promised is a wasted afternoon."""
    page = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    told: set[tuple[str, str]] = set()
    for row in (line.split("|")[1] for line in page.splitlines() if line.startswith("| `")):
        pending: list[str] = []
        for span in re.findall(r"`([A-Z]+)(?: (/[^`]*))?`", row):
            pending.append(span[0])
            if span[1]:
                told |= {(method, span[1]) for method in pending}
                pending = []
    assert told == endpoints()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_endpoint_and_job_that_a_page_names_exists(page: Path) -> None:
    """Examples are copied."""
    text = page.read_text(encoding="utf-8")
    shapes = {(method, re.sub(r"\{\w+\}", "*", path)) for method, path in endpoints()}
    for method, path in re.findall(r"`(GET|POST|PATCH|DELETE) (/(?:api|hooks|webhooks)/[^`\s?,]*)", text):
        shape = re.sub(r"\{\w+\}|(?<=/)\d+(?=/|$)", "*", path)
        assert (method, shape) in shapes, f"{method} {path}"
    if page.name == "runs.md":
        jobs = {job.name for job in defs.resolve_all_job_defs()}
        named = {
            row.split("|")[4].strip().strip("`") for row in text.splitlines() if row.count("|") == 5 and "plms" in row
        }
        assert {name for name in named if name and not name.startswith("asset")} <= jobs
