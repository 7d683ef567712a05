"""Can the page be trusted, read and used: live, by keyboard, on a phone, in the dark, by every role, and when things break?

One server for all of them, with a working day in its books.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from plms_pipeline.alerts.machine import State
from plms_pipeline.alerts.store import states
from plms_pipeline.clock import SystemClock
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project
from plms_pipeline.settings import load_settings
from plms_pipeline.web.page.changes import SECTIONS
from plms_pipeline_tests.api_world import World, live, world
from plms_pipeline_tests.ui.conftest import looked_at
from plms_pipeline_tests.web.page.worlds import HOSTILE, control_room

pytestmark = pytest.mark.ui

WIDE, PHONE = (1680, 1050), (360, 740)
SEEN_WITHIN_S = 2.0
PANELS = [name for name in SECTIONS if name != "alerts"]


@dataclass(frozen=True)
class Room:
    """A server with a working day in its books, and browsers for it."""

    url: str
    made: World
    tab: Any

    @contextmanager
    def page(
        self, role: str | None = "admin", *, size: tuple[int, int] = WIDE, scheme: str = "dark", subject: str | None = None,
        is_open: bool = True, reduced_motion: str = "no-preference",
    ) -> Iterator[Any]:  # fmt: skip
        """A page that somebody with a role looks at, live; a script that fails anywhere in it fails the test."""
        with looked_at(self.tab, size, scheme, reduced_motion) as page:
            if role is not None:
                token = self.made.token(role, subject)
                page.context.add_cookies([{"name": "plms_session", "value": token, "url": self.url}])
            if is_open:
                page.goto(self.url)
                page.locator("#live[data-state=live]").wait_for()
                for name in PANELS:
                    page.locator(f"#{name} .body > :not(.skeleton)").first.wait_for()
            yield page


@pytest.fixture(scope="module")
def room(tab: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder, clock = tmp_path_factory.mktemp("hmi"), SystemClock()
    settings = load_settings({"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports")})
    migrate.upgrade(settings.database_url)
    registry = Registry.open(settings.database_url)
    control_room(registry, clock.now(), projects=16)
    nights(folder / "reports", clock.now())
    made = world(settings, registry, clock)
    with live(made.app) as client:
        yield Room(str(client.base_url), made, tab)
        made.state.extras["is_ending"] = lambda: True
    registry.close()


def nights(reports: Path, now: datetime) -> None:
    """Two nights, the older one with a broken book."""
    for day, is_good in ((now.date().isoformat(), True), ("2026-02-27", False)):
        folder = reports / "nightly" / day
        folder.mkdir(parents=True)
        check = {
            "name": "every_run_has_a_passport",
            "passed": is_good,
            "checked": 40,
            "violations": int(not is_good),
            "errors": [],
        }
        summary = {"status": "pass" if is_good else "fail", "total_violations": check["violations"]}
        proof = {"timestamp": f"{day}T07:00:00+00:00", "summary": summary, "checks": {"a": check}}
        (folder / "invariants.json").write_text(json.dumps(proof), encoding="utf-8")


def rename(room: Room, project_id: int, name: str) -> float:
    """Commit a change; when that was."""
    with room.made.state.registry.writing() as session:
        session.execute(update(Project).where(Project.id == project_id).values(name=name))
    return time.monotonic()


def serious(page: Any) -> list[str]:
    """What axe-core finds that keeps people out."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_a_change_is_seen_within_two_seconds(room: Room) -> None:
    """Who looks at a runway that is half a minute old decides about another project than there is."""
    with room.page() as page:
        took = []
        for place in range(5):
            began = rename(room, 16, f"Seen at once {place}")
            page.get_by_role("button", name=f"Seen at once {place}", exact=True).wait_for()
            took.append(time.monotonic() - began)
        # One may fall into a moment in which the machine does something else.
        assert sorted(took)[-2] < SEEN_WITHIN_S, took
        page.locator("#find").fill("nothing is called so")
        assert "No project is like that" in page.locator("#projects").inner_text()


