"""A browser that holds our UI open visits another site."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from plms_pipeline_tests.ui.houses import ENDED, LOCATION, Ui, eventually

pytestmark = pytest.mark.ui

ASSET = "kpi_pass_rates"
MUTATION = (
    f'mutation {{ launchRun(executionParams: {{selector: {{repositoryLocationName: "{LOCATION}", repositoryName: '
    f'"__repository__", jobName: "__ASSET_JOB", assetSelection: [{{path: ["{ASSET}"]}}]}}, runConfigData: {{}}}}) '
    "{ __typename } }"
)


def launches(ui: Ui) -> list[dict[str, Any]]:
    """The runs of assets: what is launched here, and by no sensor of the house."""
    return [run for run in ui.runs() if run["jobName"] == "__ASSET_JOB"]


def _visit(page: Any, site: Any, html: str, until: Callable[[], Any]) -> None:
    site.page = f"<!doctype html><title>Another site</title><h1>Kittens</h1>{html}"
    page.goto(f"http://localhost:{site.server_address[1]}/")
    eventually(until, page)


def test_an_image_on_another_site_launches_nothing(ui: Ui, page: Any, other_site: Any, screenshots: Path) -> None:
    """On bare Dagster this one line of HTML starts a run."""
    ui.sign_in(page)
    before = len(launches(ui))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/graphql" in request.url else None)
    image = f'<img src="{ui.url}/graphql?query={quote(MUTATION)}" onerror="window.failed = true">'
    _visit(page, other_site, image, lambda: page.evaluate("window.failed"))
    assert len(asked) == 1
    page.screenshot(path=str(screenshots / "other-site.png"))
    page.goto(f"{ui.url}/graphql?query={quote(MUTATION)}")
    assert json.loads(page.inner_text("body"))["code"] == "mutation_needs_post"
    page.screenshot(path=str(screenshots / "refused-mutation.png"))
    assert len(launches(ui)) == before


@pytest.mark.parametrize("enctype", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_form_on_another_site_launches_nothing(ui: Ui, page: Any, other_site: Any, enctype: str) -> None:
    """A form needs no preflight, and Dagster reads the mutation from the address it is posted to."""
    ui.sign_in(page)
    before = len(launches(ui))
    form = f'<form id="f" method="post" enctype="{enctype}" action="{ui.url}/graphql?query={quote(MUTATION)}"></form>'
    _visit(page, other_site, f"{form}<script>f.submit()</script>", lambda: page.url.startswith(ui.url))
    assert json.loads(page.inner_text("body"))["code"] == "cross_origin"
    assert len(launches(ui)) == before


def test_a_script_on_another_site_launches_nothing(ui: Ui, page: Any, other_site: Any) -> None:
    """Neither by a request that it may send blindly nor over a WebSocket, which has no same-origin policy."""
    ui.sign_in(page)
    before = len(launches(ui))
    script = f"""<script>
      const body = JSON.stringify({{query: {json.dumps(MUTATION)}}});
      const types = ["text/plain", "text/plain; x=application/json"];
      const sent = types.map(type => fetch("{ui.url}/graphql",
        {{method: "POST", mode: "no-cors", body, headers: {{"Content-Type": type}}}}).catch(() => 0));
      const socket = new WebSocket("{ui.url.replace("http", "ws")}/graphql", "graphql-ws");
      const closed = new Promise(done => {{ socket.onopen = () => done("open"); socket.onerror = () => done("refused"); }});
      Promise.all([closed, ...sent]).then(([how]) => {{ window.how = how; }});
    </script>"""
    _visit(page, other_site, script, lambda: page.evaluate("window.how"))
    assert page.evaluate("window.how") == "refused"
    assert len(launches(ui)) == before


def test_another_site_cannot_frame_us(ui: Ui, page: Any, other_site: Any) -> None:
    """A transparent frame over a harmless button would have people press our buttons unseen."""
    seen: list[int] = []
    page.on("response", lambda answer: seen.append(answer.status) if answer.url.startswith(ui.url) else None)
    _visit(page, other_site, f'<iframe src="{ui.url}/runs"></iframe>', lambda: seen)
    assert seen == [403]


def test_our_own_page_may_send_the_very_same_mutation(ui: Ui, page: Any) -> None:
    """Otherwise the tests above would pass with a mutation that is simply wrong."""
    ui.sign_in(page)
    before = len(launches(ui))
    ui.visit(page, "/runs")
    answer = page.evaluate(
        """query => fetch("/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
           body: JSON.stringify({query})}).then(answer => answer.json())""",
        MUTATION,
    )
    assert answer["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    eventually(lambda: len(launches(ui)) == before + 1)


def test_a_person_materializes_an_asset_and_is_named(ui: Ui, page: Any, screenshots: Path) -> None:
    """The whole way: button, front door, queue, daemon, code server, and the tag that says who pressed it."""
    eventually(lambda: all(run["status"] in ENDED for run in ui.runs()))
    before = {run["runId"] for run in launches(ui)}
    ui.sign_in(page, "operator")
    ui.visit(page, f"/assets/{ASSET}")
    page.get_by_role("button", name="Materialize").first.click()
    (run,) = eventually(
        lambda: [run for run in launches(ui) if run["runId"] not in before and run["status"] == "SUCCESS"]
    )
    assert run["tags"]["plms/launched_from"] == "ui"
    assert (run["tags"]["plms/actor"], run["tags"]["plms/actor_verified"]) == ("a-operator", "yes")
    ui.visit(page, f"/runs/{run['runId']}")
    page.get_by_text("Success", exact=True).first.wait_for()
    page.screenshot(path=str(screenshots / "run.png"))
