"""`plms serve`: the HTTP API until Ctrl-C."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from plms_pipeline.settings import Settings, load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="serve", epilog="Example: plms serve --port 6100")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; PLMS_API_HOST when omitted.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one; PLMS_API_PORT when omitted.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that serve.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is ready as one line of JSON.")] = False,
) -> None:
    """Serve the HTTP API, and settle and dispatch after each event, until Ctrl-C."""
    from plms_pipeline.web.api.service.server import ApiOptions, serve_api

    settings = load_settings()
    _check_alerts(settings)

    def tell(url: str) -> None:
        if as_json:
            typer.echo(json.dumps({"url": url, "auth": settings.auth, "openapi": f"{url}/openapi.json"}))
        else:
            typer.echo(f"The API answers at {url} (auth: {settings.auth}; Ctrl-C stops it).")

    options = ApiOptions(
        host=settings.api_host if host is None else host,
        port=settings.api_port if port is None else port,
        workers=workers,
    )
    try:
        serve_api(settings, options, tell)
    except KeyboardInterrupt:
        if not as_json:
            typer.echo("Stopped.")


def _check_alerts(settings: Settings) -> None:
    """Refuse rules, channels and people on call that make no sense, before anything depends on them."""
    from plms_pipeline.alerts.actions.opening import routing_of
    from plms_pipeline.alerts.files import load_rules

    routing_of(settings, load_rules(settings))