def test_no_section_rests_before_it_was_asked_for_once(room: Room) -> None:
    """Risk and drift stood empty for the three seconds that lie between two askings, each time that the page was opened."""
    with room.page() as page:
        asked = page.evaluate(
            """names => names.map(name => performance.getEntriesByType("resource")
               .find(one => one.name.endsWith(name)).startTime)""",
            ["/api/inbox", "/api/page/projects", "/api/page/risk", "/api/page/drift"],
        )
        assert max(asked) - min(asked) < 1000


@pytest.mark.parametrize(("scheme", "size"), [("dark", WIDE), ("light", WIDE), ("dark", PHONE), ("light", PHONE)])
def test_everybody_can_read_it(scheme: str, size: tuple[int, int], room: Room, screenshots: Path) -> None:
    """At three in the morning, on a phone, with a screen reader, by somebody who tells no red from green."""
    with room.page(scheme=scheme, size=size) as page:
        page.screenshot(path=str(screenshots / f"hmi-{scheme}-{size[0]}.png"), full_page=size == PHONE)
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("#tiles a").first.bounding_box()["y"] < 260


def test_an_alert_says_first_what_nobody_has_and_what_to_do(room: Room, screenshots: Path) -> None:
    """Who was woken needs the next step, not the name of a file in a repository that is not on the phone."""
    now = SystemClock().now()
    base = State(
        "disk_1gb", "", "firing", "P1", 0.5, "half a GiB is free", crossed_at=now, fired_at=now, changed_at=now
    )
    many = [replace(base, subject=f"disk:{n:03}", episode_id=f"{n:08}-x") for n in range(230)]
    taken = replace(base, rule="killswitch_on", subject="killswitch:global", state="acked", severity="P0",
                    episode_id="ffffffff-x", acked_by="ada", acked_at=now)  # fmt: skip
    with room.made.state.registry.writing() as session:
        states.keep(session, [*many, taken])
    try:
        with room.page(size=(1280, 900)) as page:
            alerts = page.locator("#alerts")
            alerts.get_by_text("231 open · 230 nobody has").wait_for()
            assert page.locator("[data-key=t-alerts]").inner_text().split()[:2] == ["Alerts", "231"]
            assert "P1 alert" in page.title()
            assert alerts.locator(".lines > li").count() == 5
            assert "disk:000" in alerts.locator(".lines > li").first.inner_text()
            assert "31 more are not shown" in alerts.inner_text()
            assert alerts.bounding_box()["y"] < page.locator("#inbox").bounding_box()["y"]
            for name in ("projects", "risk"):
                assert (
                    page.evaluate(f"(e => e.scrollWidth - e.clientWidth)(document.querySelector('#{name} .scroll'))")
                    <= 0
                )
            alerts.get_by_role("button", name="What to do").first.click()
            page.get_by_role("dialog").get_by_role("heading", name="First look").wait_for()
            assert "plms " in page.get_by_role("dialog").locator("pre").first.inner_text()
            page.screenshot(path=str(screenshots / "hmi-what-to-do.png"))
            assert serious(page) == []
    finally:
        with room.made.state.registry.writing() as session:
            states.keep(session, [replace(one, state="resolved", resolved_at=now) for one in (*many, taken)])


def test_decisions_are_taken_by_keyboard_alone(room: Room, screenshots: Path) -> None:
    """A mouse is no precondition for letting a project go on."""
    with room.page("approver") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        press = page.get_by_role("button", name="Approve …")
        press.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("table", name="Planned tasks").wait_for()
        page.screenshot(path=str(screenshots / "hmi-decision.png"))
        assert serious(page) == []
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        assert press.evaluate("node => node === document.activeElement")
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Approve", exact=True).and_(page.locator(":enabled")).wait_for()
        page.locator("#reason").focus()
        page.keyboard.type("within the plan")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        dialog.wait_for(state="hidden")
        page.locator("#inbox").get_by_text("Approve Warehouse loader").wait_for(state="detached")
        page.wait_for_timeout(100)
        assert "Done" in page.locator("#told").inner_text()
    with room.made.state.registry.reading() as session:
        assert session.get_one(Project, 801).status == "approved"


