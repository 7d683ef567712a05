"""An artifact is measured, judged and recorded: the whole way, with real children and real databases."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.actions.evaluate import evaluate_artifact
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.kpis.client import GraphClient
from plms_pipeline.kpis.evaluation import AWAY, Evaluation
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import KpiReceipt, LaneGate, Project, TaskEstimate
from plms_pipeline.settings import Settings
from plms_pipeline_tests.kpis.conftest import Builder, FakeGraph, make_world
from plms_pipeline_tests.kpis.test_readability import EASY, HARD

GOOD = {
    "src/a.py": "def one():\n    return 1\n",
    "tests/test_a.py": "from a import one\n\n\ndef test_one():\n    assert one() == 1\n",
}


def values(found: Evaluation) -> dict[str, Any]:
    return {each.gate.kpi: each.value for each in found.kpis}


def reasons(found: Evaluation) -> dict[str, str | None]:
    return {each.gate.kpi: each.reason for each in found.kpis}


def rows(world: World) -> list[KpiReceipt]:
    with world.registry.reading() as session:
        return list(session.scalars(select(KpiReceipt).order_by(KpiReceipt.id)))


def with_database(world: World, tmp_path: Path, script: str) -> World:
    path = tmp_path / "measured.db"
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return replace(world, settings=world.settings.model_copy(update={"kpi_database_url": f"sqlite:///{path}"}))


def test_good_code_passes_and_its_receipts_are_kept(
    registry: Registry, settings: Settings, clock: Clock, artifact: Builder
) -> None:
    """Rows, logs and the receipt file say the same, on both databases; in the original no row was ever inserted."""
    world = make_world(registry, settings, clock)
    found = evaluate_artifact(artifact("4200-good", GOOD), world=world)
    assert found.verdict == "passed"
    assert values(found) == {"linter_pass": True, "test_pass_rate": 1.0}
    kept = rows(world)
    assert [(row.kpi_name, row.kpi_value, row.pass_, row.blocks, row.kpi_threshold) for row in kept] == [
        ("linter_pass", 1.0, True, True, {"==": True}), ("test_pass_rate", 1.0, True, True, {">=": 0.9}),
    ]  # fmt: skip
    assert {row.measured_at for row in kept} == {clock.now()}
    assert {row.artifact_sha256 for row in kept} == {found.artifact_sha256}
    folder = settings.data_dir / "artifacts" / "kpi" / found.evaluation_id
    assert json.loads((folder / "kpi_receipt.json").read_text()) == found.as_json()
    assert "passed   tests.test_a::test_one" in Path(str(kept[1].logs_path)).read_text()
    assert "limits" in found.isolation


def test_code_without_tests_fails_for_that_reason(world: World, artifact: Builder) -> None:
    """Defect 2 of the original: lanes 4200 and 4201 passed on the linter alone."""
    found = evaluate_artifact(artifact("4201-x", {"a.py": "X = 1\n"}), world=world)
    assert found.verdict == "failed"
    assert values(found) == {"linter_pass": True, "test_pass_rate": None}
    assert "no tests found" in str(reasons(found)["test_pass_rate"])


def test_a_green_echo_does_not_save_red_tests(world: World, artifact: Builder) -> None:
    """ "Green echo, red tests" is the failure that the product promises to stop."""
    files = {
        **GOOD,
        "tests/test_a.py": "def test_one():\n    assert 0\n",
        "echo_source.txt": "words",
        "echo.txt": "words",
    }
    found = evaluate_artifact(artifact("4200-x", files), world=world)
    assert found.echo.passed
    assert found.verdict == "failed"


@pytest.mark.live
def test_a_task_is_stricter_never_looser_than_its_lane(world: World, artifact: Builder) -> None:
    """Three of four tests: enough for nobody, whatever the task says; and a stricter task counts."""
    with world.registry.writing() as session:
        project = Project(name="p", created_at=world.clock.now())
        session.add(project)
        session.flush()
        formulas = ['{"test_pass_rate": {">=": 0.5}}', '{"readability": {"<=": 8}}', '{"code_tests": {">=": 0.1}}']
        tasks = [
            TaskEstimate(project_id=project.id, task_name="t", tmd_lane=4200, kpi_formula=each) for each in formulas
        ]
        session.add_all(tasks)
        session.flush()
        looser, stricter, broken = (str(task.id) for task in tasks)
    half = {**GOOD, "tests/test_a.py": "".join(f"def test_{n}():\n    assert {n}\n\n\n" for n in range(4))}
    found = evaluate_artifact(artifact("x", half), world=world, task_id=looser)
    assert (found.lane_id, found.verdict) == (4200, "failed")
    assert [each.gate.as_json() for each in found.kpis if each.gate.kpi == "test_pass_rate"] == [{">=": 0.9}]
    found = evaluate_artifact(artifact("y", GOOD), world=world, task_id=stricter)
    assert found.verdict == "failed"
    assert reasons(found)["readability"] == "generated_docs.md is missing"
    with pytest.raises(BadInput) as caught:
        evaluate_artifact(artifact("z", GOOD), world=world, task_id=broken)
    assert caught.value.code == "unknown_kpi"


def test_an_artifact_cannot_choose_an_easier_lane(world: World, artifact: Builder) -> None:
    """Lane 6100 has no gates; the books say where the task belongs."""
    with world.registry.writing() as session:
        project = Project(name="p", created_at=world.clock.now())
        session.add(project)
        session.flush()
        task = TaskEstimate(project_id=project.id, task_name="t", tmd_lane=4200)
        session.add(task)
        session.flush()
        task_id = task.id
    root = artifact("x", {"plms_artifact.json": json.dumps({"lane": 6100, "task_id": task_id})})
    with pytest.raises(BadInput) as caught:
        evaluate_artifact(root, world=world)
    assert caught.value.code == "lane_conflict"
    with pytest.raises(BadInput):
        evaluate_artifact(artifact("4200-y", {"plms_artifact.json": '{"lane": 6100}'}), world=world, lane=4200)
    assert rows(world) == []


@pytest.mark.parametrize(
    ("manifest", "asked", "code"),
    [
        ('{"threshold": 0.1}', {"lane": 4200}, "bad_artifact_input"),
        ("{", {"lane": 4200}, "bad_artifact_input"),
        ("{}", {}, "missing_lane"),
        ("{}", {"lane": 9999}, "unknown_lane"),
        ('{"lane": "Nothing"}', {}, "unknown_lane"),
        ('{"task_id": 5}', {"lane": 4200, "task_id": "6"}, "task_conflict"),
        ('{"run_id": "a"}', {"lane": 4200, "run_id": "b"}, "run_conflict"),
        ("{}", {"lane": 4200, "run_id": "nothing"}, "unknown_run"),
        ("{}", {"lane": 4200, "task_id": "typo"}, "unknown_task"),
        ('{"task_id": "typo"}', {"lane": 4200}, "unknown_task"),
    ],
)
def test_bad_use_is_refused_before_anything_runs(
    world: World, artifact: Builder, manifest: str, asked: dict[str, Any], code: str
) -> None:
    """No rows, no evidence, exit 2."""
    with pytest.raises(BadInput) as caught:
        evaluate_artifact(artifact("work", {"plms_artifact.json": manifest}), world=world, **asked)
    assert caught.value.code == code
    assert rows(world) == []
    assert not (world.settings.data_dir / "artifacts").exists()


def test_a_gate_of_the_books_that_cannot_be_judged_stops_everything(world: World, artifact: Builder) -> None:
    """An unknown KPI is an error, never skipped."""
    with world.registry.writing() as session:
        session.add(LaneGate(lane_id=6100, kpi_name="code_tests", operator=">=", threshold=0.9))
    with pytest.raises(BadInput) as caught:
        evaluate_artifact(artifact("x", GOOD), world=world, lane=6100)
    assert caught.value.code == "unknown_kpi"


def test_a_lane_without_gates_is_ungated(world: World, artifact: Builder) -> None:
    """Neither passed nor failed: nobody asked anything."""
    assert evaluate_artifact(artifact("x", GOOD), world=world, lane="Model-Train").verdict == "ungated"
    assert rows(world) == []


ECHOES = {
    "echo_source.txt": "A gate asks one question about a piece of work.",
    "echo.txt": "Bananas are yellow and sweet.",
}


def test_the_echo_advises_by_default_and_blocks_when_enforced(world: World, artifact: Builder) -> None:
    """The same artifact, two settings; and the artifact's own threshold is not even read."""
    root = artifact(
        "4202-x",
        {"generated_docs.md": EASY, **ECHOES, "echo_result.json": '{"cosine_similarity": 0.99, "threshold": 0.1}'},
    )
    found = evaluate_artifact(root, world=world)
    assert found.verdict == "passed"
    assert not found.echo.passed
    assert found.as_json()["echo"]["threshold"] == 0.82
    assert [row.blocks for row in rows(world) if row.kpi_name == "echo_cosine"] == [False]
    strict = replace(world, settings=world.settings.model_copy(update={"echo_gate": "enforce"}))
    assert evaluate_artifact(root, world=strict).verdict == "failed"


