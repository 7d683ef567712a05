"""Is this field what it should be? Typed reading of one mapping of a task file, noting every problem instead of stopping."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from plms_pipeline.registry.types import to_usd
from plms_pipeline.runs.plan_document import SHOWN, Item, Problem


@dataclass(slots=True)
class Findings:
    """The problems found so far."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, where: str, message: str) -> None:
        """Note one problem."""
        self.problems.append(Problem(where, message))

    def near(self, word: str, known: Iterable[str]) -> str | None:
        """The known word that was probably meant. Looked for while the problem is one that will be shown: for each of ten
        thousand misspelt words among ten thousand others it would take hours.
        """
        if len(self.problems) >= SHOWN:
            return None
        found = difflib.get_close_matches(word[:128], known, n=1)
        return found[0] if found else None


class Reader:
    """Reads the fields of one mapping; unknown fields are noted at once.

    Args:
        item: the mapping.
        what: what it is, for messages (`a task`).
        known: the fields that it may have.
    """

    def __init__(self, item: Item, what: str, known: Sequence[str], findings: Findings) -> None:
        self._item = item
        self._findings = findings
        self._fields: dict[str, Item] = {}
        if not isinstance(item.value, dict):
            findings.add(item.where, f"{what} must be a mapping with the fields {', '.join(known)}")
            return
        self._fields = item.value
        for name, found in item.value.items():
            if name not in known:
                near = findings.near(name, known)
                hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
                findings.add(found.where, f"{what} has no field {name[:60]!r}; {hint}")

    def item(self, name: str) -> Item | None:
        """The field as it stands, None when it is not there."""
        return self._fields.get(name)

    def where(self, name: str) -> str:
        """Where the field stands; the mapping's place when it is not there."""
        found = self._fields.get(name)
        return found.where if found is not None else self._item.where

    def part(self, name: str, what: str, known: Sequence[str]) -> Reader | None:
        """A field that is a mapping of its own."""
        found = self._fields.get(name)
        return None if found is None or found.is_null else Reader(found, what, known, self._findings)

    def text(self, name: str, longest: int, *, required: bool = False) -> str | None:
        """Text of several lines, without blanks around it; None when it is empty or not there."""
        return self._text(name, longest, required=required, breaks=True)

    def line(self, name: str, longest: int, *, required: bool = False) -> str | None:
        """Text of one line."""
        return self._text(name, longest, required=required, breaks=False)

    def _text(self, name: str, longest: int, *, required: bool, breaks: bool) -> str | None:
        found = self._fields.get(name)
        if found is None or found.is_null:
            if required:
                self._findings.add(self.where(name), f"{name} is missing")
            return None
        if not isinstance(found.value, str):
            self._findings.add(found.where, f"{name} must be text")
            return None
        text = found.value.strip()
        if not text:
            self._findings.add(found.where, f"{name} is empty")
            return None
        return text if self._is_sound(found, name, text, longest, breaks=breaks) else None

    def _is_sound(self, found: Item, name: str, text: str, longest: int, *, breaks: bool) -> bool:
        if len(text) > longest:
            self._findings.add(found.where, f"{name} has {len(text):,} characters, more than {longest:,}")
            return False
        if any(_is_control(sign, breaks=breaks) for sign in text):
            self._findings.add(found.where, f"{name} holds control characters")
            return False
        return True

    def lines(self, name: str, most: int, longest: int) -> list[str]:
        """A list of texts of one line; a single text stands for a list of one."""
        found = self._fields.get(name)
        if found is None or found.is_null:
            return []
        items = found.value if isinstance(found.value, list) else [found]
        if len(items) > most:
            self._findings.add(found.where, f"{name} has {len(items):,} entries, more than {most:,}")
            return []
        texts = []
        for item in items:
            if not isinstance(item.value, str) or not item.value.strip():
                self._findings.add(item.where, f"{name} must be a list of texts")
            elif self._is_sound(item, name, item.value.strip(), longest, breaks=False):
                texts.append(item.value.strip())
        return texts

    def words(self, name: str, most: int, longest: int) -> tuple[str, ...] | None:
        """A program and its arguments: a list, never one text that a shell would have to split."""
        found = self._fields.get(name)
        if found is None or found.is_null:
            return None
        if not isinstance(found.value, list) or not found.value or len(found.value) > most:
            self._findings.add(found.where, f"{name} must be a list of a program and its arguments, 1 to {most:,}")
            return None
        texts = []
        for item in found.value:
            if not isinstance(item.value, str):
                self._findings.add(item.where, f"{name} must be a list of texts")
                return None
            if not self._is_sound(item, name, item.value, longest, breaks=True):
                return None
            texts.append(item.value)
        if not texts[0].strip():
            self._findings.add(found.where, f"{name} names no program")
            return None
        return tuple(texts)

    def choice(self, name: str, words: Sequence[str]) -> str | None:
        """One of some words."""
        text = self.line(name, 64)
        if text is not None and text not in words:
            self._findings.add(self.where(name), f"{name} {text!r} is none of {', '.join(words)}")
            return None
        return text

    def whole(self, name: str, lowest: int, highest: int) -> int | None:
        """A whole number within bounds."""
        text = self.line(name, 32)
        if text is None:
            return None
        digits = text.replace("_", "")
        if not (digits.isascii() and digits.isdecimal()) or not lowest <= int(digits) <= highest:
            self._findings.add(self.where(name), f"{name} {text!r} is no whole number from {lowest:,} to {highest:,}")
            return None
        return int(digits)

    def fraction(self, name: str) -> float | None:
        """A number in [0, 1]."""
        number = self._number(name)
        if number is not None and not 0 <= number <= 1:
            self._findings.add(self.where(name), f"{name} {number} is not between 0 and 1")
            return None
        return None if number is None else float(number)

    def money(self, name: str) -> Decimal | None:
        """Dollars, rounded half-even to six places."""
        number = self._number(name)
        if number is None:
            return None
        try:
            amount = to_usd(number)
        except ValueError:
            self._findings.add(self.where(name), f"{name} {number} is not an amount below 100 million dollars")
            return None
        if amount < 0:
            self._findings.add(self.where(name), f"{name} {number} is less than nothing")
            return None
        if number and not amount:
            self._findings.add(self.where(name), f"{name} {number} is less than a millionth of a dollar")
            return None
        return amount

    def _number(self, name: str) -> Decimal | None:
        text = self.line(name, 40)
        if text is None:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            self._findings.add(self.where(name), f"{name} {text!r} is no number")
            return None
        return number


def _is_control(sign: str, *, breaks: bool) -> bool:
    # Cs: half of a surrogate pair, which no database and no file can hold.
    return unicodedata.category(sign) in {"Cc", "Cs"} and not (breaks and sign in "\n\t\r")
