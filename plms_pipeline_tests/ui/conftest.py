"""A house in which all our servers run, and a real Chromium with one tab."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import ProjectPolicy
from plms_pipeline.settings import load_settings, project_root
from plms_pipeline_tests.ui.houses import (
    INDEX,
    PROJECT,
    ROWS,
    SIGNAL,
    SMOOTHER,
    House,
    Ui,
    environ_of,
    free_port,
    plms,
    sample,
    served,
    tokens_of,
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
DESK = (1440, 900)
PAGE_TIMEOUT_MS = 90_000


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all: samples, a small night with an artifact that fails its gates, a project that waits, prices in files.

    Prices are not imported: a sensor would train on them at its own time.
    """
    root = project_root()
    assert root is not None
    samples, folder = root / "data" / "samples", tmp_path_factory.mktemp("ui")
    data_dir, api, pas = folder / "data", free_port(), free_port()
    environ = {**environ_of(data_dir), "PLMS_API_PORT": str(api), "PLMS_PAS_URL": f"http://127.0.0.1:{pas}"}
    data_dir.mkdir()
    plms(environ, "db", "upgrade")
    plms(environ, "project", "samples")
    for source in ("swebench", "metr"):
        few = sample(samples / f"{source}_agent_runs.csv.gz", folder / f"{source}.csv", ROWS)
        plms(environ, "import", source, str(few))
    plms(environ, "kpi", "warehouse", "load", str(samples / "artifacts" / "warehouse.sql"))
    artifacts = [str(samples / "artifacts" / name) for name in ("4201-delimited-text", "4202-operator-guide")]
    plms(environ, "kpi", "inbox", "add", *artifacts)
    # Whether the books of so small a sample balance is not the question here; that there is a report is.
    plms(environ, "nightly", allowed=(0, 1))
    assert list((data_dir / "reports" / "nightly").glob("*/summary.json"))
    plms(environ, "project", "estimate", str(PROJECT))
    plms(environ, "project", "submit", str(PROJECT))
    with closing(Registry.open(f"sqlite:///{data_dir / 'registry.db'}")) as registry, registry.writing() as session:
        # Samples belong to who loads them, which is nobody who signs in; an override is asked for by the owner.
        session.execute(update(ProjectPolicy).where(ProjectPolicy.project_id == PROJECT).values(owner="a-operator"))
    shutil.copyfile(samples / INDEX, data_dir / INDEX)
    write_prices(data_dir / SIGNAL, generate(World(bars=3_000, signal_to_noise=0.3), 1).raw)
    (data_dir / SMOOTHER).write_text("name: smoother\nmodel: {kind: ridge, alpha: 1000.0}\n", encoding="utf-8")
    tokens = tokens_of(data_dir)
    with ExitStack() as stack:
        stack.enter_context(served(environ, folder / "pas.log", "pas", "serve", "--port", str(pas)))
        stack.enter_context(served(environ, folder / "api.log", "serve", "--port", str(api)))
        ready = stack.enter_context(served(environ, folder / "ui.log", "ui", "--port", "0", "--no-browser"))
        assert ready["load_errors"] == []
        assert ready["asks_to_sign_in"]
        yield House(Ui(ready["url"], tokens), environ)


@pytest.fixture(scope="session")
def prepared(house: House) -> Path:
    """The data directory."""
    return Path(house.environ["PLMS_DATA_DIR"])


@pytest.fixture(scope="session")
def ui(house: House) -> Ui:
    """The UI over it; people sign in."""
    return house.ui


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The Chromium on PATH, headless."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"none of {', '.join(BROWSERS)} is on PATH; install one, for example `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def tab(browser: Any) -> Iterator[Any]:
    """The one tab in which everything is looked at: in each new context the browser compiles ten megabytes of Dagster anew."""
    opened = browser.new_context().new_page()
    yield opened
    opened.context.close()


@contextmanager
def looked_at(
    tab: Any, size: tuple[int, int] = DESK, scheme: str = "light", reduced_motion: str = "no-preference"
) -> Iterator[Any]:
    """The tab as somebody's who has never been anywhere; an exception in a script or a dialog fails the test.

    An error in a page's console is not ours to judge.
    """
    crashes: list[str] = []
    visited: set[str] = set()
    heard = {
        "pageerror": lambda error: crashes.append(str(error)),
        "dialog": lambda dialog: crashes.append(f"a script of somebody else's ran: {dialog.message}"),
        "framenavigated": lambda frame: visited.add("/".join(frame.url.split("/")[:3])),
    }
    for event, hear in heard.items():
        tab.on(event, hear)
    tab.set_default_timeout(PAGE_TIMEOUT_MS)
    tab.set_viewport_size({"width": size[0], "height": size[1]})
    tab.emulate_media(color_scheme=scheme, reduced_motion=reduced_motion)
    try:
        yield tab
    finally:
        tab.unroute_all()
        # A page that stays open goes on asking its server.
        tab.goto("about:blank")
        for event, hear in heard.items():
            tab.remove_listener(event, hear)
        tab.context.clear_cookies()
        storage = tab.context.new_cdp_session(tab)
        for origin in visited:
            if origin.startswith("http"):
                storage.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        storage.detach()
    assert crashes == []


@pytest.fixture
def page(tab: Any) -> Iterator[Any]:
    """A tab at a desk."""
    with looked_at(tab) as found:
        yield found


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where people find the pictures: reports/ui, or where PLMS_REPORTS_DIR points."""
    folder = load_settings().reports_dir / "ui"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def other_site() -> Iterator[Any]:
    """Another origin on this machine, which serves whatever page a test puts on it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = site.page.encode()  # type: ignore[attr-defined]  # a test's own attribute
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Silence."""

    site = HTTPServer(("127.0.0.1", 0), Handler)
    site.page = ""  # type: ignore[attr-defined]
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    yield site
    site.shutdown()
    site.server_close()
    thread.join()
