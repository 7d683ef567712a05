"""How is a text file cut into lines and records without trusting it?

A hostile file is one line of gigabytes, or one open quote that swallows everything behind it. Lines are bounded; a record may
span few lines; and when the quotes of a record do not work out, only its first line is refused and the swallowed ones
are read again, each for itself.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Final, NamedTuple

# The longest line: room for a log row with its prompt, far below memory.
LINE_BYTES: Final = 1 << 20
RECORD_LINES: Final = 64
# csv's own limit for one cell; a line beyond LINE_BYTES is replaced by a cell that breaks it.
CELL_CHARACTERS: Final = csv.field_size_limit()


class Line(NamedTuple):
    """One physical line, from 1; undecodable bytes are lone surrogates, to be found by the rules."""

    number: int
    text: str
    is_cut: bool


class Record(NamedTuple):
    """One CSV record: `cells` is None when its quotes do not work out or, then `is_too_long`, when it passes a bound."""

    line: int
    cells: list[str] | None
    text: str
    is_too_long: bool = False


def lines(stream: IO[bytes], limit: int = LINE_BYTES) -> Iterator[Line]:
    """The lines of a stream, decoded one by one; a longer line is cut at `limit` bytes and the rest of it skipped."""
    number = 0
    while raw := stream.readline(limit + 1):
        number += 1
        is_cut = len(raw) > limit and not raw.endswith(b"\n")
        rest = raw
        while is_cut and rest and not rest.endswith(b"\n"):
            rest = stream.readline(limit)
        text = raw[:limit].decode("utf-8", "surrogateescape")
        if number == 1:
            text = text.removeprefix("\ufeff")
        yield Line(number, text, is_cut)


class _Feed(Iterator[str]):
    """Feeds lines to the CSV reader, remembers those of the present record, and takes lines back."""

    def __init__(self, source: Iterator[Line]) -> None:
        self._source = source
        self._again: deque[Line] = deque()
        self.taken: list[Line] = []

    def __next__(self) -> str:
        if len(self.taken) >= RECORD_LINES:
            raise csv.Error("a record spans too many lines")
        line = self._again.popleft() if self._again else next(self._source)
        self.taken.append(line)
        return "x" * (CELL_CHARACTERS + 1) if line.is_cut else line.text

    def refuse_first(self) -> Line:
        """Give back all lines of the record but the first."""
        first = self.taken[0]
        self._again.extendleft(reversed(self.taken[1:]))
        return first


def records(source: Iterator[Line], may_span: Callable[[list[str]], bool] = lambda _: True) -> Iterator[Record]:
    """The CSV records of a file; blank lines are none.

    Args:
        may_span: whether a record that spans lines is believed; one that is not is refused, and its further lines are
            read again.
    """
    feed = _Feed(source)
    reader = csv.reader(feed, strict=True)
    while True:
        feed.taken.clear()
        try:
            cells: list[str] | None = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = None
        if cells is None or (len(feed.taken) > 1 and not may_span(cells)):
            first = feed.refuse_first()
            yield Record(first.number, None, first.text, _is_too_long(first))
            reader = csv.reader(feed, strict=True)
        elif cells:
            yield Record(feed.taken[0].number, cells, feed.taken[0].text)


def _is_too_long(line: Line) -> bool:
    """Whether a refused line passes a bound by itself, with all its quotes in order."""
    if line.is_cut:
        return True
    try:
        next(csv.reader([line.text], strict=True), None)
    except csv.Error as error:
        return "field limit" in str(error)
    return False
