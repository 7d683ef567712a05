"""How do the columns of somebody else's file become ours?

A source is data: which column feeds which canonical field, in which unit, with which conversion. The obvious version, one
function per source, lets each forget another rule; here a source cannot even express one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from plms_pipeline.errors import BadInput
from plms_pipeline.intake.batch import Cells, RawBatch
from plms_pipeline.intake.canonical import BY_NAME

Unit: TypeAlias = Literal["canonical", "iso_utc", "epoch_ms", "epoch_ns"]
Flat: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Take:
    """Where a field comes from: the first non-empty of `columns`, in `unit`, after `convert` (text to text).

    `iso_utc` reads a moment without a zone as UTC; `epoch_ms` and `epoch_ns` are integers since 1970-01-01T00:00Z.
    """

    columns: tuple[str, ...]
    unit: Unit = "canonical"
    convert: Callable[[str], str] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of file. `key` names the fields whose texts make the natural key.

    With `keeps_run_id` the file's own run id is the registry's; otherwise it is the uuid5 of (name, natural key), so that
    two sources can never claim each other's runs.
    """

    name: str
    describes: str
    takes: Mapping[str, Take]
    key: tuple[str, ...]
    keeps_run_id: bool = False
    constants: Mapping[str, str] = field(default_factory=dict)
    # Columns of the source that are known and not read: a person need not be told.
    unread: tuple[str, ...] = ()
    # JSON lines only: one parsed line → the flat rows in it (none when the line holds nothing of ours).
    expand: Callable[[Flat], list[Flat]] | None = None
    # What one such line must be, for whoever has given something else.
    line: str = "one object with the columns as names"

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the source can read, required first."""
        ordered = sorted(self.takes.values(), key=lambda take: not take.required)
        return tuple(dict.fromkeys(column for take in ordered for column in take.columns))

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which a file is refused (alternatives joined by "or")."""
        return tuple(dict.fromkeys(" or ".join(take.columns) for take in self.takes.values() if take.required))


@dataclass(frozen=True, slots=True)
class Plan:
    """A source fitted to one file: only columns that the file has."""

    source: Source
    takes: Mapping[str, Take]
    constants: Mapping[str, str]
    ignored: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The file's columns that are read."""
        return tuple(dict.fromkeys(column for take in self.takes.values() for column in take.columns))


def parse_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """`["a=b"]` → `{"a": "b"}`, as `--map column=field` and `--set field=value` give them.

    Raises:
        BadInput: a pair without `=`, with an empty side, or with a left side given twice.
    """
    parsed: dict[str, str] = {}
    for pair in pairs:
        left, equals, right = (part.strip() for part in pair.partition("="))
        if not (equals and left and right):
            raise BadInput(f"{option} {pair!r} is not of the form LEFT=RIGHT; for example {option} lane=4200.")
        if left in parsed:
            raise BadInput(f"{option} names {left!r} twice; give each left side once.")
        parsed[left] = right
    return parsed


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}."


def _renamed(source: Source, columns: Sequence[str], renames: Mapping[str, str]) -> dict[str, Take]:
    """The source's takes after `--map`: a target is a column that the source reads, or a canonical field."""
    takes = dict(source.takes)
    known = tuple(dict.fromkeys((*source.columns, *BY_NAME)))
    for column, target in renames.items():
        if column not in columns:
            raise BadInput(f"--map {column}={target}: the file has no column {column!r}; {_near(column, columns)}")
        if target not in known:
            raise BadInput(f"--map {column}={target}: there is no field {target!r}; {_near(target, known)}")
        if target in source.columns:
            for name, take in takes.items():
                swapped = tuple(column if old == target else old for old in take.columns)
                takes[name] = replace(take, columns=swapped)
        else:
            takes[target] = Take((column,))
    return takes


def _refuse_doubles(source: Source, renames: Mapping[str, str], constants: Mapping[str, str]) -> None:
    """One field, one origin: of two that are given the second would win without a word.

    Two columns of a source may feed one field, the first filled one wins: these can both be renamed.
    """
    fed = {
        target: [name for name, take in source.takes.items() if target in take.columns] or [target]
        for target in renames.values()
    }
    origins = list(renames.items())
    for place, (column, target) in enumerate(origins):
        for other, its in origins[:place]:
            shared = set(fed[target]) & set(fed[its])
            if target == its or (shared and not {target, its} <= set(source.columns)):
                raise BadInput(
                    f"--map {other}={its} and --map {column}={target} both give {sorted(shared)[0]!r}; leave one out."
                )
        if all(name in constants for name in fed[target]):
            raise BadInput(
                f"--map {column}={target} and --set {fed[target][0]}=… both give {fed[target][0]!r}; leave one out."
            )


def fit(
    source: Source, columns: Sequence[str], *, renames: Mapping[str, str], constants: Mapping[str, str], thing: str
) -> Plan:
    """Fit a source to the columns of one file.

    Args:
        columns: what the file offers.
        renames: `--map`, file column → column of the source or canonical field.
        constants: `--set`, canonical field → text for every row.
        thing: the file's name, for the error.

    Raises:
        BadInput: a required column is missing, or an option names what does not exist.
    """
    for name in constants:
        if name not in BY_NAME:
            raise BadInput(f"--set {name}=…: there is no field {name!r}; {_near(name, tuple(BY_NAME))}")
    _refuse_doubles(source, renames, constants)
    takes = {name: take for name, take in _renamed(source, columns, renames).items() if name not in constants}
    given = {**source.constants, **constants}
    present: dict[str, Take] = {}
    missing: list[str] = []
    for name, take in takes.items():
        here = tuple(column for column in take.columns if column in columns)
        if here:
            present[name] = replace(take, columns=here)
        elif name in given:
            continue
        elif take.required:
            missing.append(" or ".join(take.columns))
    if missing:
        raise BadInput(missing_columns(source, columns, missing, thing), code="missing_columns")
    used = {column for take in present.values() for column in take.columns}.union(source.unread)
    return Plan(source, present, given, tuple(column for column in columns if column and column not in used))


def missing_columns(source: Source, columns: Sequence[str], missing: Sequence[str], thing: str) -> str:
    """The one sentence that a person with a wrong file needs: what was expected, what is missing, what was found."""
    found = ", ".join(column[:40] for column in columns[:20] if column.isprintable()) or "none"
    more = " …" if len(columns) > 20 else ""
    wanted = list(dict.fromkeys(missing))
    what = f"column {wanted[0]} is" if len(wanted) == 1 else f"columns {', '.join(wanted)} are"
    return (
        f"{thing} is not a {source.describes}: {what} missing. Expected columns: {', '.join(source.required)}"
        f"; found: {found}{more}. Rename a column with --map column=field, or give one value for all rows with "
        "--set field=value."
    )


def to_cells(plan: Plan, raw: RawBatch) -> Cells:
    """A raw batch under canonical names; conversions applied once per distinct cell."""
    fields: dict[str, Sequence[str]] = {}
    origins: dict[str, str] = {}
    for name, take in plan.takes.items():
        cells = raw.columns[take.columns[0]]
        for other in take.columns[1:]:
            cells = [first or second for first, second in zip(cells, raw.columns[other], strict=True)]
        if take.convert is not None:
            converted = {cell: take.convert(cell) for cell in set(cells)}
            cells = [converted[cell] for cell in cells]
        fields[name] = cells
        origins[name] = take.columns[0]
    for name, value in plan.constants.items():
        if name not in fields:
            fields[name] = [value] * len(raw)
    return Cells(raw.first, raw.lines, fields, origins, raw.columns)