def test_an_enforced_echo_without_input_fails_with_that_reason(world: World, artifact: Builder) -> None:
    """No default number."""
    strict = replace(world, settings=world.settings.model_copy(update={"echo_gate": "enforce"}))
    found = evaluate_artifact(artifact("4202-x", {"generated_docs.md": EASY}), world=strict)
    assert found.verdict == "failed"
    assert found.echo.value is None
    assert "neither echo_vectors.npz nor" in str(found.echo.reason)


def test_vectors_are_measured_by_us(world: World, artifact: Builder, tmp_path: Path) -> None:
    """The cosine of (3, 4) and (4, 3) is 0.96."""
    np.savez(tmp_path / "v.npz", source=np.array([3.0, 4.0]), echo=np.array([4.0, 3.0]))
    root = artifact("4202-x", {"generated_docs.md": EASY, "echo_vectors.npz": (tmp_path / "v.npz").read_bytes()})
    assert evaluate_artifact(root, world=world).echo.value == pytest.approx(0.96)


def test_documentation_is_graded(world: World, artifact: Builder) -> None:
    """At most grade 10."""
    assert evaluate_artifact(artifact("4202-a", {"generated_docs.md": EASY}), world=world).verdict == "passed"
    assert evaluate_artifact(artifact("4202-b", {"generated_docs.md": HARD}), world=world).verdict == "failed"
    other = {"plms_artifact.json": '{"inputs": {"docs": "docs/guide.md"}}', "docs/guide.md": EASY}
    assert evaluate_artifact(artifact("4202-c", other), world=world).verdict == "passed"


