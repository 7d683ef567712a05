"""What does this mutation act upon, and what does it therefore need?

`launchRun` is the same mutation for a rehearsal and for an approval: which job it names decides. The name stands in a literal
or a variable, behind an alias, in a fragment, or in a list; a repeated run names its parent only, whose job the instance knows.
Whatever cannot be told from the request is held to be the strictest thing that it could be, so that a spelling which is not
understood here is refused and not let through.

Tags are looked at too. A launcher could say with them who acts (`plms/actor`), that nothing is spent (`plms/effect`) or that a
sensor has been here before (`dagster/run_key`). The UI itself repeats what the job or the repeated run has: exactly that is
allowed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from plms_pipeline.web.operations import Call
from plms_pipeline.web.rules import ASSET_JOB, MUTATIONS, STRICTEST, Target, scopes_of_job

RESERVED_PREFIXES = ("plms/", ".dagster/")
RESERVED_TAGS = frozenset(
    {
        "dagster/backfill",
        "dagster/max_runtime",
        "dagster/parent_run_id",
        "dagster/root_run_id",
        "dagster/run_key",
        "dagster/schedule_name",
        "dagster/sensor_name",
        "dagster/tick",
    }
)
# The instant that a night counts to, which whoever may launch a night may say.
FREE_TAGS = frozenset({"plms/as_of"})
PARTITION_SET = "_partition_set"
# So many runs and backfills are looked up for one request; the UI ends at most a page of them at once.
MAX_LOOKED_UP = 200


@dataclass(frozen=True, slots=True)
class Tags:
    """Reserved tags of one launch, and what may have them: the job, or the run that it repeats."""

    given: tuple[tuple[str, str], ...]
    job: str | None
    parent: str | None


@dataclass(frozen=True, slots=True)
class Demand:
    """What one mutation needs.

    Args:
        field: its name.
        scopes: needed at least.
        runs: what it acts upon: runs by id;
        backfills: and backfills by id.
        tags: reserved tags that it gives to what it launches.
        is_known: whether it has a rule.
        is_unclear: whether its tags are written in a way that is not understood here.
    """

    field: str
    scopes: frozenset[str]
    runs: frozenset[str] = frozenset()
    backfills: frozenset[str] = frozenset()
    tags: tuple[Tags, ...] = ()
    is_known: bool = True
    is_unclear: bool = False

    @property
    def at_least(self) -> Demand:
        """What is needed whatever the runs and backfills turn out to be."""
        return replace(self, runs=frozenset(), backfills=frozenset(), tags=())


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run as the instance has it."""

    job: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was looked up: runs and the jobs of backfills by id, tags of jobs by name. What is absent is not known."""

    runs: Mapping[str, KnownRun] = field(default_factory=dict)
    backfills: Mapping[str, str] = field(default_factory=dict)
    job_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What must be looked up before somebody's demands can be judged."""

    runs: frozenset[str]
    backfills: frozenset[str]
    jobs: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look up."""
        return not (self.runs or self.backfills or self.jobs)


def demand_of(call: Call) -> Demand:
    """What one mutation needs; all that there is when its arguments are not understood."""
    rule = MUTATIONS.get(call.field)
    if rule is None:
        return Demand(call.field, STRICTEST, is_known=False)
    demand = Demand(call.field, frozenset({rule.scope}))
    match rule.target:
        case Target.NOTHING:
            return demand
        case Target.LAUNCH:
            return _launched(demand, [call.arguments.get(Target.LAUNCH)])
        case Target.LAUNCHES:
            return _launched(demand, call.arguments.get(Target.LAUNCHES))
        case Target.RERUN:
            return _repeated(demand, call.arguments)
        case Target.NEW_BACKFILL:
            return _backfilled(demand, call.arguments.get(Target.NEW_BACKFILL))
        case Target.RUN:
            return _naming(demand, runs=[call.arguments.get(Target.RUN)])
        case Target.RUNS:
            return _naming(demand, runs=call.arguments.get(Target.RUNS))
        case Target.BACKFILL:
            return _naming(demand, backfills=[call.arguments.get(Target.BACKFILL)])
        case Target.BACKFILL_AGAIN:
            given = call.arguments.get(Target.RERUN)
            return _again(demand, given, backfills=[_of(given, Target.BACKFILL_AGAIN)])


def question_of(demands: Iterable[Demand]) -> Question:
    """What the demands leave to be looked up; nothing when it is more than anybody's work needs."""
    asked = list(demands)
    parents = {tags.parent for demand in asked for tags in demand.tags}
    jobs = {tags.job for demand in asked for tags in demand.tags}
    runs = frozenset(name for name in parents if name).union(*(demand.runs for demand in asked))
    backfills = frozenset[str]().union(*(demand.backfills for demand in asked))
    if len(runs) + len(backfills) > MAX_LOOKED_UP:
        return Question(frozenset(), frozenset(), frozenset())
    return Question(runs, backfills, frozenset(job for job in jobs if job))


