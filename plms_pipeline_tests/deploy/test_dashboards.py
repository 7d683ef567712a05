"""Are the dashboards in the checkout those that the code makes, and does every panel ask for series that somebody tells?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import NullPool, create_engine

from deploy.grafana.__main__ import DASHBOARDS
from deploy.grafana.boards import BOARDS
from deploy.grafana.parts import POSTGRESQL, PROMETHEUS, Board, encoded
from plms_pipeline_tests.deploy.asking import statement
from plms_pipeline_tests.deploy.programs import DEPLOY
from plms_pipeline_tests.deploy.rules import recorded

# Guide 000, "Grafana Panels"; and the eight panels of the reference's invariants.
GUIDE = ("plms-budget", "plms-lanes", "plms-kpi", "plms-calibration", "plms-cache")
EIGHT = (
    "Status", "Violations", "Success rate, 30 days", "Age of the last proof", "Status over time", "Violations by check",
    "Mean time to fix", "Critical checks",
)  # fmt: skip


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_dashboard_in_the_checkout_is_the_one_that_the_code_makes(board: Board) -> None:
    """Who mends a dashboard by hand loses it at the next generation: `make dashboards` writes the same bytes."""
    assert (DASHBOARDS / f"{board.uid}.json").read_text(encoding="utf-8") == encoded(board)


def test_there_are_the_dashboards_of_the_guide_and_no_other_file() -> None:
    """The five of guide 000, the invariants, operations, models."""
    assert {path.stem for path in DASHBOARDS.glob("*")} == {board.uid for board in BOARDS}
    assert {*GUIDE, "plms-invariants", "plms-operations", "plms-models"} == {board.uid for board in BOARDS}
    [invariants] = [board for board in BOARDS if board.uid == "plms-invariants"]
    assert tuple(panel.title for panel in invariants.panels) == EIGHT


def panels() -> list[tuple[str, dict[str, Any]]]:
    """(dashboard, panel) as Grafana reads them."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        found += [(document["title"], panel) for panel in document["panels"]]
    return found


def test_every_panel_asks_a_source_that_is_provisioned() -> None:
    """A panel whose source has another uid shows an error and nothing else."""
    told = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/plms.yml").read_text(encoding="utf-8"))
    known = {(source["type"], source["uid"]) for source in told["datasources"]}
    assert known == {(PROMETHEUS.type_val, PROMETHEUS.uid), (POSTGRESQL.type_val, POSTGRESQL.uid)}
    for board, panel in panels():
        for target in panel["targets"]:
            source = target["datasource"]
            assert (source["type"], source["uid"]) in known, (board, panel["title"])
            assert target.get("expr") or target.get("rawSql"), (board, panel["title"])


def test_panels_are_told_apart_explained_and_do_not_overlap() -> None:
    """Two panels on one place hide each other; a panel without a word is a riddle at night."""
    for path in sorted(Path(DASHBOARDS).glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        taken: set[tuple[int, int]] = set()
        for panel in document["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24, panel["title"]
            taken |= cells
            assert panel["description"], panel["title"]
        ids = [panel["id"] for panel in document["panels"]]
        assert len(set(ids)) == len(ids)


def test_every_question_to_the_registry_is_understood(postgres_registry_url: str) -> None:
    """A column that was renamed is an error on a page that is opened only when something else is wrong already."""
    engine = create_engine(postgres_registry_url, poolclass=NullPool)
    asked = [
        query for board in BOARDS for panel in board.panels for query in panel.queries if query.source == "postgresql"
    ]
    assert len(asked) >= 8
    with engine.connect() as connection:
        for query in asked:
            assert connection.execute(statement(query)).all() == [], query.text


def test_what_panels_read_of_recorded_series_is_recorded() -> None:
    """A recorded series that was renamed leaves an empty panel."""
    read = {name for _, panel in panels() for target in panel["targets"]
            for name in re.findall(r"plms:[\w:]+", target.get("expr", ""))}  # fmt: skip
    assert read <= recorded()
    assert len(read) >= 4
