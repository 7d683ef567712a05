"""What is a series, and what was read of it?

Every series is declared once (`catalogue/`): its name, type, labels with their closed lists of values, and what it says. What
was read is put into `Samples`, which refuses a name, a label or a word that was not declared: a label that somebody's text
could get into would make a series for each text. What is declared and was not seen is zero, so that the first error is seen by
`rate()`; what cannot be known is absent, because zero would be an answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final, Literal

Kind = Literal["gauge", "counter", "histogram"]
# Where a series is read: one reading each, with a time limit of its own.
Part = Literal["registry", "dagster", "redis", "disk", "nights", "exporter", "api", "ui", "model"]
PARTS: Final[tuple[Part, ...]] = ("registry", "dagster", "redis", "disk", "nights")


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the words that it may hold; no words: they come from the books or the code (`lane`, `sensor`)."""

    name: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One metric.

    Attributes:
        name: as it is exposed, with its unit and, for a counter, `_total`.
        says: the help text.
        source: who asked for it: a guide, a specification, or `ours`.
        edges: upper ends of a histogram's buckets, without the infinite one.
        absent: when there is no series at all; empty: it is there whenever its part was read, with zero where nothing was seen.
    """

    name: str
    kind: Kind
    part: Part
    says: str
    source: str = "ours"
    labels: tuple[Label, ...] = ()
    edges: tuple[float, ...] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """What a histogram saw: how many fell into each bucket (not added up; the last is the infinite one), and their sum."""

    counts: tuple[int, ...]
    total: float


Value = float | Spread
Cells = dict[tuple[str, ...], Value]


def spread_of(values: Iterable[float], edges: tuple[float, ...]) -> Spread:
    """The histogram of some values; an edge belongs to the bucket below it."""
    counts, total = [0] * (len(edges) + 1), 0.0
    for value in values:
        counts[bisect_left(edges, value)] += 1
        total += value
    return Spread(tuple(counts), total)


@dataclass(slots=True)
class Samples:
    """What was read, by series and label values.

    Args:
        declared: every series by name.
    """

    declared: Mapping[str, Series]
    cells: dict[str, Cells] = field(default_factory=dict)

    def put(self, name: str, value: Value, *labels: str) -> None:
        """Say a value.

        Raises:
            ValueError: no such series, or not with these labels.
        """
        series = self.declared.get(name)
        if series is None or len(labels) != len(series.labels):
            raise ValueError(f"{name}{labels} is not declared.")
        for label, word in zip(series.labels, labels, strict=True):
            if label.words and word not in label.words:
                raise ValueError(f"{name}: {word!r} is no value of {label.name}.")
        self.cells.setdefault(name, {})[labels] = value

    def put_all(self, values: Mapping[str, float]) -> None:
        """Say values of series without labels."""
        for name, value in values.items():
            self.put(name, value)

    def put_by(self, name: str, values: Mapping[str, float], *first: str) -> None:
        """Say values by the word of the last label."""
        for word, value in values.items():
            self.put(name, value, *first, word)

    def fill(self, part: Part, words: Mapping[str, Iterable[str]]) -> None:
        """Zero for whatever is declared of a part and was not seen.

        Args:
            words: of the labels that have no closed list (`lane` → the lanes that there are); a series with another such
                label is left as it is.
        """
        known = {name: tuple(values) for name, values in words.items()}
        for series in self.declared.values():
            if series.part != part or series.absent:
                continue
            domains = [label.words or known.get(label.name) for label in series.labels]
            if any(domain is None for domain in domains):
                continue
            cells = self.cells.setdefault(series.name, {})
            zero: Value = 0.0 if series.kind != "histogram" else Spread((0,) * (len(series.edges) + 1), 0.0)
            for labels in product(*(domain or () for domain in domains)):
                cells.setdefault(labels, zero)

    def count(self) -> int:
        """How many lines with a value these are on a page."""
        total = 0
        for cells in self.cells.values():
            for value in cells.values():
                total += len(value.counts) + 2 if isinstance(value, Spread) else 1
        return total


def merged(declared: Mapping[str, Series], found: Iterable[Samples]) -> Samples:
    """Samples of several parts as one; each part says its own series."""
    together = Samples(declared)
    for samples in found:
        together.cells.update(samples.cells)
    return together
