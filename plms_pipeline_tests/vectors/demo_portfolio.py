"""Twelve projects share the lanes: approved, started at once, worked, all done (`make demo-portfolio`).

On a fresh instance in a temporary folder: three of each shipped kind, so that every lane is wanted by several. What it shows is
also what it asserts; the picture (lanes over time, and shares) is written to `reports/portfolio-demo.png`.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from plms_pipeline.portfolio.shares import shares_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Lane, Slot
from plms_pipeline_tests.proofs.portfolio import lane_stays, most_at_once
from plms_pipeline_tests.vectors.live import ROOT, Live, fresh, new_key, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = tuple(sorted((ROOT / "data/samples/projects").iterdir()))
EACH = 3
PICTURE = ROOT / "reports" / "portfolio-demo.png"
# Twelve that people with the common kinds of colour blindness tell apart, too (M. Krzywinski's palette); of two that are alike
# one is among the last six, which are hatched.
COLOURS = (
    "#008DF9", "#FFC33B", "#A40122", "#00FCCF", "#8400CD", "#FF6E3A",
    "#009F81", "#FFB2FD", "#9F0162", "#00C2F9", "#E20134", "#FF5AAF",
)  # fmt: skip


def show(live: Live) -> None:
    """The whole story."""
    projects = []
    for number in range(EACH):
        for kind in KINDS:
            project = int(live.command("project", "create", "--from", str(kind))["project_id"])
            live.approved(project, budget_usd=500)
            projects.append((project, f"{kind.stem} #{number + 1}"))
    say(f"{len(projects)} projects of {len(KINDS)} kinds are approved")
    runs = {
        project: live.post(f"/api/projects/{project}/start", key=new_key(), body={"run_kind": "baseline"})["run_id"]
        for project, _ in projects
    }
    status = live.get("/api/portfolio/status")
    say(f"running {status['total_running']}, waiting {status['total_queued']}")
    for project, name in projects:
        ended = live.ended(project, runs[project])
        say(f"  {name}: {ended['run']['status']}, {ended['run']['validation']}; project {ended['status']}")
        assert ended["status"] in ("completed", "needs_review"), ended
    assert live.environ is not None
    registry = Registry.open(f"sqlite:///{Path(live.environ['PLMS_DATA_DIR']) / 'registry.db'}", read_only=True)
    try:
        judge(registry, dict(projects))
    finally:
        registry.close()


def judge(registry: Registry, names: dict[int, str]) -> None:
    """No lane over its cap; the picture."""
    with registry.reading() as session:
        caps = {lane: cap for lane, cap in session.execute(select(Lane.lane_id, Lane.cap))}  # noqa: C416 - rows are no pairs
        log = session.execute(select(Slot.resource, Slot.project_id, Slot.taken_at, Slot.released_at)).all()
    used = defaultdict(list)
    for row in log:
        used[int(row.resource.removeprefix("lane:"))].append(row)
    for lane, rows in sorted(used.items()):
        most = most_at_once(list(rows))
        say(f"lane {lane}: {len(rows)} tasks, at most {most} of {caps[lane]} at once")
        assert most <= caps[lane]
    shares = {lane: shares_of(stays, cap=caps[lane]) for lane, stays in lane_stays(registry).items()}
    PICTURE.parent.mkdir(exist_ok=True)
    painted(used, caps, shares, names).savefig(PICTURE, dpi=80)
    say(f"lanes over time, and shares: {PICTURE}")


def painted(
    used: Mapping[int, Sequence[Any]], caps: Mapping[int, int], shares: Mapping[int, list[Any]], names: dict[int, str]
) -> Figure:
    """Slots of each lane over time, coloured by project, and beside them what each received of its fair share.

    All lanes have one time axis, and a project the same place in all of them: what stands above each other may be compared.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    assert len(names) <= len(COLOURS), "a colour would mean two projects"
    projects = sorted(names)
    styles: dict[int, dict[str, Any]] = {
        project: {"color": colour}
        if place < len(COLOURS) // 2
        else {"facecolor": colour, "edgecolor": "w", "hatch": "///"}
        for place, (project, colour) in enumerate(zip(projects, COLOURS, strict=False))
    }
    lanes = sorted(used)
    figure = Figure(figsize=(14, 1.6 * len(lanes)))
    axes = figure.subplots(len(lanes), 2, sharex="col", squeeze=False, width_ratios=(3, 1))
    begin = min(row.taken_at for rows in used.values() for row in rows)
    for (left, right), lane in zip(axes, lanes, strict=True):
        free: list[float] = []
        for row in sorted(used[lane], key=lambda row: row.taken_at):
            start, end = ((moment - begin).total_seconds() for moment in (row.taken_at, row.released_at))
            place = next((index for index, until in enumerate(free) if until <= start), len(free))
            free[place : place + 1] = [end]
            left.barh(place, end - start, left=start, height=0.9, linewidth=0, **styles[row.project_id])
        left.set(ylabel=str(lane), ylim=(-0.6, caps[lane] - 0.4), yticks=[])
        left.grid(axis="x", color="0.85")
        left.set_axisbelow(True)
        found = [share for share in shares.get(lane, []) if share.ratio is not None]
        for share in found:
            right.bar(projects.index(share.project_id), share.ratio, linewidth=0, **styles[share.project_id])
        right.axhline(0.9, color="black", linestyle="--", linewidth=0.8)
        right.set(ylim=(0, 2))
    axes[-1][0].set_xlabel("seconds; one colour per project")
    axes[-1][1].set_xlabel("received ÷ fair share, by project")
    axes[-1][1].set_xticks(range(len(projects)), [str(project) for project in projects])
    axes[0][0].set_title(f"{len(names)} projects")
    patches = [Patch(label=f"{project} {names[project]}", linewidth=0, **styles[project]) for project in projects]
    figure.legend(handles=patches, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.3 * (len(patches) + 3) // 4 / figure.get_figheight(), 1, 1))
    return figure


def main() -> int:
    """Show it, and say how long it took."""
    began = time.monotonic()
    with fresh(receipts=True) as live:
        show(live)
    say(f"{time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