def test_a_refusal_says_why_and_keeps_what_was_written(room: Room) -> None:
    """Whoever wrote three sentences of reason writes them once."""
    with room.page("admin") as page:
        page.route("**/apply", lambda route: route.fulfill(
            status=409, content_type="application/problem+json",
            body=json.dumps({"detail": "The lane changed since; look at it again.", "code": "lane_changed", "status": 409}),
        ))  # fmt: skip
        page.locator("#inbox [data-act=decide]").first.wait_for()
        # What another test has decided is gone, and a short list has no more to show.
        if page.locator("#inbox [data-act=more]").count():
            page.locator("#inbox [data-act=more]").click()
        page.get_by_role("button", name="Apply …").click()
        page.locator("#reason").fill("busy all week")
        page.get_by_role("button", name="Apply", exact=True).click()
        page.get_by_role("dialog").get_by_text("The lane changed since; look at it again.").wait_for()
        assert page.locator("#reason").input_value() == "busy all week"


def test_a_model_that_its_gates_keep_back_is_rejected_with_that_in_sight(room: Room) -> None:
    """Whoever decides about a model must see what was measured of it, and never a button that would only be refused."""
    with room.page("approver") as page:
        page.locator("#inbox [data-act=decide]").first.wait_for()
        if page.locator("#inbox [data-act=more]").count():
            page.locator("#inbox [data-act=more]").click()
        entry = page.locator("#inbox .entry").filter(has_text="It cannot be approved as it is.")
        entry.wait_for()
        assert entry.get_by_role("button", name="Approve as risk lead …").count() == 0
        entry.get_by_role("button", name="Reject …").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("gates did not pass: deflated_sharpe").wait_for()
        assert serious(page) == []
        page.locator("#reason").fill("it is noise")
        dialog.get_by_role("button", name="Reject", exact=True).click()
        dialog.wait_for(state="hidden")
        entry.wait_for(state="detached")


def test_roles_decide_what_is_offered(room: Room) -> None:
    """A button that is always refused teaches people to ignore refusals."""
    with room.page("viewer") as page:
        assert page.locator("#inbox [data-act=decide]").count() == 0
        assert "This takes the role approver." in page.locator("#inbox").inner_text()
        assert page.get_by_role("button", name="Stop …").count() == 0
    with room.page("admin") as page:
        page.get_by_role("button", name="Stop …").click()
        page.locator("#reason").fill("runaway spend")
        page.get_by_role("button", name="Stop it").click()
        page.locator("#tiles .tile.critical", has_text="ON").wait_for()
        page.get_by_role("button", name="Release everything …").click()
        page.locator("#reason").fill("it was a false alarm")
        page.get_by_role("button", name="Release", exact=True).click()
        page.locator("#killswitch").get_by_text("Work may start.").wait_for()


def test_names_of_somebody_else_stay_text(room: Room) -> None:
    """A project's name comes from whoever makes projects; the page is used by whoever stops them."""
    with room.page() as page:
        page.locator("#find").fill("#6")
        shown = page.locator("#projects [data-key=project-6] button")
        assert shown.inner_text().replace("\u202e", "") == HOSTILE.replace("\u202e", "")
        shown.click()
        page.get_by_role("dialog").get_by_role("heading", name="#6").wait_for()
        assert page.locator("main img, main script, dialog img, dialog script").count() == 0
        assert (
            page.evaluate(
                "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'ran'; } catch { return 'refused'; } })()"
            )
            == "refused"
        )


def test_it_says_when_it_is_not_live_and_catches_up(room: Room, screenshots: Path) -> None:
    """A page that quietly stopped is worse than none: everybody believes it."""
    with room.page(is_open=False) as page:
        page.route("**/api/events", lambda route: route.abort())
        page.goto(room.url)
        page.locator("#live[data-state=lost]").wait_for()
        assert re.search(r"not live since \d\d:\d\d:\d\d UTC", page.locator("#live").inner_text())
        page.locator("#banner").wait_for()
        page.screenshot(path=str(screenshots / "hmi-stale.png"))
        assert serious(page) == []
        rename(room, 16, "Renamed meanwhile")
        page.unroute("**/api/events")
        page.locator("#live[data-state=live]").wait_for()
        page.get_by_role("button", name="Renamed meanwhile").wait_for()
        assert page.locator("#banner").is_hidden()


