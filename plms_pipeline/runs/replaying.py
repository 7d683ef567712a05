"""Would a replay repeat its original, and did it?

Before: the passport must be intact, and plan and providers must still be what it says; each difference is named, because "the
hashes differ" helps nobody. Code, interpreter and gates may have moved on: that is told and does not refuse. After: the files
that both runs produced are compared by digest. The sources' replay script trusted the passport as it lay there, checked
nothing afterwards, and would have started under the original's run id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from plms_pipeline.runs.passport import PassportWorld, PlannedTask, matrix_of, task_entry

_TOLD: Final = ("git_commit", "python_version", "os")
# Longer lists of files are cut in the document.
_MOST_NAMED: Final = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not what the passport says; `refuses`: a replay would work on other inputs."""

    what: str
    then: str | None
    now: str | None
    refuses: bool

    def __str__(self) -> str:
        return f"{self.what}: {self.then or 'nothing'} then, {self.now or 'nothing'} now"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The files of a replay against those of its original, as paths below the run's outputs."""

    run_id: str
    parent_run_id: str
    same: tuple[str, ...]
    different: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether both produced the same files, byte for byte."""
        return not (self.different or self.missing or self.extra)

    @property
    def has_outputs(self) -> bool:
        """Whether there was anything to compare."""
        return bool(self.same or self.different or self.missing or self.extra)

    def as_json(self) -> dict[str, Any]:
        """The comparison as a document; long lists are cut, their true lengths are told."""
        lists = {name: list(paths)[:_MOST_NAMED] for name, paths in asdict(self).items() if not isinstance(paths, str)}
        counts = {f"n_{name}": len(getattr(self, name)) for name in lists}
        return {
            "run_id": self.run_id, "parent_run_id": self.parent_run_id, "is_identical": self.is_identical, **counts, **lists,
        }  # fmt: skip


def differences(
    passport: Mapping[str, Any], plan: Sequence[PlannedTask], world: PassportWorld, policies: Mapping[str, str]
) -> list[Difference]:
    """Everything that is not as the passport says, what refuses first.

    Args:
        passport: the original's document.
        plan: the tasks that the replay would hold, as they are planned now.
        world: code, interpreter and providers now.
        policies: the rules now.
    """
    found = _plan_differences(passport, plan)
    then_matrix: Mapping[str, Any] = passport.get("provider_matrix") or {}
    now_matrix = matrix_of(plan, world.providers)
    found += [
        Difference(f"provider {name}", then_matrix.get(name), now_matrix.get(name), refuses=True)
        for name in sorted({*then_matrix, *now_matrix})
        if then_matrix.get(name) != now_matrix.get(name)
    ]
    env: Mapping[str, Any] = passport.get("env") or {}
    found += [
        Difference(f"env.{name}", env.get(name), getattr(world, name), refuses=False)
        for name in _TOLD
        if env.get(name) != getattr(world, name)
    ]
    then_policies: Mapping[str, Any] = passport.get("policies") or {}
    found += [
        Difference(f"policy {name}", _short(then_policies.get(name)), _short(policies.get(name)), refuses=False)
        for name in sorted({*then_policies, *policies})
        if then_policies.get(name) != policies.get(name)
    ]
    return found


def _plan_differences(passport: Mapping[str, Any], plan: Sequence[PlannedTask]) -> list[Difference]:
    then = {entry["task_id"]: entry for entry in passport.get("plan") or ()}
    now = {task.task_id: task_entry(task) for task in plan}
    found = []
    for name in sorted({*then, *now}):
        if name not in now or name not in then:
            there, here = ("planned", None) if name in then else (None, "planned")
            found.append(Difference(f"task {name}", there, here, refuses=True))
            continue
        for field in sorted({*then[name], *now[name]}):
            old, new = then[name].get(field), now[name].get(field)
            if old != new:
                found.append(Difference(f"task {name}, {field}", _short(old), _short(new), refuses=True))
    return found


def _short(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def compare(
    run_id: str, parent_run_id: str, mine: Mapping[str, str | None], theirs: Mapping[str, str | None]
) -> Comparison:
    """Compare the files of a replay with those of its original; path → SHA-256. An unknown digest equals nothing."""
    both = mine.keys() & theirs.keys()
    same = {path for path in both if mine[path] is not None and mine[path] == theirs[path]}
    return Comparison(
        run_id,
        parent_run_id,
        same=tuple(sorted(same)),
        different=tuple(sorted(both - same)),
        missing=tuple(sorted(theirs.keys() - mine.keys())),
        extra=tuple(sorted(mine.keys() - theirs.keys())),
    )


def below_outputs(path: str, run_id: str) -> str:
    """An artifact's path without the part that names its run, so that two runs can be compared."""
    return path.removeprefix(f"runs/{run_id}/outputs/")
