"""How do the shipped sample projects come into the books, each with the id that the guides' examples use?

A sample is known again by its key, so making them twice makes nothing. An id that another project already has is said, not
passed over: a script that starts project 42 must never start somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.runs.actions.projects import Shelf, project, store_plan, terms_of
from plms_pipeline.runs.files.task_files import TaskFile
from plms_pipeline.runs.plan import read_plan
from plms_pipeline.runs.plan_document import Item, from_csv, from_yaml, overlaid
from plms_pipeline.runs.project_view import ProjectView
from plms_pipeline.runs.store import projects as store


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample project as it stands, and whether this call made it."""

    view: ProjectView
    is_new: bool


def tree_of(file: TaskFile, given: Mapping[str, str] | None = None) -> Item:
    """The tree of a task file with what was given besides it; a CSV file is named after itself unless a name is given.

    Raises:
        BadPlan: the file cannot be read as what it is.
    """
    over = dict(given or {})
    if file.is_csv:
        over.setdefault("name", file.name.rsplit(".", 1)[0])
        return overlaid(from_csv(file.text, file.name), over)
    return overlaid(from_yaml(file.text, file.name), over)


def make_samples(
    registry: Registry, files: Mapping[int, TaskFile], *, clock: Clock, actor: Actor, any_id: bool = False
) -> list[Sample]:
    """Make the sample projects that are not there yet.

    Args:
        files: by the id that each must have.
        any_id: take the next free id where another project has the wanted one.

    Raises:
        Conflict: another project has a wanted id, and `any_id` is not set (`project_id_taken`); nothing was made.
        BadPlan: a file cannot be read (a bug in what ships).
    """
    terms = terms_of(registry)
    plans = {number: read_plan(_tree_of_sample(file), file.name, terms) for number, file in files.items()}
    with registry.reading() as session:
        known = {number: store.id_of_key(session, _key(number)) for number in files}
        taken = {number for number in files if known[number] is None and store.id_is_taken(session, number)}
    if taken and not any_id:
        ids = ", ".join(str(number) for number in sorted(taken))
        raise Conflict(
            f"Other projects have the ids {ids} of the samples: make the samples before importing history, use another "
            "registry, or take the next free ids with --any-id.",
            code="project_id_taken",
        )
    samples = []
    # Those that get any id come last, so that none takes an id that another sample must have.
    for number, plan in sorted(plans.items(), key=lambda item: (item[0] in taken, item[0])):
        found = known[number]
        if found is not None:
            samples.append(Sample(project(registry, found), is_new=False))
            continue
        shelf = Shelf(None if number in taken else number, _key(number))
        samples.append(Sample(store_plan(registry, plan, clock=clock, actor=actor, shelf=shelf), is_new=True))
    return samples


def _tree_of_sample(file: TaskFile) -> Item:
    """A sample that is CSV is named by the words of its file: `3-small-model.csv` is the small model."""
    words = file.name.rsplit(".", 1)[0].split("-")[1:]
    return tree_of(file, {"name": " ".join(words).capitalize(), "budget_usd": "40.00"} if file.is_csv else None)


def _key(number: int) -> str:
    return f"sample-{number}"