def test_loading_failing_and_empty_sections_say_so(room: Room, screenshots: Path) -> None:
    """An empty box may mean that all is well, that nothing has come yet, or that something broke."""
    problem = {"detail": "The registry does not answer; check PLMS_DATABASE_URL.", "code": "registry_unavailable",
               "status": 429, "request_id": "0b7c9a54-9a3f"}  # fmt: skip
    with room.page(is_open=False) as page:
        held: list[Any] = []
        page.route("**/api/page/portfolio", lambda route: held.append(route))  # noqa: PLW0108 - it takes no built-in
        page.route("**/api/page/risk", lambda route: route.fulfill(
            status=429, content_type="application/problem+json", body=json.dumps(problem)))  # fmt: skip
        page.route("**/api/page/projects*", lambda route: route.fulfill(
            json={"as_of": "2026-03-01T12:00:00Z", "projects": [], "gone": [], "in_all": 0}))  # fmt: skip
        page.route("**/api/inbox", lambda route: route.fulfill(
            json={"as_of": "2026-03-01T12:00:00Z", "counts": {}, "items": []}))  # fmt: skip
        page.goto(room.url)
        page.locator("#risk .refusal").wait_for()
        assert "check PLMS_DATABASE_URL" in page.locator("#risk").inner_text()
        assert "No project is open" in page.locator("#projects").inner_text()
        assert "Nothing waits for a decision" in page.locator("#inbox").inner_text()
        assert page.locator("#portfolio .skeleton").count() == 1
        assert page.locator("#portfolio").get_attribute("aria-busy") == "true"
        page.screenshot(path=str(screenshots / "hmi-states.png"))
        assert serious(page) == []
        page.unroute("**/api/page/risk")
        page.locator("#risk").get_by_role("button", name="Try again").click()
        page.locator("#risk table").wait_for()
        for route in held:
            route.abort()
        page.locator("#portfolio .refusal").wait_for()


def test_what_failed_once_is_asked_for_again_and_called_calm_by_nobody_meanwhile(room: Room) -> None:
    """It said "asked again by itself" below a live mark until something was written, and its tile said that nothing waits."""
    with room.page(is_open=False) as page:
        # It fails until it was looked at: failing once, it was asked for again before a slow machine read the tile.
        page.route("**/api/inbox", lambda route: route.abort())
        page.goto(room.url)
        page.locator("#inbox .refusal").wait_for()
        tile = page.locator("#tiles [data-key=t-inbox]").inner_text()
        assert "cannot be read now" in tile
        assert "nothing waits" not in tile
        page.unroute("**/api/inbox")
        page.locator("#inbox .entry").first.wait_for()
        page.locator("#inbox .refusal").wait_for(state="detached")


def test_somebody_signs_in_and_out(room: Room, screenshots: Path) -> None:
    """A token in a URL or in storage would be anybody's who reads the history of the browser."""
    with room.page(None, is_open=False) as page:
        page.goto(room.url)
        page.locator("#sign-in").wait_for()
        assert serious(page) == []
        page.screenshot(path=str(screenshots / "hmi-sign-in.png"))
        page.get_by_label("Token").fill("not.a.token")
        page.get_by_role("button", name="Sign in").click()
        page.locator("#sign-in-error").wait_for()
        page.get_by_label("Token").fill(room.made.token("operator", "ben@example.com"))
        page.keyboard.press("Enter")
        page.locator("#live[data-state=live]").wait_for()
        assert page.locator("#who").inner_text() == "ben@example.com · operator"
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        page.locator("#sign-in").wait_for()
        assert page.locator("#room").is_hidden()


def test_colours_and_motion_follow_the_person(room: Room) -> None:
    """Who works in the dark chose so; and whom motion makes ill did not choose."""
    with room.page(reduced_motion="reduce") as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        for _ in range(2):
            page.locator("#theme").click()
        assert page.locator("#theme").get_attribute("aria-label") == "Colours: light"
        assert page.evaluate(ground) != dark
        page.reload()
        page.locator("#live[data-state=live]").wait_for()
        assert page.evaluate(ground) != dark
        page.evaluate(
            "document.querySelector('#risk .body').append(Object.assign(document.createElement('i'), {className: 'bone'}))"
        )
        assert page.evaluate("getComputedStyle(document.querySelector('.bone')).animationName") == "none"
