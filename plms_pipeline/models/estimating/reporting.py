"""What does the report on a model of estimates say, section by section?

Everything is of later receipts, one step ahead, beside the priors on the same rows: where the model is heard and where they
answer, how often the 90 % intervals held by lane, provider and task family, the scores, and where outcomes fell in their
forecasts (the PIT), whose histogram is flat when forecasts say what they know and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from plms_pipeline.estimates.scores import covered, winkler
from plms_pipeline.models.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Note,
    Report,
    Section,
    Table,
    number,
    percent,
    short,
    table,
)

TITLE: Final = "Report on a model of estimates"
DESCRIPTION: Final = (
    "What tasks take, forecast from earlier receipts alone when each task began, and judged on what happened. The priors "
    "forecast the same tasks at the same moments. Of two forecasts the one with the lower Winkler score and CRPS is better."
)
HELD: Final = (0.88, 0.92)
HELD_IN_PART: Final = (0.85, 0.95)
FEWEST: Final = 100
# More families than anybody reads are many.
MOST_ROWS: Final = 40


def compose(summary: Mapping[str, Any], manifest: Mapping[str, Any], rows: pd.DataFrame) -> Report:
    """The report.

    Args:
        summary: `operations_summary.json` of a training of estimates.
        rows: its judged forecasts.
    """
    judged: Sequence[Mapping[str, Any]] = summary["estimates"]
    heard = [_name(one) for one in judged if one["passed"]]
    verdict = (
        Note(f"The model beats the priors in {', '.join(heard)}; everywhere else the priors answer.", "good")
        if heard
        else Note("The model beats the priors nowhere by enough: it cannot be promoted, and the priors answer.", "bad")
    )
    sections = [_overview(manifest, judged), _conditions(judged)]
    sections += [_part(one, _rows_of(rows, one)) for one in judged if one["n"]]
    return Report(TITLE, DESCRIPTION, verdict, tuple(sections))


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['measure']} ({one['basis']})"


def _rows_of(rows: pd.DataFrame, one: Mapping[str, Any]) -> pd.DataFrame:
    if rows.empty:
        return rows
    chosen: pd.DataFrame = rows[(rows["measure"] == one["measure"]) & (rows["basis"] == one["basis"])]
    return chosen


def _overview(manifest: Mapping[str, Any], judged: Sequence[Mapping[str, Any]]) -> Section:
    data, lineage = manifest["data"], manifest.get("lineage") or {}
    facts = [
        ("Run", str(manifest["run_id"])), ("Trained at", str(manifest["created_at"])),
        ("Asked for by", str(lineage.get("requested_by") or "unknown")), ("Why", str(lineage.get("reason") or "not said")),
        ("Receipts", f"{data['receipts']:,}"), ("From", str(data["first"])), ("To", str(data["last"])),
        ("Content of the receipts (SHA-256)", str(data["content_hash"])),
        ("Code", str(manifest["code_version"])),
    ]  # fmt: skip
    scores = table(
        "Scores",
        ("What", "Forecasts", "90 % held", "Priors", "Winkler to the priors'", "from", "to", "CRPS to the priors'", "Heard"),
        [
            (
                _name(one), f"{one['n']:,}", _held(one.get("coverage_90"), int(one["n"]), HELD),
                percent(one.get("coverage_90_priors"), 1), short(one.get("winkler_ratio")),
                short(one.get("winkler_ratio_low")), short(one.get("winkler_ratio_high")), short(one.get("crps_ratio")),
                Cell("yes", "good") if one["passed"] else Cell("no", "warn"),
            )
            for one in judged
        ],
        texts=(0, 8),
    )  # fmt: skip
    return Section("Overview", "Effort is what a task takes when it succeeds; spend what an attempt takes whatever its end.",
                   (table("Facts", ("What", ""), facts, texts=(0, 1)), scores))  # fmt: skip


def _conditions(judged: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        (
            _name(one), str(condition["name"]).replace("_", " "),
            Cell("holds", "good") if condition["passed"] else Cell("fails", "bad"),
            short(condition["value"]), short(condition["threshold"]), str(condition["reason"]),
        )
        for one in judged
        for condition in one["conditions"]
    ]  # fmt: skip
    made = table("Conditions", ("What", "Condition", "", "Value", "Limit", "Why not"), rows, texts=(0, 1, 2, 5))
    return Section("Conditions", "Where one of them fails, the model is not heard and the priors answer.", (made,))


def _part(one: Mapping[str, Any], rows: pd.DataFrame) -> Section:
    name = _name(one)
    worst = one.get("worst_hundredth_of_priors")
    blocks: list[Block] = [
        table(
            f"Scores of {name}", ("Score", "Model", "Priors"),
            [
                ("90 % intervals held", _held(one["coverage_90"], int(one["n"]), HELD), percent(one["coverage_90_priors"], 1)),
                (f"Winkler ({one['unit']})", number(one["winkler"]), number(one["winkler_priors"])),
                (f"CRPS ({one['unit']})", number(one["crps"]), number(one["crps_priors"])),
                (f"Mean error of the median ({one['unit']})", number(one["mae"]), number(one["mae_priors"])),
                ("Winkler of the logarithm", number(one["winkler_log"]), number(one["winkler_log_priors"])),
            ],
        ),
        Note(f"The worst hundredth of forecasts makes {percent(worst, 0)} of the priors' Winkler score; without it the ratio "
             f"is {short(one.get('winkler_ratio_without_it'))}.", "warn" if worst is not None and worst > 0.5 else ""),
        Chart(
            f"pit_{one['measure']}_{one['basis']}", f"Where outcomes of {name} fell in their forecasts",
            f"Histogram of the probability integral transform of {name}, model and priors; flat is honest", (),
            np.asarray(one["pit"], dtype=np.float64), np.asarray(one["pit_priors"], dtype=np.float64), kind="pit",
        ),
        _places(f"Lanes of {name}", "Lane", [(str(lane["lane_id"]), lane) for lane in one["lanes"]]),
        _places(
            f"Providers of {name}", "Lane and provider",
            [(f"{cell['lane_id']} {cell['provider']}", cell) for cell in one["cells"]],
        ),
    ]  # fmt: skip
    if "kind" in rows.columns and rows["kind"].astype(str).str.len().gt(0).any():
        blocks.append(_places(f"Task families of {name}", "Family", families(rows)))
    return Section(name, f"{one['n']:,} later forecasts.", tuple(blocks))


def families(rows: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """Coverage and scores by kind of task, those with most forecasts first."""
    found = []
    for kind, mine in rows.groupby(rows["kind"].astype(str)):
        actual = mine["actual"].to_numpy(np.float64)
        told: dict[str, Any] = {"n": len(mine)}
        for suffix, prefix in (("", ""), ("_priors", "prior_")):
            low, high = (mine[f"{prefix}{end}"].to_numpy(np.float64) for end in ("low", "high"))
            told |= {
                f"coverage_90{suffix}": float(covered(low, high, actual).mean()),
                f"winkler{suffix}": float(winkler(low, high, actual).mean()),
            }
        told["winkler_ratio"] = told["winkler"] / told["winkler_priors"] if told["winkler_priors"] > 0 else None
        found.append((str(kind) or "unknown", told))
    return sorted(found, key=lambda one: (-int(one[1]["n"]), one[0]))


def _places(label: str, heading: str, places: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    shown = sorted(places, key=lambda one: (-int(one[1]["n"]), one[0]))
    has_crps = any("crps_ratio" in one for _, one in shown)
    rows: list[tuple[str | Cell, ...]] = [
        (
            name, f"{one['n']:,}", _held(one["coverage_90"], int(one["n"]), HELD_IN_PART),
            percent(one["coverage_90_priors"], 1), short(one["winkler_ratio"]),
            *([short(one.get("crps_ratio"))] if has_crps else []),
        )
        for name, one in shown[:MOST_ROWS]
    ]  # fmt: skip
    headings = [heading, "Forecasts", "90 % held", "Priors", "Winkler to the priors'"]
    headings += ["CRPS to the priors'"] if has_crps else []
    if len(shown) > MOST_ROWS:
        left = sum(int(one["n"]) for _, one in shown[MOST_ROWS:])
        rows.append((f"{len(shown) - MOST_ROWS} more", f"{left:,}", *[""] * (len(headings) - 2)))
    return table(label, headings, rows)


def _held(value: float | None, n: int, limits: tuple[float, float]) -> Cell:
    """A coverage; few forecasts say neither good nor bad."""
    if value is None or n < FEWEST:
        return Cell(percent(value, 1))
    return Cell(percent(value, 1), "good" if limits[0] <= value <= limits[1] else "bad")
