"""What is a report made of, whatever it is shown as?

Sections of tables, sentences and charts. They are composed once, as plain text and numbers, so that the page and the Markdown
file cannot say different things; only the renderers know how to draw, and only they escape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from plms_pipeline.models.evaluation.returns import Floats

Tone = Literal["", "good", "bad", "warn"]
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, and whether it is good or bad news (which is said in words, too)."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; `texts` are the columns that hold words, which are set to the left."""

    label: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that stands by itself."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """What is to be drawn.

    Attributes:
        name: stem of its file.
        alt: what it shows, for who cannot see it.
        moments: (n,) of the periods, as text in the order of time.
        values: (n,) simple returns.
        benchmark: (n,) those of the benchmark, if there is one.
        kind: how it is drawn. `pit`: values are shares of outcomes by their place in the forecast, benchmark those of the
            priors, and there are no moments.
    """

    name: str
    title: str
    alt: str
    moments: tuple[str, ...]
    values: Floats
    benchmark: Floats | None = None
    kind: Literal["equity_curve", "return_distribution", "pit"] = "equity_curve"


Block: TypeAlias = Table | Note | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what it means, and what stands under it."""

    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is read about an evaluation."""

    title: str
    description: str
    verdict: Note
    sections: tuple[Section, ...]

    def charts(self) -> tuple[Chart, ...]:
        """What is drawn, in the order of the sections."""
        return tuple(block for section in self.sections for block in section.blocks if isinstance(block, Chart))


def table(
    label: str, headings: Sequence[str], rows: Iterable[Sequence[str | Cell]], *, texts: Iterable[int] = (0,)
) -> Table:
    """A table of texts and cells."""
    made = tuple(tuple(one if isinstance(one, Cell) else Cell(one) for one in row) for row in rows)
    return Table(label, tuple(headings), made, frozenset(texts))


def number(value: float | None) -> str:
    """A figure with six decimals, a small one with nine; what is smaller or very large by its digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if value == 0 or 1e-3 <= size < 1e9:
        return f"{value:,.6f}"
    return f"{value:.9f}" if 1e-7 <= size < 1e-3 else f"{value:.6g}"


def short(value: float | None) -> str:
    """A figure with five digits, a whole one with all of them: for limits and what is compared with them."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.5g}"


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as percent."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:,.{digits}%}"


def named(key: str) -> str:
    """The name of a figure for people: `sharpe_per_period` → Sharpe Per Period."""
    return key.replace("_", " ").strip().title()
