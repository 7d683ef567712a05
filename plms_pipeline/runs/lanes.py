"""Which lane does a new task belong to, judged by its words?

The keywords of the sources (API, REST, endpoint; database, schema, SQL; …), continued for the lanes that the sources named but
gave no words. A keyword counts once; the lane with most of them wins, and a tie is no suggestion: a guess that is wrong
half of the time costs more than a question. Lanes are named, not numbered, so that words speak for a lane only where it is
registered: the sources' words for algorithms and narratives mean none of ours until somebody adds such a lane.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

LaneSource = Literal["given", "keywords", "classifier", "override"]

KEYWORDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "Code-API": frozenset({"api", "rest", "endpoint", "endpoints", "route", "routes", "http", "client", "library"}),
    "Code-Test": frozenset({"test", "tests", "testing", "pytest", "unittest", "fixture", "fixtures", "coverage"}),
    "Code-Docs": frozenset({"docs", "doc", "documentation", "document", "readme", "guide", "manual", "tutorial"}),
    "Data-Schema": frozenset({"database", "schema", "sql", "table", "tables", "migration", "index", "column", "columns"}),
    "Data-Ingest": frozenset({"ingest", "ingestion", "load", "loader", "import", "fetch", "download", "crawl", "scrape"}),
    "Data-Transform": frozenset({"transform", "aggregate", "clean", "deduplicate", "join", "reshape", "normalize"}),
    "Model-Train": frozenset({"train", "training", "finetune", "retrain", "pretrain", "epoch", "epochs"}),
    "Model-Eval": frozenset({"evaluate", "evaluation", "benchmark", "score", "backtest", "calibration"}),
    "Math-Algorithm": frozenset({"algorithm", "algorithms", "computation", "proof", "derivation"}),
    "Narrative-Story": frozenset({"narrative", "story", "summary", "summaries"}),
})  # fmt: skip

# The sources' words for where a task's results are best kept.
STORES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "hybrid": frozenset({"multimodal", "image", "images", "video", "audio"}),
    "graph": frozenset({"relation", "relations", "relationship", "graph", "edge", "edges", "ontology"}),
    "text": frozenset({"docs", "doc", "documentation", "document", "readme", "guide", "summary", "narrative"}),
    "vec": frozenset({"code", "config", "configuration", "api", "endpoint", "library"}),
})  # fmt: skip

_WORD: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A lane that a text suggests; `confidence` in [0, 1], None where nothing measured it."""

    lane_id: int
    source: LaneSource
    confidence: float | None = None


Suggest = Callable[[str], "Suggestion | None"]


def words_of(text: str) -> list[str]:
    """The words of a text, case-folded, in order: runs of Latin letters and digits; a hyphen or slash parts two words."""
    return _WORD.findall(text.casefold())


def by_keywords(text: str, lanes: Mapping[str, int]) -> Suggestion | None:
    """The lane that most keywords speak for, or None when none does or two do equally.

    Args:
        lanes: every word for a lane, case-folded → lane id; keywords of a lane that is not there are not counted.
    """
    words = set(words_of(text))
    counts: Counter[int] = Counter()
    for name, keywords in KEYWORDS.items():
        lane_id = lanes.get(name.casefold())
        hits = len(words & keywords)
        if lane_id is not None and hits:
            counts[lane_id] += hits
    first, *rest = counts.most_common(2) or [(0, 0)]
    if not first[1] or (rest and rest[0][1] == first[1]):
        return None
    return Suggestion(first[0], "keywords", first[1] / counts.total())


def store_of(text: str) -> str | None:
    """Where a task's results are best kept (vec, graph, text, hybrid), or None when its words do not say."""
    words = set(words_of(text))
    return next((store for store, keywords in STORES.items() if words & keywords), None)


def suggester(lanes: Mapping[str, int], learnt: Suggest | None = None) -> Suggest:
    """What suggests a lane: what was learnt from corrections where it is sure, else the keywords.

    Args:
        learnt: answers None where it has not learnt enough or is not sure.
    """

    def suggest(text: str) -> Suggestion | None:
        found = learnt(text) if learnt is not None else None
        return found if found is not None else by_keywords(text, lanes)

    return suggest
