"""Which rules are there, and is the file that says so to be trusted?

Rules are data (`rules.yaml`): input, comparison, threshold, the calmer one at which it is over again (hysteresis), how long
it must hold before it counts and before it is over, severity and route. The file is refused as a whole with the line of the
first mistake: a rule that is skipped because its threshold was misspelt is found out by the night that it should have
ended.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from plms_pipeline.alerts.inputs import INPUTS, Input
from plms_pipeline.alerts.spans import span_of
from plms_pipeline.errors import BadInput

Severity = Literal["P0", "P1", "P2", "P3"]
SEVERITIES: Final[tuple[Severity, ...]] = ("P0", "P1", "P2", "P3")
Compare = Literal[">", ">=", "<", "<="]
Lines = Mapping[tuple[str | int, ...], int]
Span = Annotated[timedelta, BeforeValidator(span_of)]
NAME: Final = r"^[a-z][a-z0-9_]{1,62}$"
# A channel of oncall.yaml, or one and who is meant there: `mail:owner`.
TARGET: Final = r"^[a-z][a-z0-9_-]{0,62}(:[a-z0-9][a-z0-9_-]{0,62})?$"
Target = Annotated[str, Field(pattern=TARGET)]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        # To Python `true` is 1, and a rule about 100 % was not meant.
        raise ValueError("write a number, not true or false")  # noqa: TRY004 - pydantic tells of a ValueError only
    return value


Number = Annotated[float, Field(strict=False), BeforeValidator(_no_flag), AfterValidator(_finite)]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `clear` None: it is over as soon as it does not hold any more."""

    name: str
    title: str
    input: Input
    compare: Compare
    threshold: float
    clear: float | None
    for_span: timedelta
    hold: timedelta
    severity: Severity
    route: tuple[str, ...]
    is_grouped: bool = True
    is_enabled: bool = True

    def is_over(self, value: float) -> bool:
        """Whether a value crosses the threshold."""
        if self.compare == ">":
            return value > self.threshold
        if self.compare == ">=":
            return value >= self.threshold
        return value < self.threshold if self.compare == "<" else value <= self.threshold

    def is_clear(self, value: float) -> bool:
        """Whether a value lies on the calm side, beyond the hysteresis."""
        if self.clear is None:
            return not self.is_over(value)
        return value <= self.clear if self.compare.startswith(">") else value >= self.clear

    @property
    def condition(self) -> str:
        """What it says, for people."""
        return f"{self.input.name} {self.compare} {self.input.shown(self.threshold)}"


class _Form(BaseModel):
    """A rule as it stands in the file."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=3, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
    input: str
    compare: Compare
    threshold: Number
    clear: Number | None = None
    for_span: Span = Field(timedelta(0), alias="for")
    hold: Span = timedelta(0)
    severity: Severity
    route: list[Target] = Field(min_length=1, max_length=10)
    group_by: Literal["rule", "subject"] = "rule"
    enabled: bool = Field(True, strict=True)

    @model_validator(mode="after")
    def _makes_sense(self) -> _Form:
        if self.input not in INPUTS:
            raise ValueError(f"input {self.input!r} is none; there are {', '.join(INPUTS)}")
        low, high = INPUTS[self.input].bounds()
        for name in ("threshold", "clear"):
            value = getattr(self, name)
            if value is not None and not (low if name == "threshold" else 0) <= value <= high:
                unit = INPUTS[self.input].unit
                percent = "; write 20 % as 0.2" if unit == "ratio" else ""
                raise ValueError(
                    f"{name} {value:g} cannot be reached by {self.input} ({unit}: {low:g} to {high:g}){percent}"
                )
        if self.clear is not None:
            is_calmer = self.clear <= self.threshold if self.compare.startswith(">") else self.clear >= self.threshold
            if not is_calmer:
                side = "below" if self.compare.startswith(">") else "above"
                raise ValueError(
                    f"clear {self.clear:g} must lie {side} the threshold {self.threshold:g}: it is where the alert is over"
                )
        return self


def parse_rules(document: Any, lines: Lines, where: str) -> dict[str, Rule]:
    """The rules of a document, by name.

    Args:
        document: what the file says: a mapping `rules` of name to rule.
        lines: line number of each place.
        where: the file, for errors.

    Raises:
        BadInput: the first mistake, with its line (`bad_rules`).
    """
    if not isinstance(document, dict) or set(document) != {"rules"} or not isinstance(document["rules"], dict):
        raise BadInput(f"{where} must hold `rules:`, a mapping of names to rules, and nothing else.", code="bad_rules")
    found = {}
    for name, form in document["rules"].items():
        place: tuple[str | int, ...] = ("rules", name)
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise problem(
                where, lines, place, f"{name!r} is no name of a rule; use 2 to 63 of a-z, 0-9 and _, a letter first"
            )
        try:
            found[name] = _rule(name, _Form.model_validate(form))
        except ValidationError as error:
            raise first_problem(error, where, lines, place) from None
    return found


def _rule(name: str, form: _Form) -> Rule:
    return Rule(
        name, form.title, INPUTS[form.input], form.compare, form.threshold, form.clear, form.for_span, form.hold,
        form.severity, tuple(form.route), is_grouped=form.group_by == "rule", is_enabled=form.enabled,
    )  # fmt: skip


def first_problem(error: ValidationError, where: str, lines: Lines, place: tuple[str | int, ...]) -> BadInput:
    """The first of what pydantic found, in the words of a person who has the file open."""
    # A name that is misspelt is also one that is missing: what stands there is told first.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    inner = tuple(part for part in first["loc"] if isinstance(part, str | int))
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        said = "there is no such key; remove it or correct its name"
    elif first["type"] == "missing":
        said = "is missing; add it"
    elif first["type"] == "model_type":
        said = "must be a mapping of names to values; write each as `name: value` below it"
    named = ".".join(map(str, (*place, *inner))) or "the file"
    return problem(where, lines, (*place, *inner), f"{named}: {said}")


def problem(where: str, lines: Lines, place: tuple[str | int, ...], said: str) -> BadInput:
    """A mistake at a place of a file."""
    while place and place not in lines:
        place = place[:-1]
    line = f", line {lines[place]}" if place in lines else ""
    return BadInput(f"{where}{line}: {said}.", code="bad_rules")
