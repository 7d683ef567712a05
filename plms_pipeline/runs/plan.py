"""What does a project consist of, and is what somebody wrote down one?

A task file (`plan_document` reads it) becomes a typed plan, or an error that lists every problem with its line: a file that is
wrong in seven places should not take seven attempts. Names that become parts of paths, commands and formulas are checked
here, before a row exists; a task without a lane gets the one that its words suggest, or is a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.gates import Gate
from plms_pipeline.registry.tables.vocabulary import BREACH_POLICIES, COMPLEXITIES, STORE_HINTS
from plms_pipeline.runs.ids import path_safe
from plms_pipeline.runs.lanes import LaneSource, Suggest, store_of
from plms_pipeline.runs.plan_document import BadPlan, Item
from plms_pipeline.runs.plan_fields import Findings, Reader
from plms_pipeline.runs.plan_gates import combined_text, faults, formula_gates, formula_text
from plms_pipeline.runs.plan_graph import cycle, topological

MAX_TASKS: Final = 10_000
MAX_DEPENDENCIES: Final = 200
# The sources' name for the echo that a lane's work should reach.
ECHO_TERM: Final = "min_echo_cos"
PROJECT_FIELDS: Final = (
    "name", "description", "tags", "owner", "budget", "breach_policy", "min_echo_cos", "gates", "provider",
    "max_active_runs", "max_attempts", "tasks",
)  # fmt: skip
TASK_FIELDS: Final = (
    "key", "name", "description", "kind", "lane", "complexity", "provider", "depends_on", "command", "kpi_formula",
    "store_hint",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """One task. `own_formula` is what it asks of itself, `kpi_formula` that and what the project asks of its lane."""

    key: str
    name: str
    description: str | None
    kind: str | None
    lane_id: int
    lane_source: LaneSource
    lane_confidence: float | None
    complexity: str
    provider: str
    depends_on: tuple[str, ...]
    command: tuple[str, ...] | None
    own_formula: str | None
    kpi_formula: str | None
    store_hint: str | None


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """A project as planned; `tasks` in an order in which they can be done, `gates` as lane id → KPI → operator → threshold."""

    name: str
    description: str | None
    tags: tuple[str, ...]
    owner: str | None
    budget_usd: Decimal | None
    budget_tokens: int | None
    breach_policy: str
    min_echo_cos: float
    gates: Mapping[str, Any]
    max_active_runs: int
    max_attempts: int
    tasks: tuple[PlannedTask, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan is read against: every word for a lane (case-folded), the gates of each lane, and what suggests lanes."""

    lanes: Mapping[str, int]
    gates: Mapping[int, Sequence[Gate]]
    suggest: Suggest


def read_gates(root: Item, name: str, terms: Terms) -> dict[str, Any]:
    """What a project asks of lanes beyond their own gates: lane id (as text) → KPI → operator → threshold.

    Raises:
        BadPlan: an unknown lane, or gates that are looser than the lane's or cannot be judged.
    """
    findings = Findings()
    found = _lane_terms(root, terms, findings)
    if findings.problems:
        raise BadPlan(name, findings.problems)
    return {str(lane): asked.as_json() for lane, asked in sorted(found.items())}


def text_of_task(name: str, description: str | None, kind: str | None) -> str:
    """The words by which a task's lane is judged, when it is planned and when corrections are learnt alike."""
    return " ".join(part for part in (name, description, kind) if part)


