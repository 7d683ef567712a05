"""What stands in a task file, and on which line?

YAML, CSV and JSON become the same tree of items, each of which knows where it was written, so that one set of rules can
name the line of every problem. YAML is read event by event: `yaml.safe_load` loses the lines, takes `no` for false and
`1:30` for ninety, keeps the last of two equal keys, and lets ten aliases unfold into a billion nodes. Here text stays text,
a key that stands twice is a problem, and aliases and tags are not admitted.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from plms_pipeline.errors import BadInput

MAX_CHARACTERS: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 12
MAX_ITEMS: Final = 500_000
SHOWN: Final = 20
_NULLS: Final = {"", "~", "null", "Null", "NULL"}
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")
# An escaped backslash is consumed first, so that what follows it is not taken for an escape.
_PAIR: Final = re.compile(r"\\\\|\\u(?P<high>d[89ab][0-9a-f]{2})\\u(?P<low>d[c-f][0-9a-f]{2})", re.IGNORECASE)
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LIST_COLUMNS: Final = ("depends_on",)
COMMAND_COLUMNS: Final = ("command",)


@dataclass(frozen=True, slots=True)
class Item:
    """One value and where it stands. `scalar` is what a plain scalar means: a number, true or false, text, or None."""

    where: str
    value: str | list[Item] | dict[str, Item] | None
    scalar: Any = None

    @property
    def is_null(self) -> bool:
        """Whether nothing was written."""
        return self.value is None

    def plain(self) -> Any:
        """The tree below as Python's lists, dicts and scalars."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {name: item.plain() for name, item in self.value.items()}
        return self.scalar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class BadPlan(BadInput):
    """A task file or project that breaks rules; `problems` holds every one of them."""

    default_code = "bad_project_file"
    default_http_status = 422

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "; ".join(str(problem) for problem in self.problems[:SHOWN])
        more = f"; and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
        plural = "problem" if len(self.problems) == 1 else "problems"
        told = f"{lines}{more}"
        # A problem may be told in a sentence of its own, which ends as sentences do.
        end = "" if told.endswith(".") else "."
        super().__init__(f"{name} has {len(self.problems)} {plural}, nothing was stored: {told}{end}")


def from_yaml(text: str, name: str) -> Item:
    """The tree of a YAML document.

    Raises:
        BadPlan: it is too large or too deep, is no YAML, or holds aliases, tags or a key that stands twice.
    """
    _require_size(text, name)
    builder = _Builder(name)
    if text.lstrip().startswith("{"):
        # JSON writes what lies beyond 16 bits as a pair of escapes, which YAML does not know.
        text = _PAIR.sub(_joined, text)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise BadPlan(name, [_syntax_problem(error)]) from None
    except (UnicodeError, RecursionError):
        raise BadPlan(name, [Problem("", "it is no text that YAML admits")]) from None
    if builder.root is None:
        raise BadPlan(name, [Problem("", "it is empty; `plms project create --help` shows what a task file holds")])
    if builder.problems:
        raise BadPlan(name, builder.problems)
    return builder.root


def from_csv(text: str, name: str) -> Item:
    """The tree of a CSV file: one task per row, the columns named as the fields of a task.

    `depends_on` holds keys between semicolons or blanks, `command` words quoted as in a shell, `kpi_formula` JSON.

    Raises:
        BadPlan: it is too large, a column stands twice, or a row has not as many cells as the header.
    """
    _require_size(text, name)
    lines = [line + "\n" for line in text.split("\n")]
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    problems: list[Problem] = []
    tasks: list[Item] = []
    header: list[str] = []
    first = 1
    try:
        for row in reader:
            where, first = f"line {first}", reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [cell.strip().casefold() for cell in row]
                if len(set(header)) != len(header):
                    problems.append(Problem(where, "a column stands twice"))
            elif len(row) != len(header):
                problems.append(Problem(where, f"it has {len(row)} cells where the header has {len(header)}"))
            else:
                cells = zip(header, row, strict=True)
                tasks.append(Item(where, {column: _cell(column, cell, where, problems) for column, cell in cells}))
    except csv.Error as error:
        problems.append(Problem(f"line {reader.line_num}", f"it is no CSV ({error})"))
    if problems:
        raise BadPlan(name, problems)
    return Item("line 1", {"tasks": Item("line 1", tasks)})


