"""`plms model serve`: the promoted model over HTTP until Ctrl-C."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from plms_pipeline.models.decision.commands import register
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.web.serving.service import Beginning

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def model() -> None:
    """Models: what waits, what serves."""


@app.command(name="serve", epilog="Example: plms model serve --port 6300")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; PLMS_MODEL_HOST when omitted.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one; PLMS_MODEL_PORT when omitted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is ready as one line of JSON.")] = False,
) -> None:
    """Serve the promoted model: predictions, guardrails, metrics; promotions are picked up within seconds.

    It starts without a model, too, and answers 503 until one is promoted. GET /health says what is wrong and what is to be
    done; GET /openapi.json lists what can be asked. Limits and hosts are settings: `plms settings`, PLMS_MODEL_….
    """
    from plms_pipeline.web.serving.service import ModelOptions, serve_model

    settings = load_settings()

    def tell(url: str, found: Beginning) -> None:
        if as_json:
            said = {"url": url, "auth": settings.auth, "openapi": f"{url}/openapi.json"}
            typer.echo(json.dumps({**said, "model": found.model, "reasons": [one.code for one in found.reasons]}))
            return
        typer.echo(f"The model server answers at {url} (auth: {settings.auth}; Ctrl-C stops it).")
        if found.model is not None:
            typer.echo(f"Candidate {found.model['candidate_id']} serves, by promotion number {found.sequence}.")
        for one in found.reasons:
            typer.echo(f"{one.code}: {one.detail}", err=True)

    options = ModelOptions(
        host=settings.model_host if host is None else host, port=settings.model_port if port is None else port
    )
    try:
        serve_model(settings, options, tell)
    except KeyboardInterrupt:
        if not as_json:
            typer.echo("Stopped.")


register(app)