def read_plan(root: Item, name: str, terms: Terms) -> ProjectPlan:
    """The plan that a tree holds.

    Args:
        name: the file, for messages.

    Raises:
        BadPlan: with every problem that was found.
    """
    findings = Findings()
    reader = Reader(root, "a project", PROJECT_FIELDS, findings)
    if not isinstance(root.value, dict):
        raise BadPlan(name, findings.problems)
    budget = reader.part("budget", "a budget", ("usd", "tokens"))
    asked = _lane_terms(reader.item("gates"), terms, findings)
    plan = ProjectPlan(
        name=reader.line("name", 200, required=True) or "",
        description=reader.text("description", 20_000),
        tags=tuple(reader.lines("tags", 50, 64)),
        owner=reader.line("owner", 255),
        budget_usd=budget.money("usd") if budget else None,
        budget_tokens=budget.whole("tokens", 0, 2**31 - 1) if budget else None,
        breach_policy=reader.choice("breach_policy", BREACH_POLICIES) or "pause",
        min_echo_cos=_or(reader.fraction("min_echo_cos"), 0.82),
        gates={str(lane): found.as_json() for lane, found in sorted(asked.items())},
        max_active_runs=reader.whole("max_active_runs", 1, 100) or 1,
        max_attempts=reader.whole("max_attempts", 1, 20) or 1,
        tasks=(),
    )
    provider = reader.line("provider", 255)
    context = _Context(terms, {lane: found.gates for lane, found in asked.items()}, provider, findings)
    tasks = _tasks(reader.item("tasks"), context)
    _require_dependencies(tasks, context)
    if not findings.problems:
        ring = cycle({task.key: task.depends_on for _, task in tasks})
        if ring:
            where = next(item.where for item, task in tasks if task.key == ring[0])
            findings.add(where, f"tasks wait for each other in a circle: {' → '.join(ring)}")
    if findings.problems:
        raise BadPlan(name, findings.problems)
    by_key = {task.key: task for _, task in tasks}
    order = topological({task.key: task.depends_on for _, task in tasks})
    return replace(plan, tasks=tuple(by_key[key] for key in order))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


@dataclass(frozen=True, slots=True)
class _Context:
    """What every task is read against."""

    terms: Terms
    gates: Mapping[int, Sequence[Gate]]
    provider: str | None
    findings: Findings
    keys: dict[str, str] = field(default_factory=dict)


def _tasks(item: Item | None, context: _Context) -> list[tuple[Item, PlannedTask]]:
    found = item.value if item is not None else None
    where = item.where if item is not None else ""
    if not isinstance(found, list) or not found:
        context.findings.add(where, "a project needs tasks: a list with at least one")
        return []
    if len(found) > MAX_TASKS:
        context.findings.add(where, f"{len(found):,} tasks are more than {MAX_TASKS:,}; split the project")
        return []
    tasks = [(one, _task(one, context)) for one in found]
    return [(one, task) for one, task in tasks if task is not None]


def _task(item: Item, context: _Context) -> PlannedTask | None:
    findings = context.findings
    before = len(findings.problems)
    reader = Reader(item, "a task", TASK_FIELDS, findings)
    if not isinstance(item.value, dict):
        return None
    key = _key(reader, item, context)
    name = reader.line("name", 200) or key
    description, kind = reader.text("description", 20_000), reader.line("kind", 64)
    lane = _lane(reader, item, text_of_task(name, description, kind), context)
    provider = reader.line("provider", 255) or context.provider
    if provider is None:
        findings.add(item.where, "provider is missing; name the model or service here or once for the project")
    command = reader.words("command", 256, 16_384)
    task = PlannedTask(
        key=key,
        name=name,
        description=description,
        kind=kind,
        lane_id=lane[0],
        lane_source=lane[1],
        lane_confidence=lane[2],
        complexity=reader.choice("complexity", COMPLEXITIES) or "moderate",
        provider=provider or "",
        depends_on=tuple(dict.fromkeys(reader.lines("depends_on", MAX_DEPENDENCIES, 128))),
        command=command,
        own_formula=None,
        kpi_formula=None,
        store_hint=reader.choice("store_hint", STORE_HINTS) or store_of(text_of_task(name, description, kind)),
    )
    own, formula = _formulas(reader.item("kpi_formula"), item, task.lane_id, context)
    return None if len(findings.problems) > before else replace(task, own_formula=own, kpi_formula=formula)


def _key(reader: Reader, item: Item, context: _Context) -> str:
    key = reader.line("key", 128, required=True)
    if key is None:
        return ""
    try:
        path_safe(key, "task key")
    except BadInput as error:
        context.findings.add(reader.where("key"), error.message)
        return key
    if key in context.keys:
        context.findings.add(reader.where("key"), f"the key {key!r} stands twice, first at {context.keys[key]}")
    context.keys.setdefault(key, reader.where("key") or item.where)
    return key


def _lane(reader: Reader, item: Item, text: str, context: _Context) -> tuple[int, LaneSource, float | None]:
    word = reader.line("lane", 64)
    lanes = context.terms.lanes
    if word is not None:
        found = lanes.get(word.casefold())
        if found is None:
            context.findings.add(reader.where("lane"), unknown_lane(word, lanes, context.findings))
        return found or 0, "given", None
    written = reader.item("lane")
    if written is not None and not written.is_null:
        return 0, "given", None
    suggestion = context.terms.suggest(text)
    if suggestion is None:
        context.findings.add(item.where, "it names no lane and its words suggest none, or two alike; say `lane:`")
        return 0, "keywords", None
    return suggestion.lane_id, suggestion.source, suggestion.confidence


