"""Does a table look as it was promised?

`schema_diff` counts columns that are missing, unexpected, or of another type. Databases have many spellings of one type
(`int4`, `INTEGER`, `integer`), so types are compared by canonical name; a length or precision is compared only when the
expectation states it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plms_pipeline.errors import BadInput

IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_SYSTEM: Final = ("pg_", "sqlite_", "information_schema")

_SAME: Final = {
    "INT": "INTEGER", "INT4": "INTEGER", "SERIAL": "INTEGER", "INT8": "BIGINT", "BIGSERIAL": "BIGINT", "INT2": "SMALLINT",
    "CHARACTER VARYING": "VARCHAR", "CHARACTER": "CHAR", "BPCHAR": "CHAR", "STRING": "TEXT", "CLOB": "TEXT",
    "DOUBLE PRECISION": "DOUBLE", "FLOAT8": "DOUBLE", "FLOAT": "DOUBLE", "FLOAT4": "REAL", "DECIMAL": "NUMERIC",
    "BOOL": "BOOLEAN", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ", "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP",
    "DATETIME": "TIMESTAMP", "BLOB": "BYTEA", "TIME WITHOUT TIME ZONE": "TIME", "TIME WITH TIME ZONE": "TIMETZ",
}  # fmt: skip
_TYPE: Final = re.compile(r"^(?P<name>[A-Z][A-Z0-9_ ]*?)\s*(?:\((?P<size>[\d,\s]+)\))?(?P<rest>(?: [A-Z ]+)?)$")


@dataclass(frozen=True, slots=True)
class TableName:
    """A validated table name, `schema` None for the database's default one."""

    schema: str | None
    table: str

    def __str__(self) -> str:
        return self.table if self.schema is None else f"{self.schema}.{self.table}"


def parse_table(name: str) -> TableName:
    """A table name `table` or `schema.table`: letters, digits, underscores; no quoting, no system tables.

    Raises:
        BadInput: anything else (`bad_table_name`).
    """
    parts = name.split(".")
    if len(parts) > 2 or not all(IDENTIFIER.fullmatch(part) for part in parts):
        raise BadInput(
            f"{name[:80]!r} is not a table name; write table or schema.table with letters, digits and underscores.",
            code="bad_table_name",
        )
    if any(part.lower().startswith(_SYSTEM) for part in parts):
        raise BadInput(f"{name!r} is a system table; name a table of the work itself.", code="bad_table_name")
    return TableName(parts[0] if len(parts) == 2 else None, parts[-1])


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A canonical type name and its length or precision (empty when unstated)."""

    name: str
    size: tuple[int, ...]

    def __str__(self) -> str:
        return self.name + (f"({', '.join(map(str, self.size))})" if self.size else "")


def canonical_type(text: str) -> ColumnType:
    """`character varying(50)` → VARCHAR(50), `int4` → INTEGER; what is not understood stays as it is, upper-cased."""
    upper = " ".join(text.upper().split())
    found = _TYPE.match(upper)
    if not found:
        return ColumnType(upper, ())
    name = f"{found['name']}{found['rest']}".strip()
    size = tuple(int(part) for part in (found["size"] or "").split(",") if part.strip())
    return ColumnType(_SAME.get(name, name), size)


@dataclass(frozen=True, slots=True)
class SchemaDiff:
    """What differs between an expected and an actual table; `count` is the KPI's value."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]

    @property
    def count(self) -> int:
        """How many columns differ."""
        return len(self.missing) + len(self.unexpected) + len(self.mismatched)

    def lines(self) -> list[str]:
        """Each difference as a sentence."""
        return [
            *(f"column {name} is missing" for name in self.missing),
            *(f"column {name} was not expected" for name in self.unexpected),
            *(f"column {name} is {actual}, expected {expected}" for name, expected, actual in self.mismatched),
        ]


def diff(expected: Mapping[str, str], actual: Mapping[str, str]) -> SchemaDiff:
    """Compare two {column: type} mappings; column names are compared exactly."""
    mismatched = []
    for name in sorted(expected.keys() & actual.keys()):
        wanted, found = canonical_type(expected[name]), canonical_type(actual[name])
        if wanted.name != found.name or (wanted.size and wanted.size != found.size):
            mismatched.append((name, str(wanted), str(found)))
    return SchemaDiff(
        missing=tuple(sorted(expected.keys() - actual.keys())),
        unexpected=tuple(sorted(actual.keys() - expected.keys())),
        mismatched=tuple(mismatched),
    )
