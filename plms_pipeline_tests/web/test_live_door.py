"""The attacks on Dagster's own webserver, fired at it bare and through the front door."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from plms_pipeline.access.actors import Actor
from plms_pipeline.access.principals import unchecked
from plms_pipeline.instance.process import os_user
from plms_pipeline.web.door.service import looking_up
from plms_pipeline.web.guard import FrontDoor
from plms_pipeline_tests.web.asgi import Answer, ask, talk, text
from plms_pipeline_tests.web.conftest import TINY, Bare
from plms_pipeline_tests.web.doors import open_door, session, signed_door

# Dagster warns itself of its own deprecated functions.
pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

EVIL = [("host", "evil.test"), ("origin", "http://evil.test")]
EVIL_BUT_REBOUND = [("host", "localhost:3000"), ("origin", "http://evil.test")]
OURS = [("host", "localhost:3000"), ("origin", "http://localhost:3000"), ("content-type", "application/json")]
JOB = f'selector: {{repositoryLocationName: "{TINY}", repositoryName: "__repository__", jobName: "tiny_job"}}'
TAGS = 'executionMetadata: {tags: [{key: "plms/actor", value: "user:boss"}]}'
LAUNCH = f"launchRun(executionParams: {{{JOB}, runConfigData: {{}}, {TAGS}}}) {{ __typename }}"
PLAIN = f"launchRun(executionParams: {{{JOB}, runConfigData: {{}}}}) {{ __typename }}"
BY_GET = urlencode({"query": f"mutation {{ {LAUNCH} }}"})
RUNS = "{ runsOrError { ... on Runs { results { runId tags { key value } } } } }"


def graphql(app: Any, document: str, headers: list[tuple[str, str]] | None = None) -> Answer:
    return ask(app, "POST", "/graphql", headers or OURS, json.dumps({"query": document}).encode())


def runs(bare: Bare) -> list[dict[str, str]]:
    """The tags of every run, newest first."""
    found = graphql(bare.app, RUNS).json()["data"]["runsOrError"]["results"]
    return [{tag["key"]: tag["value"] for tag in run["tags"]} for run in found]


@pytest.fixture
def door(bare: Bare) -> FrontDoor:
    return open_door(
        bare.ours.app, everybody=unchecked(Actor(f"local:{os_user()}")), look_up=looking_up(bare.ours.history)
    )


@pytest.fixture
def signed(bare: Bare) -> FrontDoor:
    return signed_door(bare.ours.app, look_up=looking_up(bare.ours.history))


def test_the_code_location_loads(bare: Bare) -> None:
    """Nothing below would mean anything."""
    assert bare.ours.load_errors == ()


@pytest.mark.parametrize("path", ["/graphql", "/graphql\n"])
def test_bare_dagster_runs_a_mutation_that_another_site_sends_by_get(bare: Bare, path: str) -> None:
    """The reason for the door. Should this fail one day, Dagster has closed the hole: rejoice, and read its notes."""
    before = len(runs(bare))
    assert "LaunchRunSuccess" in ask(bare.app, "GET", path, EVIL, query=BY_GET).body.decode()
    after = runs(bare)
    assert len(after) == before + 1
    assert after[0]["plms/actor"] == "anonymous:unguarded"


def test_bare_dagster_takes_json_that_needs_no_preflight(bare: Bare) -> None:
    """`text/plain; x=application/json` is what any site may send, and what Dagster takes for JSON."""
    headers = [*EVIL, ("content-type", "text/plain; x=application/json")]
    assert "LaunchRunSuccess" in graphql(bare.app, f"mutation {{ {LAUNCH} }}", headers).body.decode()


def test_bare_dagster_lets_anybody_report_a_check_as_passed(bare: Bare) -> None:
    """Which is why no gate of ours asks Dagster whether a check passed."""
    query = urlencode({"check_name": "every_row_is_counted", "passed": "true"})
    assert ask(bare.app, "POST", "/report_asset_check/tiny_receipts", EVIL, query=query).status == 200


def test_bare_dagster_accepts_a_websocket_from_another_site(bare: Bare) -> None:
    """Browsers send it with Origin and leave the judgement to the server."""
    sent = talk(bare.app, [text({"type": "connection_init"})], EVIL)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send"]


def test_a_mutation_over_dagster_s_websocket_is_stopped_by_its_schema_alone(bare: Bare) -> None:
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
    bare: Bare, door: FrontDoor, method: str, path: str, headers: list[tuple[str, str]], query: str
) -> None:
    """Each of them starts a run or forges a check on bare Dagster."""
    before = len(runs(bare))
    body = json.dumps({"query": f"mutation {{ {LAUNCH} }}"}).encode() if method == "POST" else b""
    answer = ask(door, method, path, headers, body, query)
    assert answer.status in (400, 403, 405, 415)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(runs(bare)) == before


def test_our_own_page_launches_and_is_named_whatever_it_claims(bare: Bare, door: FrontDoor) -> None:
    """The header that the client sends names somebody else, and so does a tag, which is refused."""
    claims = [*OURS, ("x-plms-actor", "user:boss")]
    assert graphql(door, f"mutation {{ {LAUNCH} }}", claims).code == "reserved_tag"
    assert "LaunchRunSuccess" in graphql(door, f"mutation {{ {PLAIN} }}", claims).body.decode()
    newest = runs(bare)[0]
    assert newest["plms/actor"] == f"local:{os_user()}"
    assert newest["plms/launched_from"] == "ui"


def test_a_backfill_carries_the_actor_of_the_door(bare: Bare, door: FrontDoor) -> None:
    """Its runs are submitted later, by the daemon, without any request."""
    document = """mutation { launchPartitionBackfill(backfillParams: {
        assetSelection: [{path: ["tiny_priors"]}], partitionNames: ["a"]
    }) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
    result = graphql(door, document).json()["data"]["launchPartitionBackfill"]
    assert result["__typename"] == "LaunchBackfillSuccess", result
    shown = graphql(
        bare.app,
        f'{{ partitionBackfillOrError(backfillId: "{result["backfillId"]}") '
        "{ ... on PartitionBackfill { tags { key value } } } }",
    ).json()["data"]["partitionBackfillOrError"]["tags"]
    assert {"key": "plms/actor", "value": f"local:{os_user()}"} in shown


def test_a_check_reported_by_hand_says_who_reported_it(bare: Bare, door: FrontDoor) -> None:
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


def test_dagster_refuses_what_did_not_come_through_the_door(bare: Bare) -> None:
    """The second lock: whoever found a way round the guard may look and do nothing."""
    before = len(runs(bare))
    assert "UnauthorizedError" in graphql(bare.ours.app, f"mutation {{ {PLAIN} }}").body.decode()
    assert len(runs(bare)) == before
    shown = graphql(bare.ours.app, "{ permissions { permission value disabledReason } }").json()["data"]["permissions"]
    assert {each["value"] for each in shown} == {False}
    assert "front door" in shown[0]["disabledReason"]


def test_who_signed_in_launches_and_is_verified_and_a_viewer_does_not(bare: Bare, signed: FrontDoor) -> None:
    """The tags by which a decision knows that the second person is one."""
    before = len(runs(bare))
    assert graphql(signed, f"mutation {{ {PLAIN} }}", [*OURS, session("viewer", "bob")]).code == "missing_scope"
    assert graphql(signed, f"mutation {{ {PLAIN} }}").code == "sign_in_needed"
    assert len(runs(bare)) == before
    # No job of this code location has a rule, so it is an administrator's to launch.
    assert graphql(signed, f"mutation {{ {PLAIN} }}", [*OURS, session("operator", "ada")]).code == "missing_scope"
    answer = graphql(signed, f"mutation {{ {PLAIN} }}", [*OURS, session("admin", "eve")])
    assert "LaunchRunSuccess" in answer.body.decode()
    said = {key: value for key, value in runs(bare)[0].items() if key.startswith("plms/")}
    assert said == {
        "plms/actor": "eve", "plms/launched_from": "ui", "plms/actor_verified": "yes", "plms/actor_role": "admin",
    }  # fmt: skip


def test_a_run_is_repeated_and_ended_by_who_may_launch_its_job(bare: Bare, signed: FrontDoor) -> None:
    """Its job stands in the instance and not in the request."""
    graphql(signed, f"mutation {{ {PLAIN} }}", [*OURS, session("admin", "eve")])
    found = graphql(bare.app, "{ runsOrError { ... on Runs { results { runId } } } }").json()
    run_id = found["data"]["runsOrError"]["results"][0]["runId"]
    end = f'mutation {{ terminateRun(runId: "{run_id}") {{ __typename }} }}'
    assert graphql(signed, end, [*OURS, session("operator")]).code == "missing_scope"
    again = (
        f'mutation {{ launchRunReexecution(reexecutionParams: {{parentRunId: "{run_id}", strategy: ALL_STEPS}}) '
        "{ __typename } }"
    )
    assert graphql(signed, again, [*OURS, session("operator")]).code == "missing_scope"
    assert "data" in graphql(signed, end, [*OURS, session("admin")]).json()


PERMISSIONS = "{ permissions { permission value } }"
MAY_LAUNCH = (
    f'{{ pipelineOrError(params: {{repositoryLocationName: "{TINY}", repositoryName: "__repository__", '
    'pipelineName: "tiny_job"}) { ... on Pipeline { hasLaunchExecutionPermission hasLaunchReexecutionPermission } } '
    'assetNodeOrError(assetKey: {path: ["tiny_receipts"]}) '
    "{ ... on AssetNode { hasMaterializePermission hasWipePermission } } }"
)


@pytest.mark.parametrize(
    ("role", "launches", "wipes", "this_job"),
    [("viewer", False, False, False), ("operator", True, False, False), ("admin", True, True, True)],
)
def test_dagster_s_pages_show_what_the_role_may_do(
    signed: FrontDoor, role: str, launches: bool, wipes: bool, this_job: bool
) -> None:
    """A button that is shown and refused teaches people to try things."""
    headers = [*OURS, session(role)]
    shown = graphql(signed, PERMISSIONS, headers).json()["data"]["permissions"]
    held = {each["permission"]: each["value"] for each in shown}
    assert (held["launch_pipeline_execution"], held["wipe_assets"]) == (launches, wipes)
    data = graphql(signed, MAY_LAUNCH, headers).json()["data"]
    assert set(data["pipelineOrError"].values()) == {this_job}
    assert data["assetNodeOrError"] == {"hasMaterializePermission": launches, "hasWipePermission": wipes}


def test_the_door_looks_up_runs_jobs_and_backfills(bare: Bare, signed: FrontDoor) -> None:
    """What it does not find it takes for the strictest."""
    history = bare.ours.history
    assert history.run("no-such-run") is None
    assert history.backfill_job("no-such-backfill") is None
    assert history.job_tags("no_such_job") == {}
    assert history.job_tags("tiny_job") == {"dagster/max_runtime": "600"}
    document = """mutation { launchPartitionBackfill(backfillParams: {
        assetSelection: [{path: ["tiny_priors"]}], partitionNames: ["b"]
    }) { ... on LaunchBackfillSuccess { backfillId } } }"""
    answer = graphql(signed, document, [*OURS, session("operator", "ada")]).json()
    backfill_id = answer["data"]["launchPartitionBackfill"]["backfillId"]
    assert history.backfill_job(backfill_id) == "__ASSET_JOB"
    # Dagster's own page sends the job's tags with a launch.
    launch = PLAIN.replace(
        "runConfigData: {}", 'executionMetadata: {tags: [{key: "dagster/max_runtime", value: "600"}]}'
    )
    assert "LaunchRunSuccess" in graphql(signed, f"mutation {{ {launch} }}", [*OURS, session("admin")]).body.decode()
