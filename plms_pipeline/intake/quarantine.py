"""How is a refused row written down so that people can open the list safely?

The list is opened in spreadsheets, and its values come from whoever wrote the file: a cell that begins like a formula is
escaped (https://owasp.org/www-community/attacks/CSV_Injection), control characters and undecodable bytes are spelt out, long
values are cut. The text depends on the refusals alone, so importing the same file again gives the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Final, Protocol

from plms_pipeline.intake.parsing import number_of
from plms_pipeline.intake.reasons import Rejected

HEADER: Final = ("file", "line", "column", "value", "reason", "rule")
VALUE_CHARACTERS: Final = 120
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "|", "%")


class Sink(Protocol):
    """Where text goes."""

    def write(self, text: str, /) -> object:
        """Append text."""
        ...


def safe(cell: str) -> str:
    """A cell as one harmless line: escaped control characters, cut, and with an apostrophe before what looks like a formula."""
    shown = cell[:VALUE_CHARACTERS]
    if not (shown.isascii() and shown.isprintable()):
        spelt = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
        shown = "".join(spelt)
    if len(cell) > VALUE_CHARACTERS:
        shown += f"… ({len(cell)} characters)"
    # A plain negative number is the commonest refused value and no formula.
    if shown.startswith(_FORMULA) and isinstance(number_of(cell), tuple):
        return "'" + shown
    return shown


def write_header(sink: Sink) -> None:
    """The header line of a quarantine list."""
    csv.writer(sink, lineterminator="\n").writerow(HEADER)


def write_rows(sink: Sink, thing: str, rejected: Iterable[Rejected]) -> None:
    """One line per refused row."""
    writer = csv.writer(sink, lineterminator="\n")
    for row in rejected:
        cells = (thing, str(row.line), row.column, row.value, row.reason.value, row.text)
        writer.writerow([cells[1] if i == 1 else safe(cell) for i, cell in enumerate(cells)])
