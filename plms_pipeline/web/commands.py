"""`plms ui`: the Dagster UI behind its front door, with code server and daemon, until Ctrl-C."""

from __future__ import annotations

import json
import webbrowser
from typing import Annotated

import typer

from plms_pipeline.settings import load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EPILOG = "Example: plms ui --port 3100 --no-browser"


@app.command(name="ui", epilog=_EPILOG)
def ui(
    host: Annotated[str | None, typer.Option(help="Address to bind; PLMS_UI_HOST when omitted.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one; PLMS_UI_PORT when omitted.")
    ] = None,
    daemon: Annotated[bool, typer.Option("--daemon/--no-daemon", help="Run schedules, sensors and the queue.")] = True,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page when it is ready.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is ready as one line of JSON.")] = False,
) -> None:
    """Serve the Dagster UI behind its front door, with its daemon, until Ctrl-C."""
    from plms_pipeline.web.service import UiOptions, UiReady, may_open_browser, serve_ui

    settings = load_settings()

    def tell(ready: UiReady) -> None:
        if as_json:
            line = {
                "url": ready.url,
                "load_errors": list(ready.load_errors),
                "logs": str(ready.log_dir),
                "asks_to_sign_in": ready.asks_to_sign_in,
            }
            typer.echo(json.dumps(line))
        else:
            typer.echo(f"The Dagster UI is ready at {ready.url} (Ctrl-C stops it; logs in {ready.log_dir}).")
            if ready.asks_to_sign_in:
                typer.echo(
                    f"Whoever opens it may look; to act, sign in at {ready.url}/login with a token of `plms token issue` "
                    "(PLMS_AUTH=disabled lets everybody on this machine act)."
                )
            for error in ready.load_errors:
                typer.secho(f"The code location did not load: {error}", fg="red", err=True)
        if browser and not as_json and may_open_browser():
            webbrowser.open(ready.url)

    options = UiOptions(
        host=settings.ui_host if host is None else host,
        port=settings.ui_port if port is None else port,
        with_daemon=daemon,
    )
    if not as_json:
        typer.echo("Starting the Dagster UI …")
    try:
        serve_ui(settings, options, tell)
    except KeyboardInterrupt:
        if not as_json:
            typer.echo("Stopped.")