def scopes_for(demand: Demand, facts: Facts) -> frozenset[str]:
    """The scopes that a demand needs, given what was looked up."""
    runs = (facts.runs.get(name) for name in demand.runs)
    jobs = [run.job if run is not None else None for run in runs]
    jobs += [facts.backfills.get(name) for name in demand.backfills]
    return demand.scopes.union(*(scopes_of_job(job) for job in jobs))


def forged_tag(demand: Demand, facts: Facts) -> str | None:
    """The first reserved tag that neither the job nor the repeated run has, or None."""
    for tags in demand.tags:
        rightful = dict(facts.job_tags.get(tags.job or "", {}))
        parent = facts.runs.get(tags.parent or "")
        inherited = parent.tags if parent is not None else {}
        for key, value in tags.given:
            names_parent = parent is not None and (key, value) in _parentage(tags.parent, parent)
            if rightful.get(key) != value and inherited.get(key) != value and not names_parent:
                return key
    return None


def _parentage(parent_id: str | None, parent: KnownRun) -> set[tuple[str, str | None]]:
    root = parent.tags.get("dagster/root_run_id", parent_id)
    return {("dagster/parent_run_id", parent_id), ("dagster/root_run_id", root)}


def _launched(demand: Demand, launches: object) -> Demand:
    # GraphQL takes one value where a list is wanted.
    launches = [launches] if isinstance(launches, dict) else launches
    if not isinstance(launches, list) or not launches:
        return replace(demand, scopes=STRICTEST)
    for launch in launches:
        names = _jobs(_of(launch, "selector"))
        scopes = STRICTEST if names is None else frozenset[str]().union(*(scopes_of_job(name) for name in names))
        metadata = _of(launch, "executionMetadata")
        given, parent = _reserved(_of(metadata, "tags")), _of(metadata, "parentRunId")
        if given is None or (metadata is not None and not isinstance(metadata, dict)):
            return replace(demand, scopes=STRICTEST, is_unclear=True)
        demand = replace(demand, scopes=demand.scopes | scopes)
        if given:
            job = names[0] if names is not None else None
            demand = replace(demand, tags=(*demand.tags, Tags(given, job, parent if isinstance(parent, str) else None)))
    return demand


def _repeated(demand: Demand, arguments: Mapping[str, Any]) -> Demand:
    launch, again = arguments.get(Target.LAUNCH), arguments.get(Target.RERUN)
    if launch is None and again is None:
        return replace(demand, scopes=STRICTEST)
    if launch is not None:
        demand = _launched(demand, [launch])
    if again is not None:
        demand = _again(demand, again, runs=[_of(again, "parentRunId")])
    return demand


def _again(demand: Demand, given: object, *, runs: object = (), backfills: object = ()) -> Demand:
    demand = _naming(demand, runs=runs, backfills=backfills)
    tags = _reserved(_of(given, "extraTags"))
    if tags is None:
        return replace(demand, scopes=STRICTEST, is_unclear=True)
    return replace(demand, tags=(*demand.tags, Tags(tags, None, None))) if tags else demand


def _backfilled(demand: Demand, given: object) -> Demand:
    tags = _reserved(_of(given, "tags"))
    if tags is None or not isinstance(given, dict):
        return replace(demand, scopes=STRICTEST, is_unclear=tags is None)
    selector = given.get("selector")
    if selector is None:
        # Without a job it is assets that are materialized.
        job: str | None = ASSET_JOB
    else:
        name = _of(selector, "partitionSetName")
        job = name.removesuffix(PARTITION_SET) if isinstance(name, str) and name.endswith(PARTITION_SET) else None
    demand = replace(demand, scopes=demand.scopes | scopes_of_job(job))
    return replace(demand, tags=(*demand.tags, Tags(tags, job, None))) if tags else demand


def _naming(demand: Demand, *, runs: object = (), backfills: object = ()) -> Demand:
    named = [_names(runs), _names(backfills)]
    if any(names is None for names in named) or not (named[0] or named[1]):
        return replace(demand, scopes=STRICTEST)
    return replace(demand, runs=demand.runs | (named[0] or set()), backfills=demand.backfills | (named[1] or set()))


def _names(given: object) -> set[str] | None:
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        return None
    return set(given)


def _jobs(selector: object) -> list[str] | None:
    """The job that a selector names, under both of its names; None when it names none that is certain."""
    named = [_of(selector, "pipelineName"), _of(selector, "jobName")]
    given = [name for name in named if name is not None and name != ""]
    if not given or not all(isinstance(name, str) for name in given):
        return None
    return [str(name) for name in given]


def _reserved(tags: object) -> tuple[tuple[str, str], ...] | None:
    """The reserved ones among tags; None when they are no tags."""
    if tags is None:
        return ()
    if not isinstance(tags, list):
        return None
    found = []
    for tag in tags:
        key, value = _of(tag, "key"), _of(tag, "value")
        if not isinstance(key, str) or not isinstance(value, str):
            return None
        if is_reserved(key):
            found.append((key, value))
    return tuple(found)


def is_reserved(key: str) -> bool:
    """Whether a tag is for the pipeline and Dagster to set, not for whoever launches."""
    plain = key.strip().lower()
    return plain not in FREE_TAGS and (plain in RESERVED_TAGS or plain.startswith(RESERVED_PREFIXES))


def _of(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
