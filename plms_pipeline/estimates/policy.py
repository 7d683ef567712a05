"""Which receipts teach, and why does a given one not?

The rules as data: each has a name, a sentence and a predicate over columns, so that the nightly selection, the counts of what
was left out and `plms receipts explain` cannot tell different stories. Rules look at the receipt's own run: the
prototype joined by project, and a rehearsal taught because its project also had a good run.

Effort asks what a task takes when it succeeds; spend what an attempt takes whatever its end, so it asks no verdict.

A run's verdict is not enough. A first attempt that failed inside a run that passed took what a failure takes; and a task in
a lane without gates was judged by nobody, however good its neighbours were. So the attempt's own end and the task's own
verdict are asked as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.measures import Basis

Mask: TypeAlias = NDArray[np.bool_]
Columns: TypeAlias = Mapping[str, NDArray[Any]]

REAL_KINDS: Final = ("baseline", "hotfix")
ACCEPT_UNGATED: Final = "accept_ungated"


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition of inclusion: `holds` says for each receipt whether it is met, `reads` which columns decide it."""

    name: str
    says: str
    reads: tuple[str, ...]
    holds: Callable[[Columns], Mask]


def _kind(columns: Columns) -> Mask:
    return np.isin(columns["run_kind"].astype(str), REAL_KINDS)


def _sandbox(columns: Columns) -> Mask:
    return ~columns["write_sandbox"].astype(bool)


def _passport(columns: Columns) -> Mask:
    # Imported history has no passport of ours: the source, its file's hash and its own verdict stand in.
    stands_in = (columns["verdict_by"].astype(str) == "source") & (columns["source_file_sha256"].astype(str) != "")
    return np.asarray(columns["passport_is_complete"].astype(bool) | stands_in)


def _succeeded(columns: Columns) -> Mask:
    # A source may call solved what was stopped before it ended by itself (27 of METR's): there the source's verdict stands
    # in, unless another attempt at the task is known to have ended well, which then is what the verdict speaks of.
    stands_in = (columns["verdict_by"].astype(str) == "source") & (columns["task_status"].astype(str) != "SUCCESS")
    return np.asarray((columns["receipt_status"].astype(str) == "SUCCESS") | stands_in)


def _verdict(columns: Columns) -> Mask:
    run, own = columns["validation"].astype(str), columns["task_validation"].astype(str)
    # A run without rows for its tasks is judged as a whole.
    task = np.where(own == "", run, own)
    accepted = (task == "ungated") & columns["lane_accepts_ungated"].astype(bool)
    judged = np.isin(run, ("passed", "ungated")) & ((task == "passed") | accepted)
    override = columns["override"].astype(str)
    # Whoever lifts a verdict was shown what gates measured; of a task that has none there was nothing to show.
    unseen = (own == "ungated") & ~accepted
    lifted = (override == "pass") & columns["override_teaches"].astype(bool) & ~unseen
    return np.asarray(np.where(override == "", judged, lifted), dtype=bool)


REAL_RUN: Final = Rule("real_run", "the run is a baseline or a hotfix", ("run_kind",), _kind)
NOT_SANDBOX: Final = Rule("not_sandbox", "the run did not write into a sandbox", ("write_sandbox",), _sandbox)
PASSPORT: Final = Rule(
    "replayable",
    "its passport is complete; for imported history its source, file hash and the source's verdict stand in",
    ("passport_is_complete", "verdict_by", "source_file_sha256"),
    _passport,
)
SUCCEEDED: Final = Rule(
    "succeeded",
    "the attempt itself succeeded; for imported history whose task has no such attempt, the source's verdict stands in",
    ("receipt_status", "task_status", "verdict_by"),
    _succeeded,
)
VERDICT: Final = Rule(
    "judged_good",
    "run and task passed; or ungated in a lane with a decision accept_ungated; or overridden to pass with teach: true",
    ("validation", "task_validation", "lane_accepts_ungated", "override", "override_teaches"),
    _verdict,
)
RULES: Final[dict[Basis, tuple[Rule, ...]]] = {
    "effort": (REAL_RUN, NOT_SANDBOX, PASSPORT, SUCCEEDED, VERDICT),
    "spend": (REAL_RUN, NOT_SANDBOX),
}


def included(columns: Columns, basis: Basis) -> Mask:
    """Whether each receipt teaches on a basis, (n,).

    Args:
        columns: equal-length arrays by name, as the rules read them; text columns hold "" for NULL.
    """
    first = next(iter(columns.values()))
    mask = np.ones(len(first), dtype=bool)
    for rule in RULES[basis]:
        mask &= rule.holds(columns)
    return mask


def exclusions(columns: Columns, basis: Basis) -> dict[str, int]:
    """How many receipts each rule leaves out, counted once each, at the first rule that fails."""
    first = next(iter(columns.values()))
    left = np.ones(len(first), dtype=bool)
    counts = {}
    for rule in RULES[basis]:
        fails = left & ~rule.holds(columns)
        counts[rule.name] = int(fails.sum())
        left &= ~fails
    return counts


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says about one receipt: the values it read and whether it holds."""

    rule: str
    says: str
    values: Mapping[str, str]
    holds: bool


def explain(columns: Columns, row: int, basis: Basis) -> list[Verdict]:
    """Every rule of a basis with its value for one receipt, in the order they are asked."""
    one = {name: values[row : row + 1] for name, values in columns.items()}
    return [
        Verdict(rule.name, rule.says, {name: str(one[name][0]) for name in rule.reads}, bool(rule.holds(one)[0]))
        for rule in RULES[basis]
    ]
