"""Task files become trees that know their lines; what could hurt is refused before it is unfolded."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.runs.plan_document import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    BadPlan,
    Item,
    from_csv,
    from_json,
    from_yaml,
    overlaid,
)

# What YAML 1.2 calls a number and PyYAML, which follows 1.1, writes without quotes as text: `0E0`, `09`.
DISPUTED = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
undisputed = words.filter(lambda word: DISPUTED.fullmatch(word) is None)


def nested(words: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of any depth."""
    scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | words
    inner = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4))
    return st.dictionaries(words, inner, max_size=4)


def refused(text: str, match: str) -> BadPlan:
    with pytest.raises(BadPlan, match=match) as error:
        from_yaml(text, "plan.yaml")
    return error.value


@given(nested(words))
def test_json_is_yaml(document: dict[str, Any]) -> None:
    """A plan that another program wrote as JSON must mean the same."""
    assert from_yaml(json.dumps(document), "plan").plain() == document
    assert from_json(document).plain() == document


@given(nested(undisputed))
def test_what_pyyaml_writes_we_read(document: dict[str, Any]) -> None:
    """PyYAML quotes whatever its own schema would misread; the text that it means must come back."""
    text = yaml.safe_dump(document, allow_unicode=True)
    assert from_yaml(text, "plan").plain() == document


@pytest.mark.parametrize(
    "word", ["no", "off", "yes", "on", "1:30", "010", "0x1F", "2026-01-01", "1_000", ".inf", "null "]
)
def test_text_stays_text(word: str) -> None:
    """YAML 1.1 reads `no` as false, `1:30` as ninety and `010` as eight: a lane, a name and a budget that nobody wrote."""
    found = from_yaml(f"name: '{word}'\nplain: {word}\n", "plan")
    assert isinstance(found.value, dict)
    assert found.value["name"].value == word
    assert found.value["plain"].value in (word.strip(), None)


def test_every_value_knows_its_line() -> None:
    """A file of three hundred tasks is searched by line, not by guessing."""
    found = from_yaml("name: x\ntasks:\n  - key: a\n    lane:\n      4200\n  - {key: b}\n", "plan")
    assert isinstance(found.value, dict)
    tasks = found.value["tasks"].value
    assert isinstance(tasks, list)
    assert [task.where for task in tasks] == ["line 3", "line 6"]
    assert isinstance(tasks[0].value, dict)
    assert tasks[0].value["lane"].where == "line 5"


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    """Ten lines that mean ten billion nodes stop a server that loads them."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert refused("\n".join(lines), "anchors and aliases").problems[0].where == "line 1"
    refused("a: [1]\nb: *a\n", "anchors and aliases")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!!int '1'", "!x 1", "!!binary aGk="])
def test_tags_are_refused(tag: str) -> None:
    """A tag chooses what code reads a value."""
    assert refused(f"lane: 4200\nname: {tag}\n", "tag").problems[0].where == "line 2"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("a: 1\na: 2\n", "line 2: the key 'a' stands twice"),
        ("a: [1\nb: 2\n", "line 2: it is no YAML"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document"),
        ("? [1, 2]\n: x\n", "a key must be a plain word"),
        ("\x07", "no YAML"),
        ("a: '\ud800'", "no text that YAML admits|no YAML"),
        ("[" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} deep"),
        ("x" * (MAX_CHARACTERS + 1), "longer than"),
    ],
)
def test_what_is_no_task_file_is_told_in_one_sentence(text: str, match: str) -> None:
    """Whoever wrote it needs the line, not a traceback of the parser."""
    assert refused(text, match).http_status == 422


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Anything may be uploaded."""
    for read in (from_yaml, from_csv):
        found = None
        with contextlib.suppress(BadPlan):
            found = read(text, "plan")
        assert found is None or isinstance(found, Item)


rows = st.lists(st.tuples(words.map(str.strip).filter(bool), words.map(str.strip).filter(bool)), min_size=1, max_size=6)


@given(rows)
def test_csv_that_the_standard_library_writes_is_read(table: list[tuple[str, str]]) -> None:
    """Quotes, commas and line breaks in a description are what spreadsheets write every day."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["key", "description"])
    writer.writerows(table)
    found = from_csv(stream.getvalue(), "plan.csv")
    assert found.plain() == {"tasks": [{"key": key, "description": text} for key, text in table]}


def test_csv_cells_that_are_lists_are_split_and_lines_are_counted_over_breaks() -> None:
    """The third task of a file with a long description does not stand on line 4."""
    text = 'key,description,depends_on,command\na,"two\nlines",,\n\nb,,a; c ,"python -c \'x = 1\'"\n'
    found = from_csv(text, "plan.csv")
    assert isinstance(found.value, dict)
    tasks = found.value["tasks"].value
    assert isinstance(tasks, list)
    assert [task.where for task in tasks] == ["line 2", "line 5"]
    assert tasks[1].plain() == {
        "key": "b",
        "description": None,
        "depends_on": ["a", "c"],
        "command": ["python", "-c", "x = 1"],
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("key,key\na,b\n", "line 1: a column stands twice"),
        ("key,name\na\n", "line 2: it has 1 cells where the header has 2"),
        ('key,command\na,"\'x"\n', "line 2: command cannot be split"),
        ('key\n"a', "it is no CSV"),
    ],
)
def test_a_broken_csv_is_told_by_line(text: str, match: str) -> None:
    """A row that slipped by one column gives every task another's lane."""
    with pytest.raises(BadPlan, match=match):
        from_csv(text, "plan.csv")


def test_all_problems_are_counted_and_twenty_are_shown() -> None:
    """A thousand lines of the same complaint hide the first one."""
    with pytest.raises(BadPlan) as error:
        from_csv("key,name\n" + "a\n" * 50, "plan.csv")
    assert len(error.value.problems) == 50
    assert "has 50 problems" in error.value.message
    assert "and 30 more" in error.value.message


def test_what_is_given_besides_goes_before_the_file() -> None:
    """`--name` means this name, and a problem with it names the option, not a line."""
    root = overlaid(from_yaml("name: x\nbudget: {usd: 1, tokens: 5}\n", "plan"), {"name": "y", "budget_usd": "2.50"})
    assert root.plain() == {"name": "y", "budget": {"usd": "2.50", "tokens": 5}}
    assert isinstance(root.value, dict)
    assert root.value["name"].where == "--name"
    assert overlaid(Item("", "text"), {"name": "y"}) == Item("", "text")
    fresh = overlaid(from_yaml("name: x\n", "plan"), {"budget_usd": "3"})
    assert fresh.plain() == {"name": "x", "budget": {"usd": "3"}}
