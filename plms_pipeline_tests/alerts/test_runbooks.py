"""Does every alert lead to a page that helps?"""

from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.alerts import files
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.test_documents import wrong_commands

PAGES = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
RULES = files.load_rules(load_settings({}))
SECTIONS = ("## What it means", "## First look", "## What to do", "## When to escalate")


def test_every_rule_has_its_page_and_every_page_its_rule() -> None:
    """A message that links to nothing is read by somebody who then knows nothing."""
    assert sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README") == sorted(RULES)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_page_names_commands_that_exist_and_the_rule_as_it_is(rule: str) -> None:
    """At three in the morning nobody looks up how a command is really called."""
    text = (PAGES / f"{rule}.md").read_text(encoding="utf-8")
    assert wrong_commands(text) == []
    assert all(section in text for section in SECTIONS)
    known = RULES[rule]
    assert text.splitlines()[2].startswith(f"{known.severity}, ")
    assert f"`{known.input.name} {known.compare} {known.threshold:g}`" in text
    assert "`plms " in text or "\nplms " in text


def test_the_index_lists_every_page() -> None:
    """A page that nobody finds does not exist."""
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"]({rule}.md)" not in text] == []
