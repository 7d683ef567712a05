"""`plms exporter`: what the installation counts and owes, for Prometheus."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from plms_pipeline.settings import load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="exporter", epilog="Example: plms exporter --once | grep plms_budget")
def exporter(
    host: Annotated[str | None, typer.Option(help="Address to bind; PLMS_EXPORTER_HOST when omitted.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one; PLMS_EXPORTER_PORT when omitted.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one page and end.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/metrics.md, the names of all series.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is ready as one line of JSON.")] = False,
) -> None:
    """Answer Prometheus on /metrics from the registry and Dagster's storage, until Ctrl-C; docs/metrics.md names the series."""
    if markdown:
        from plms_pipeline.monitoring.exporter.names_page import page

        typer.echo(page(), nl=False)
        return
    from plms_pipeline.monitoring.exporter.service import page_once, serve_exporter

    settings = load_settings()
    if once:
        typer.echo(page_once(settings), nl=False)
        return
    bind = settings.exporter_host if host is None else host

    def tell(bound: int) -> None:
        url = f"http://{f'[{bind}]' if ':' in bind else bind}:{bound}/metrics"
        typer.echo(json.dumps({"url": url}) if as_json else f"Metrics are at {url} (Ctrl-C stops it).")

    serve_exporter(settings, host=bind, port=settings.exporter_port if port is None else port, on_ready=tell)
    if not as_json:
        typer.echo("Stopped.")