def table(columns: dict[str, str], count: int, name: str = "runs") -> dict[str, str]:
    return {
        "expected_schema.json": json.dumps({"table_fq": name, "schema": columns}),
        "expected_row_count.json": json.dumps({"table_fq": name, "row_count": count}),
    }


def test_tables_are_measured_in_the_real_database(world: World, artifact: Builder, tmp_path: Path) -> None:
    """The original always found the columns id, name, created_at and 1000 rows, and passed whoever expected those."""
    measured = with_database(
        world, tmp_path, "CREATE TABLE runs (id INTEGER, cost NUMERIC(12, 2)); INSERT INTO runs VALUES (1, 2), (2, 3);"
    )
    good = evaluate_artifact(artifact("5100-a", table({"id": "int", "cost": "numeric(12,2)"}, 2)), world=measured)
    assert good.verdict == "passed"
    assert values(good) == {"row_count_delta": 0.0, "schema_diff": 0}
    fake = table({"id": "INTEGER", "name": "TEXT", "created_at": "TIMESTAMP"}, 1000)
    bad = evaluate_artifact(artifact("5100-b", fake), world=measured)
    assert values(bad) == {"row_count_delta": pytest.approx(0.998), "schema_diff": 3}
    assert bad.verdict == "failed"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "expected_row_count.json is missing"),
        ({"expected_row_count.json": "{"}, "Invalid JSON"),
        ({"expected_row_count.json": '{"table_fq": "runs", "row_count": 2, "actual": 2}'}, "actual"),
        (table({"id": "int"}, 2, "runs; DROP TABLE runs"), "not a table name"),
        (table({"id": "int"}, 2, "sqlite_master"), "system table"),
        (table({"id": "int"}, 2, "nothing"), "no table nothing"),
        ({"expected_row_count.json": b"\xff\xfe"}, "not UTF-8"),
    ],
)
def test_broken_inputs_are_failed_gates_with_their_reason(
    world: World, artifact: Builder, tmp_path: Path, files: dict[str, str | bytes], reason: str
) -> None:
    """999 and 1.0 said nothing. The value is unknown, the gate does not hold, the reason is kept in the row."""
    measured = with_database(world, tmp_path, "CREATE TABLE runs (id INTEGER); INSERT INTO runs VALUES (1), (2);")
    found = evaluate_artifact(artifact("5101-x", files), world=measured)
    assert found.verdict == "failed"
    [row] = rows(world)
    assert row.kpi_value is None
    assert row.pass_ is False
    assert reason in str(row.reason)
    assert not str(row.reason).startswith(AWAY)


