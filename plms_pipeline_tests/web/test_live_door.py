"""The attacks on Dagster's own webserver, fired at it bare and through the front door."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from plms_pipeline.dagster_internals import Webserver
from plms_pipeline.instance.process import os_user
from plms_pipeline.web.guard import FrontDoor
from plms_pipeline.web.origins import parse_allowed
from plms_pipeline_tests.web.asgi import Answer, ask, talk, text
from plms_pipeline_tests.web.conftest import TINY

# Dagster warns itself of its own deprecated functions.
pytestmark = [
    pytest.mark.live,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.xdist_group("bare_dagster"),
]

EVIL = [("host", "evil.test"), ("origin", "http://evil.test")]
EVIL_BUT_REBOUND = [("host", "localhost:3000"), ("origin", "http://evil.test")]
OURS = [("host", "localhost:3000"), ("origin", "http://localhost:3000"), ("content-type", "application/json")]
JOB = f'selector: {{repositoryLocationName: "{TINY}", repositoryName: "__repository__", jobName: "tiny_job"}}'
TAGS = 'executionMetadata: {tags: [{key: "plms/actor", value: "user:boss"}]}'
LAUNCH = f"launchRun(executionParams: {{{JOB}, runConfigData: {{}}, {TAGS}}}) {{ __typename }}"
BY_GET = urlencode({"query": f"mutation {{ {LAUNCH} }}"})
RUNS = "{ runsOrError { ... on Runs { results { runId tags { key value } } } } }"


def graphql(app: Any, document: str, headers: list[tuple[str, str]] | None = None) -> Answer:
    return ask(app, "POST", "/graphql", headers or OURS, json.dumps({"query": document}).encode())


def runs(bare: Webserver) -> list[dict[str, str]]:
    """The tags of every run, newest first."""
    found = graphql(bare.app, RUNS).json()["data"]["runsOrError"]["results"]
    return [{tag["key"]: tag["value"] for tag in run["tags"]} for run in found]


@pytest.fixture
def door(bare: Webserver) -> FrontDoor:
    return FrontDoor(bare.app, parse_allowed(["localhost", "127.0.0.1"]), f"local:{os_user()}")


def test_the_code_location_loads(bare: Webserver) -> None:
    """Nothing below would mean anything."""
    assert bare.load_errors == ()


@pytest.mark.parametrize("path", ["/graphql", "/graphql\n"])
def test_bare_dagster_runs_a_mutation_that_another_site_sends_by_get(bare: Webserver, path: str) -> None:
    """The reason for the door. Should this fail one day, Dagster has closed the hole: rejoice, and read its notes."""
    before = len(runs(bare))
    assert "LaunchRunSuccess" in ask(bare.app, "GET", path, EVIL, query=BY_GET).body.decode()
    after = runs(bare)
    assert len(after) == before + 1
    assert after[0]["plms/actor"] == "anonymous:unguarded"


def test_bare_dagster_takes_json_that_needs_no_preflight(bare: Webserver) -> None:
    """`text/plain; x=application/json` is what any site may send, and what Dagster takes for JSON."""
    headers = [*EVIL, ("content-type", "text/plain; x=application/json")]
    assert "LaunchRunSuccess" in graphql(bare.app, f"mutation {{ {LAUNCH} }}", headers).body.decode()


def test_bare_dagster_lets_anybody_report_a_check_as_passed(bare: Webserver) -> None:
    """Which is why no gate of ours asks Dagster whether a check passed."""
    query = urlencode({"check_name": "every_row_is_counted", "passed": "true"})
    assert ask(bare.app, "POST", "/report_asset_check/tiny_receipts", EVIL, query=query).status == 200


def test_bare_dagster_accepts_a_websocket_from_another_site(bare: Webserver) -> None:
    """Browsers send it with Origin and leave the judgement to the server."""
    sent = talk(bare.app, [text({"type": "connection_init"})], EVIL)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send"]


def test_a_mutation_over_dagster_s_websocket_is_stopped_by_its_schema_alone(bare: Webserver) -> None:
    """It is handed on as if it were a subscription; the door does not rely on what happens next."""
    before = len(runs(bare))
    start = text({"type": "start", "id": "1", "payload": {"query": f"mutation {{ {LAUNCH} }}"}})
    sent = talk(bare.app, [text({"type": "connection_init"}), start], EVIL)
    assert json.loads(sent[-1]["text"])["type"] == "error"
    assert len(runs(bare)) == before


@pytest.mark.parametrize(
    ("method", "path", "headers", "query"),
    [
        ("GET", "/graphql", EVIL, BY_GET),
        ("GET", "/graphql", EVIL_BUT_REBOUND, BY_GET),
        ("GET", "/graphql", [("host", "localhost:3000")], BY_GET),
        ("GET", "/graphql\n", [("host", "localhost:3000")], BY_GET),
        ("POST", "/graphql", [*EVIL_BUT_REBOUND, ("content-type", "text/plain")], BY_GET),
        ("POST", "/graphql", [*OURS[:2], ("content-type", "application/x-www-form-urlencoded")], BY_GET),
        ("POST", "/graphql", [*EVIL_BUT_REBOUND, ("content-type", "application/json")], BY_GET),
        ("POST", "/report_asset_check/tiny_receipts", OURS, "check_name=every_row_is_counted&passed=true"),
    ],
)
def test_none_of_these_gets_through_the_door(
    bare: Webserver, door: FrontDoor, method: str, path: str, headers: list[tuple[str, str]], query: str
) -> None:
    """Each of them starts a run or forges a check on bare Dagster."""
    before = len(runs(bare))
    body = json.dumps({"query": f"mutation {{ {LAUNCH} }}"}).encode() if method == "POST" else b""
    answer = ask(door, method, path, headers, body, query)
    assert answer.status in (400, 403, 405, 415)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(runs(bare)) == before


def test_our_own_page_launches_and_is_named_whatever_it_claims(bare: Webserver, door: FrontDoor) -> None:
    """The header and the tag that the client sends both name somebody else."""
    claims = [*OURS, ("x-plms-actor", "user:boss")]
    assert "LaunchRunSuccess" in graphql(door, f"mutation {{ {LAUNCH} }}", claims).body.decode()
    newest = runs(bare)[0]
    assert newest["plms/actor"] == f"local:{os_user()}"
    assert newest["plms/launched_from"] == "ui"


def test_a_backfill_carries_the_actor_of_the_door(bare: Webserver, door: FrontDoor) -> None:
    """Its runs are submitted later, by the daemon, without any request."""
    document = """mutation { launchPartitionBackfill(backfillParams: {
        assetSelection: [{path: ["tiny_priors"]}], partitionNames: ["a"],
        tags: [{key: "plms/actor", value: "user:boss"}]
    }) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
    result = graphql(door, document).json()["data"]["launchPartitionBackfill"]
    assert result["__typename"] == "LaunchBackfillSuccess", result
    shown = graphql(
        bare.app,
        f'{{ partitionBackfillOrError(backfillId: "{result["backfillId"]}") '
        "{ ... on PartitionBackfill { tags { key value } } } }",
    ).json()["data"]["partitionBackfillOrError"]["tags"]
    assert {"key": "plms/actor", "value": f"local:{os_user()}"} in shown


def test_a_check_reported_by_hand_says_who_reported_it(bare: Webserver, door: FrontDoor) -> None:
    """The UI's own button for it stays usable."""
    document = """mutation { reportRunlessAssetEvents(eventParams: {
        eventType: ASSET_MATERIALIZATION, assetKey: {path: ["tiny_receipts"]}
    }) { __typename ... on PythonError { message } } }"""
    result = graphql(door, document).json()["data"]["reportRunlessAssetEvents"]
    assert result["__typename"] == "ReportRunlessAssetEventsSuccess", result
    shown = graphql(
        bare.app,
        '{ assetOrError(assetKey: {path: ["tiny_receipts"]}) '
        "{ ... on Asset { assetMaterializations(limit: 1) { tags { key value } } } } }",
    ).json()["data"]["assetOrError"]["assetMaterializations"][0]["tags"]
    assert {"key": "plms/actor", "value": f"local.{os_user()}"} in shown


def test_the_ui_s_page_and_files_come_through(door: FrontDoor) -> None:
    """With Dagster's own content policy, and ours beside it."""
    page = ask(door, "GET", "/runs", OURS[:1])
    assert page.status == 200
    policies = [value.decode() for name, value in page.raw_headers if name == b"content-security-policy"]
    assert policies[-1] == "frame-ancestors 'none'"
    assert len(policies) == 2
    assert ask(door, "GET", "/favicon.png", OURS[:1]).status == 200


def test_subscriptions_come_through(door: FrontDoor) -> None:
    """Live logs and code location changes are streamed."""
    document = 'subscription { pipelineRunLogs(runId: "none") { __typename } }'
    start = text({"type": "start", "id": "1", "payload": {"query": document}})
    sent = talk(door, [text({"type": "connection_init"}), start], OURS[:2])
    assert [message["type"] for message in sent][:2] == ["websocket.accept", "websocket.send"]
    assert "websocket.close" not in [message["type"] for message in sent]
