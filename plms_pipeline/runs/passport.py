"""What must be written down so that a run can be repeated?

The passport: which version of which provider works on it, what the executor could do, which plan it was (a digest over every
task, with lanes, dependencies and inputs), under which rules, on which code. It is canonical JSON with a digest, made before
the first card leaves and stored in the transaction of the start. The prototype submitted first, kept one file per project
(each run overwrote the last one's), wrote it nowhere, and shortened the digest of the plan to 16 digits.

A passport holds no secret: commands and payloads enter it as digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from plms_pipeline.registry.types import canonical_json

_MATRIX: Final = "provider_matrix."
# So many names fit into a sentence that somebody reads.
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class PassportWorld:
    """What a start must know about the world, gathered before its transaction opens.

    `providers` (provider → version) and `capabilities` are None when the executor could not be asked; the start then falls
    back on what the executor stated last.
    """

    git_commit: str | None
    python_version: str | None
    os: str | None
    providers: Mapping[str, str] | None = None
    capabilities: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """One task of a project's plan, as a start finds it."""

    task_id: str
    name: str
    description: str | None
    lane_id: int
    provider: str
    task_kind: str | None
    complexity: str | None
    depends_on: tuple[str, ...]
    command: tuple[str, ...] | None
    payload: Mapping[str, Any] | None
    forecast: Mapping[str, Any] | None = None


class Plan(tuple[PlannedTask, ...]):
    """The tasks of a plan, and what follows from them and costs time to work out: at most once for each object."""

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """Each task as the passport holds it; not to be changed."""
        return [task_entry(task) for task in self]

    @cached_property
    def sha(self) -> str:
        """Its digest: the same tasks give the same one, in whatever order they are listed."""
        return sha256_of(sorted(self.entries, key=lambda entry: str(entry["task_id"])))


class Gates(tuple[tuple[int, str, str, Any, bool], ...]):
    """Gates in force: (lane, KPI, operator, threshold, blocks)."""

    @cached_property
    def sha(self) -> str:
        """Their digest."""
        return sha256_of(list(self))


@dataclass(frozen=True, slots=True)
class Passport:
    """A finished passport: the document, its canonical text and digest, and which of the required fields it lacks."""

    document: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)
    sha256: str
    missing: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every field that the rules demand is there."""
        return not self.missing


def sha256_of(value: Any) -> str:
    """The SHA-256 of a JSON value in canonical form: equal values, equal digest, whatever the order of keys."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def task_entry(task: PlannedTask) -> dict[str, Any]:
    """A task as the plan and the passport hold it. Inputs are digests: a command line may hold what nobody should keep."""
    return {
        "task_id": task.task_id,
        "name": task.name,
        "description_sha256": None if task.description is None else sha256_of(task.description),
        "lane": task.lane_id,
        "provider": task.provider,
        "task_kind": task.task_kind,
        "complexity": task.complexity,
        "depends_on": sorted(task.depends_on),
        "inputs_sha256": sha256_of(
            {"command": None if task.command is None else list(task.command), "payload": task.payload}
        ),
    }


def prd_sha(plan: Iterable[PlannedTask]) -> str:
    """The digest of a plan: the same tasks give the same digest, in whatever order they are listed."""
    return (plan if isinstance(plan, Plan) else Plan(plan)).sha


def matrix_of(plan: Iterable[PlannedTask], versions: Mapping[str, str] | None) -> dict[str, str | None]:
    """Provider → version for every provider of a plan; None for one whose version nobody stated."""
    stated = versions or {}
    return {provider: stated.get(provider) or None for provider in sorted({task.provider for task in plan})}