def test_a_database_that_is_away_fails_the_gate_and_says_so(world: World, artifact: Builder) -> None:
    """Marked, so that the night tries again."""
    root = artifact("5101-x", table({"id": "int"}, 2))
    assert "PLMS_KPI_DATABASE_URL" in str(reasons(evaluate_artifact(root, world=world))["row_count_delta"])
    gone = replace(world, settings=world.settings.model_copy(update={"kpi_database_url": "sqlite:////no/such/x.db"}))
    assert str(reasons(evaluate_artifact(root, world=gone))["row_count_delta"]).startswith(AWAY)


@pytest.fixture
def graph_lane(world: World) -> World:
    with world.registry.writing() as session:
        session.add(LaneGate(lane_id=6100, kpi_name="graph_edge_count_delta", operator="<=", threshold=0.1))
        session.add(LaneGate(lane_id=6101, kpi_name="bleu_score", operator=">=", threshold=0.4))
    return world


def edges(cypher: str, count: int) -> dict[str, str]:
    return {"expected_edge_count.json": json.dumps({"cypher": cypher, "edge_count": count})}


def test_edges_are_counted_by_the_graph(graph_lane: World, artifact: Builder, graph_server: FakeGraph) -> None:
    """The original always found 500 edges."""
    graph_server.value = 95
    client = GraphClient(graph_server.url, database="neo4j", user="neo4j", password=None, sleep=lambda _: None)
    world = replace(graph_lane, graph=client)
    query = "MATCH ()-[r]->() RETURN count(r)"
    good = evaluate_artifact(artifact("6100-a", edges(query, 100)), world=world)
    assert (good.verdict, values(good)) == ("passed", {"graph_edge_count_delta": 0.05})
    assert evaluate_artifact(artifact("6100-b", edges(query, 500)), world=world).verdict == "failed"
    asked = len(graph_server.requests)
    evil = evaluate_artifact(artifact("6100-c", edges("MATCH (n) DETACH DELETE n RETURN 1", 1)), world=world)
    assert evil.verdict == "failed"
    assert "refused" in str(reasons(evil)["graph_edge_count_delta"])
    assert len(graph_server.requests) == asked
    away = evaluate_artifact(artifact("6100-d", edges(query, 95)), world=graph_lane)
    assert str(reasons(away)["graph_edge_count_delta"]).startswith(AWAY)


def test_generated_text_is_scored_against_its_reference(graph_lane: World, artifact: Builder) -> None:
    """At least 0.40."""
    text = "The loader reads each file once and keeps what is broken.\n"
    good = {"generated.txt": text, "reference.txt": text}
    assert evaluate_artifact(artifact("6101-a", good), world=graph_lane).verdict == "passed"
    bad = {"generated.txt": "Something else entirely was written here.\n", "reference.txt": text}
    assert evaluate_artifact(artifact("6101-b", bad), world=graph_lane).verdict == "failed"


def test_the_artifact_is_only_read(world: World, artifact: Builder) -> None:
    """Also one on a read-only disk can be evaluated; the original left caches behind."""
    root = artifact("4200-x", GOOD)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    evaluate_artifact(root, world=world)
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before


@pytest.mark.live
def test_evaluations_side_by_side_do_not_disturb_each_other(world: World, artifact: Builder) -> None:
    """The original's report had one fixed path in /tmp, and parallel runs read each other's results."""
    from concurrent.futures import ThreadPoolExecutor

    bad = {**GOOD, "tests/test_a.py": "def test_one():\n    assert False\n"}
    roots = [artifact(f"4200-{n}", GOOD if n % 2 else bad) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda root: evaluate_artifact(root, world=world).verdict, roots))
    assert found == ["failed", "passed", "failed", "passed"]


def test_a_link_to_an_artifact_is_the_artifact(world: World, artifact: Builder, tmp_path: Path) -> None:
    """A person may point at `latest`; only links inside the work are suspicious."""
    (tmp_path / "latest").symlink_to(artifact("4202-a", {"generated_docs.md": EASY}))
    assert evaluate_artifact(tmp_path / "latest", world=world).artifact == "4202-a"
