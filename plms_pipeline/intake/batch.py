"""What does a reader hand to the rules?

Text, column by column, whatever the file was: CSV, Parquet and JSON lines become the same cells, so every rule exists once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plms_pipeline.intake.reasons import Rejected

BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Up to `BATCH_ROWS` rows as text under the file's own column names, stripped; an empty cell is an empty string.

    `first` is the ordinal, from 0, of the first row among the file's well-formed rows: it is what ranks are indexed by.
    `broken` are rows that could not be cut into cells; they have no ordinal.
    """

    first: int
    lines: Sequence[int]
    columns: Mapping[str, Sequence[str]]
    broken: Sequence[Rejected]

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True, slots=True)
class Cells:
    """A batch under canonical names; `origins` says which file column a field came from, `raw` holds the cells as read."""

    first: int
    lines: Sequence[int]
    fields: Mapping[str, Sequence[str]]
    origins: Mapping[str, str]
    raw: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.lines)

    def origin(self, field: str) -> str:
        """The file's name for a canonical field."""
        return self.origins.get(field, field)

    def shown(self, field: str, row: int) -> str:
        """The cell as it stands in the file, for a message."""
        cells = self.raw.get(self.origin(field)) or self.fields.get(field)
        return cells[row] if cells else ""