def issue(
    *,
    project_id: int,
    run_id: str,
    run_kind: str,
    write_sandbox: bool,
    plan: Sequence[PlannedTask],
    world: PassportWorld,
    policies: Mapping[str, str],
    started_at: datetime,
    parent_run_id: str | None = None,
) -> Passport:
    """Make the passport of a run.

    Args:
        plan: the tasks of this run, at least one.
        policies: version or digest of each rule set that the run is bound by, such as `gates_sha256`.
        started_at: when the start was asked for, aware.
        parent_run_id: the run that this one repeats.
    """
    known = plan if isinstance(plan, Plan) else Plan(plan)
    document: dict[str, Any] = {
        "project_id": project_id,
        "run_id": run_id,
        "run_kind": run_kind,
        "write_sandbox": write_sandbox,
        "parent_run_id": parent_run_id,
        "provider_matrix": matrix_of(plan, world.providers),
        "capabilities": None if world.capabilities is None else {"capabilities": sorted(world.capabilities)},
        "prd_sha": known.sha if plan else None,
        "env": {"git_commit": world.git_commit, "python_version": world.python_version, "os": world.os},
        "plan": known.entries,
        "policies": dict(policies),
        "started_at": started_at.isoformat(),
    }
    text = canonical_json(document)
    return Passport(document, text, hashlib.sha256(text.encode()).hexdigest(), missing_from(document))


def missing_from(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The required fields that a passport lacks, by name; a provider without version is named as `provider_matrix.<name>`.

    Required are (operations guide): provider_matrix, capabilities, prd_sha, env.git_commit, env.python_version.
    """
    lacks = []
    matrix = document.get("provider_matrix")
    if not isinstance(matrix, Mapping) or not matrix:
        lacks.append("provider_matrix")
    else:
        lacks += [f"{_MATRIX}{provider}" for provider, version in matrix.items() if not version]
    if not isinstance(document.get("capabilities"), Mapping):
        lacks.append("capabilities")
    if not document.get("prd_sha"):
        lacks.append("prd_sha")
    env = document.get("env")
    known: Mapping[str, Any] = env if isinstance(env, Mapping) else {}
    return (*lacks, *(f"env.{name}" for name in ("git_commit", "python_version") if not known.get(name)))


def why_incomplete(missing: Sequence[str], providers: Mapping[str, str] | None) -> str:
    """What a passport lacks, and what to do about each part of it.

    Args:
        missing: as `missing_from` names it, not empty.
        providers: the versions that the executor stated; None: it was never heard.
    """
    lacking = [name.removeprefix(_MATRIX) for name in missing if name.startswith(_MATRIX)]
    remedies = []
    if providers is None:
        remedies.append("the executor was never heard: start it (`plms pas health` asks it)")
    elif lacking:
        served = ", ".join(sorted(providers)[:_SHOWN]) or "none"
        remedies.append(
            f"the executor serves no {', '.join(lacking[:_SHOWN])}{' …' if len(lacking) > _SHOWN else ''} (it serves {served}"
            f"{' …' if len(providers) > _SHOWN else ''}): give it that provider, or plan those tasks with one that it serves"
        )
    elif "capabilities" in missing:
        remedies.append("the executor states no capabilities (`plms pas health` asks it)")
    if "env.git_commit" in missing:
        remedies.append("nobody knows the code's commit: run from a git checkout or set PLMS_GIT_COMMIT")
    told = f"{', '.join(missing[:_SHOWN])}{' …' if len(missing) > _SHOWN else ''}"
    return "; ".join([f"The run's passport would lack {told}, so it could never be repeated", *remedies]) + "."


def mismatch_of(matrix: Mapping[str, str | None], providers: Mapping[str, str]) -> str | None:
    """How the providers that really serve differ from a passport's, in words; None when they do not."""
    differing = [
        f"{provider}: {version} in the passport, {providers.get(provider, 'unknown')} at the executor"
        for provider, version in sorted(matrix.items())
        if providers.get(provider) != version
    ]
    return "; ".join(differing) or None


def is_intact(text: str, sha256: str) -> bool:
    """Whether a stored passport still is what its digest says."""
    return hashlib.sha256(text.encode()).hexdigest() == sha256