def unknown_lane(word: str, lanes: Mapping[str, int], findings: Findings | None = None) -> str:
    """What to say about a word that is no lane: the numbers, and the word that was probably meant."""
    near = (findings or Findings()).near(word.casefold(), lanes)
    hint = f"; did you mean {near}?" if near else ""
    numbers = ", ".join(str(lane) for lane in sorted(set(lanes.values())))
    return f"lane {word[:60]!r} is not registered; use a number, name or alias of {numbers}{hint}"


@dataclass(frozen=True, slots=True)
class _LaneTerms:
    """What a project asks of a lane: gates that block, and the echo that is looked at but never blocks by itself."""

    gates: tuple[Gate, ...]
    min_echo_cos: float | None

    def as_json(self) -> dict[str, Any]:
        """As `projects.quality_slo_gates` keeps it."""
        found: dict[str, Any] = {gate.kpi: gate.as_json() for gate in self.gates}
        return found if self.min_echo_cos is None else {**found, ECHO_TERM: self.min_echo_cos}


def _lane_terms(item: Item | None, terms: Terms, findings: Findings) -> dict[int, _LaneTerms]:
    if item is None or item.is_null:
        return {}
    if not isinstance(item.value, dict):
        findings.add(item.where, "gates must be a mapping of lanes, each with a mapping of KPIs")
        return {}
    found: dict[int, _LaneTerms] = {}
    for word, asked in item.value.items():
        lane_id = terms.lanes.get(word.casefold())
        if lane_id is None:
            findings.add(asked.where, unknown_lane(word, terms.lanes, findings))
        elif lane_id in found:
            findings.add(asked.where, f"lane {lane_id} stands twice among the gates")
        elif not isinstance(asked.value, dict):
            findings.add(asked.where, f"the gates of lane {lane_id} must be a mapping of KPIs")
        else:
            echo = Reader(asked, "a lane's gates", tuple(asked.value), findings).fraction(ECHO_TERM)
            formula = Item(asked.where, {kpi: one for kpi, one in asked.value.items() if kpi != ECHO_TERM})
            found[lane_id] = _LaneTerms(_checked(formula, terms.gates.get(lane_id, ()), findings), echo)
    return found


def _formulas(item: Item | None, task: Item, lane_id: int, context: _Context) -> tuple[str | None, str | None]:
    """(the task's own formula, the one that is to hold) as canonical JSON."""
    project = context.gates.get(lane_id, ())
    own: tuple[Gate, ...] = ()
    if item is not None and not item.is_null:
        own = _checked(item, (*context.terms.gates.get(lane_id, ()), *project), context.findings)
    try:
        return formula_text(own), combined_text(project, own)
    except BadInput as error:
        context.findings.add(item.where if item else task.where, error.message)
        return None, None


def _checked(item: Item, lane: Iterable[Gate], findings: Findings) -> tuple[Gate, ...]:
    try:
        gates = formula_gates(item.value if isinstance(item.value, str) else item.plain())
    except BadInput as error:
        findings.add(item.where, error.message)
        return ()
    for fault in faults(gates, _merged(lane)):
        findings.add(item.where, fault)
    return gates


def _merged(gates: Iterable[Gate]) -> list[Gate]:
    conditions: dict[str, Gate] = {}
    for gate in gates:
        known = conditions.get(gate.kpi)
        conditions[gate.kpi] = gate if known is None else replace(known, conditions=known.conditions + gate.conditions)
    return list(conditions.values())


def _require_dependencies(tasks: Sequence[tuple[Item, PlannedTask]], context: _Context) -> None:
    keys, findings = context.keys, context.findings
    for item, task in tasks:
        for need in task.depends_on:
            if need == task.key:
                findings.add(item.where, f"the task {task.key!r} depends on itself")
            elif need not in keys:
                near = findings.near(need, keys)
                hint = f"; did you mean {near}?" if near else ""
                findings.add(item.where, f"depends_on names {need[:60]!r}, which is no task of this project{hint}")
