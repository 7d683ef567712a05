"""How is the guarded Dagster UI served?

One command gives a person everything: a code server on a private Unix socket, shared by the webserver in this process
and by the daemon, both behind one keeper (`web/process.py`), and the front door (`web/guard.py`) on the only port that
is open. The port is bound before anything is started, so that "port in use" is one line and not three tracebacks.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from plms_pipeline.access.hosts import Authority, parse_allowed
from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput, Unavailable
from plms_pipeline.instance.files.home import DagsterHome, prepare_instance
from plms_pipeline.instance.files.lock import exclusive
from plms_pipeline.instance.service import bound_socket, interruptible
from plms_pipeline.registry.engine import Registry
from plms_pipeline.web.process import ChildSpec, Keeper

if TYPE_CHECKING:
    import uvicorn

    from plms_pipeline.settings import Settings

CODE_MODULE = "plms_pipeline.definitions"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# Not "logs": the daemon takes a folder of that name in its home for its own telemetry, and posts it to its makers.
LOG_FOLDER = "service_logs"
START_TIMEOUT_S = 120.0
MAX_LOG_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UiOptions:
    """What `plms ui` was asked for. Port 0 takes any free one."""

    host: str
    port: int
    with_daemon: bool = True
    code_module: str = CODE_MODULE


@dataclass(frozen=True, slots=True)
class UiReady:
    """The UI answers: where, what its code location failed with, if it did, and whether people must sign in to act."""

    url: str
    load_errors: tuple[str, ...]
    log_dir: Path
    asks_to_sign_in: bool = False


def serve_ui(settings: Settings, options: UiOptions, on_ready: Callable[[UiReady], None]) -> None:
    """Serve the guarded UI until SIGINT or SIGTERM; when it returns, no process is left behind.

    Args:
        settings: which data directory, and the host names to answer to.
        options: address, port, and whether the daemon runs.
        on_ready: called once, from another thread, when the UI answers.

    Raises:
        BadInput: the address cannot be bound (`port_in_use`, `bad_address`), is not loopback without allowed hosts
            (`not_loopback`), or the instance cannot be written.
        VerdictNo: another `plms ui` runs on this data directory (`already_running`).
        Unavailable: the code server did not come up (`code_server_down`).
    """
    with bound_socket(options.host, options.port, "PLMS_UI_PORT") as listener, interruptible():
        address, port = listener.getsockname()[:2]
        allowed = allowed_hosts(settings, address)
        url = _url(options.host, port)
        home = prepare_instance(settings)
        with _only_daemon(home, options, url), _private_folder() as folder:
            _serve(settings, home, options, folder, listener, url, allowed, on_ready)


def allowed_hosts(settings: Settings, address: str) -> frozenset[Authority]:
    """The names that the door answers to.

    Args:
        settings: holds them as PLMS_UI_ALLOWED_HOSTS.
        address: the numeric address that was bound.

    Raises:
        BadInput: PLMS_UI_ALLOWED_HOSTS holds something else than host names; or the address is not loopback and no
            name beyond the loopback ones was allowed, or nobody has to sign in.
    """
    entries = [entry.strip() for entry in settings.ui_allowed_hosts.split(",") if entry.strip()]
    try:
        allowed = parse_allowed(entries)
    except ValueError as error:
        raise BadInput(
            f"PLMS_UI_ALLOWED_HOSTS: {error}; give names separated by commas, for example localhost,plms.example.org.",
            code="bad_setting",
        ) from None
    if ip_address(address).is_loopback:
        return allowed
    if settings.auth == "disabled":
        raise BadInput(
            f"PLMS_AUTH=disabled lets everybody do everything, and {address} is reachable from other machines; bind "
            "127.0.0.1 or have people sign in (PLMS_AUTH=jwt, `plms token keys`).",
            code="not_loopback",
        )
    if {entry.host for entry in allowed} <= set(LOOPBACK_HOSTS):
        raise BadInput(
            f"{address} is reachable from other machines, and the UI answers to loopback names only; list the names it may "
            "be opened by in PLMS_UI_ALLOWED_HOSTS.",
            code="not_loopback",
        )
    return allowed


def may_open_browser() -> bool:
    """Whether somebody sits before a screen. Without one, `webbrowser` may start a text browser in this terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _only_daemon(home: DagsterHome, options: UiOptions, url: str) -> AbstractContextManager[None]:
    """Two daemons on one instance start every scheduled run twice; pages may be served as often as one likes."""
    if not options.with_daemon:
        return nullcontext()
    return exclusive(home.state_dir / "ui.lock", f"process {os.getpid()}, {url}", "`plms ui`")


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder for the socket, readable by us alone: whoever may talk to a code server may run code."""
    usual = tempfile.gettempdir()
    # The path of a Unix socket may hold 107 bytes.
    parent = usual if len(os.fsencode(usual)) < 64 else "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
    with tempfile.TemporaryDirectory(prefix="plms-ui-", dir=parent) as folder:
        yield Path(folder)


def _serve(
    settings: Settings,
    home: DagsterHome,
    options: UiOptions,
    folder: Path,
    listener: socket.socket,
    url: str,
    allowed: frozenset[Authority],
    on_ready: Callable[[UiReady], None],
) -> None:
    log_dir = home.state_dir / LOG_FOLDER
    keeper = Keeper(_children(options, folder, log_dir), os.environ, str(home.state_dir))
    try:
        # The slow import runs while the code server starts.
        import uvicorn

        from plms_pipeline.dagster_internals import open_webserver
        from plms_pipeline.web.door.service import guarded
        from plms_pipeline.web.metrics import MEDIA_TYPE, UiMetrics
        from plms_pipeline.web.ui_metrics import CountedDoor

        _wait_for_socket(folder / "code.sock", keeper, log_dir)
        with (
            open_webserver(str(folder / "workspace.yaml")) as webserver,
            closing(Registry.open(settings.database_url)) as registry,
        ):
            door = guarded(webserver, settings, registry, allowed, SystemClock())
            counts = UiMetrics()
            counted = CountedDoor(door, counts, allowed, stopwatch=time.perf_counter, media_type=MEDIA_TYPE)
            server = uvicorn.Server(
                uvicorn.Config(
                    counted,
                    log_level="warning",
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    timeout_graceful_shutdown=2,
                    lifespan="off",
                )
            )
            ready = UiReady(url, webserver.load_errors, log_dir, asks_to_sign_in=settings.auth != "disabled")
            threading.Thread(target=_watch, args=(server, keeper, ready, on_ready), daemon=True).start()
            server.run(sockets=[listener])
            if not keeper.is_alive():
                raise Unavailable(
                    f"The process that keeps daemon and code server ended; {log_dir} may say why. Start `plms ui` again.",
                    code="keeper_gone",
                )
    finally:
        keeper.stop()


def _children(options: UiOptions, folder: Path, log_dir: Path) -> list[ChildSpec]:
    from plms_pipeline.dagster_internals import code_server_arguments, daemon_arguments, workspace_text

    log_dir.mkdir(parents=True, exist_ok=True)
    code_socket, workspace = folder / "code.sock", folder / "workspace.yaml"
    workspace.write_text(workspace_text(str(code_socket), options.code_module), encoding="utf-8")
    code_server = code_server_arguments(options.code_module, str(code_socket), options.code_module)
    children = [ChildSpec("code server", [sys.executable, *code_server], str(_log(log_dir, "code-server")))]
    if options.with_daemon:
        daemon = [sys.executable, *daemon_arguments(str(workspace))]
        children.append(ChildSpec("daemon", daemon, str(_log(log_dir, "daemon")), wait_for=str(code_socket)))
    return children


def _log(log_dir: Path, name: str) -> Path:
    """The log file of a child; one that has grown large steps aside, and the one before it goes."""
    path = log_dir / f"{name}.log"
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(log_dir / f"{name}.log.1")
    return path


def _wait_for_socket(path: Path, keeper: Keeper, log_dir: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and keeper.is_alive():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise Unavailable(
        f"Dagster's code server did not start within {START_TIMEOUT_S:.0f} s; {log_dir / 'code-server.log'} says why.",
        code="code_server_down",
    )


def _watch(server: uvicorn.Server, keeper: Keeper, ready: UiReady, on_ready: Callable[[UiReady], None]) -> None:
    """Tell when the server answers; stop it when the keeper is gone, because a UI without its daemon misleads."""
    told = False
    while not server.should_exit:
        if server.started and not told:
            told = True
            on_ready(ready)
        if not keeper.is_alive():
            logging.getLogger(__name__).error("event=keeper_gone the UI stops; start it again")
            server.should_exit = True
        time.sleep(0.1)