def from_json(document: Any, where: str = "") -> Item:
    """The tree of a JSON document that was parsed elsewhere; places are paths such as `tasks[3].lane`."""
    if isinstance(document, Mapping):
        prefix = f"{where}." if where else ""
        return Item(where, {str(name): from_json(value, f"{prefix}{name}") for name, value in document.items()})
    if isinstance(document, list | tuple):
        return Item(where, [from_json(value, f"{where}[{place}]") for place, value in enumerate(document)])
    if document is None:
        return Item(where, None)
    text = json.dumps(document) if isinstance(document, bool) else str(document)
    return Item(where, text, document)


def overlaid(root: Item, given: Mapping[str, str]) -> Item:
    """The tree with top-level fields laid over it, which are said to stand at `--<field>`; `budget_usd` replaces the
    dollars of the budget.
    """
    if not isinstance(root.value, dict):
        return root
    over = {name: Item(f"--{name.replace('_', '-')}", value, value) for name, value in given.items()}
    usd = over.pop("budget_usd", None)
    if usd is not None:
        budget = root.value.get("budget")
        parts = budget.value if budget is not None and isinstance(budget.value, dict) else {}
        over["budget"] = Item(usd.where, {**parts, "usd": usd})
    return Item(root.where, {**root.value, **over})


def _joined(found: re.Match[str]) -> str:
    high, low = found["high"], found["low"]
    if high is None:
        return found[0]
    return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)


def _require_size(text: str, name: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise BadPlan(name, [Problem("", f"it is longer than {MAX_CHARACTERS:,} characters")])


def _cell(column: str, cell: str, where: str, problems: list[Problem]) -> Item:
    text = cell.strip()
    if not text:
        return Item(where, None)
    words: Iterator[str] | list[str]
    if column in LIST_COLUMNS:
        words = (word for word in re.split(r"[;\s]+", text) if word)
    elif column in COMMAND_COLUMNS:
        try:
            words = shlex.split(text)
        except ValueError as error:
            problems.append(Problem(where, f"command cannot be split into words ({error})"))
            return Item(where, None)
    else:
        return Item(where, text, text)
    return Item(where, [Item(where, word, word) for word in words])


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    told = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(f"line {mark.line + 1}" if mark else "", f"it is no YAML ({told})")


@dataclass(slots=True)
class _Frame:
    """A list or a mapping that is not closed yet; `key` is the key whose value comes next."""

    item: Item
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Makes the tree of events; what is not admitted ends it or is noted."""

    name: str
    root: Item | None = None
    problems: list[Problem] = field(default_factory=list)
    _open: list[_Frame] = field(default_factory=list)
    _items: int = 0

    def take(self, event: Any) -> None:
        """Take the next event of the parser."""
        where = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadPlan(self.name, [Problem(where, "anchors and aliases are not admitted; write the value out")])
        if getattr(event, "tag", None):
            raise BadPlan(self.name, [Problem(where, f"the tag {event.tag[:60]} is not admitted; write a plain value")])
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise BadPlan(self.name, [Problem(where, "a second document begins; a task file holds one project")])
        if isinstance(event, yaml.ScalarEvent):
            self._put(_scalar(event, where))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(Item(where, []))
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(Item(where, {}))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._open.pop()

    def _begin(self, item: Item) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise BadPlan(self.name, [Problem(item.where, f"it is nested more than {MAX_DEPTH} deep")])
        self._put(item)
        self._open.append(_Frame(item))

    def _put(self, item: Item) -> None:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise BadPlan(self.name, [Problem(item.where, f"it holds more than {MAX_ITEMS:,} values")])
        if not self._open:
            self.root = item
            return
        frame = self._open[-1]
        holder = frame.item.value
        if isinstance(holder, list):
            holder.append(item)
        elif isinstance(holder, dict):
            self._put_into(frame, holder, item)

    def _put_into(self, frame: _Frame, holder: dict[str, Item], item: Item) -> None:
        if frame.key is None:
            if not isinstance(item.value, str):
                raise BadPlan(self.name, [Problem(item.where, "a key must be a plain word")])
            frame.key = item.value
            return
        if frame.key in holder:
            self.problems.append(Problem(item.where, f"the key {frame.key[:60]!r} stands twice"))
        holder[frame.key] = item
        frame.key = None


def _scalar(event: Any, where: str) -> Item:
    text = event.value
    if event.style:
        return Item(where, text, text)
    if text in _NULLS:
        return Item(where, None)
    if text in _FLAGS:
        return Item(where, text, _FLAGS[text])
    if _INT.fullmatch(text):
        return Item(where, text, int(text))
    if _FLOAT.fullmatch(text):
        return Item(where, text, float(text))
    return Item(where, text, text)
