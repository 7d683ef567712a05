"""The exporter's page in Prometheus' text format, from what was read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Metric,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from plms_pipeline.access.hosts import Authority, guarded_page
from plms_pipeline.errors import BadInput
from plms_pipeline.monitoring.exporter.series import Cells, Samples, Series, Spread

_IN_USE = (98, 48)  # EADDRINUSE on Linux and macOS


class PageCollector(Collector):
    """Asks for everything anew whenever somebody scrapes.

    Args:
        collect: reads everything; must not raise.
    """

    def __init__(self, collect: Callable[[], Samples]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        """One family per series that was read, in the order of the catalogue."""
        samples = self._collect()
        yield from families(samples.declared, samples.cells)


def families(declared: Mapping[str, Series], cells: Mapping[str, Cells]) -> Iterator[Metric]:
    """What was read, as the library's families; a series that was not read is left out."""
    for name, series in declared.items():
        if name in cells:
            yield _family(series, cells[name])


def page(collect: Callable[[], Samples]) -> CollectorRegistry:
    """What is exposed: everything that is read, and this process itself."""
    registry = CollectorRegistry()
    registry.register(PageCollector(collect))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def text_of(registry: CollectorRegistry) -> str:
    """The page as text."""
    return generate_latest(registry).decode()


def expose(
    registry: CollectorRegistry, host: str, port: int, allowed: frozenset[Authority] = frozenset()
) -> tuple[int, Callable[[], None]]:
    """Answer scrapes, each in a thread of its own; the port that is bound, and what closes it again.

    Args:
        allowed: names beside localhost and addresses that it may be asked by.

    Raises:
        BadInput: the address cannot be bound (`port_in_use`, `bad_address`).
    """
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        in_use = error.errno in _IN_USE
        raise BadInput(
            f"Port {port} on {host} is already in use; stop what uses it, or choose another with --port or PLMS_EXPORTER_PORT."
            if in_use
            else f"Port {port} on {host} cannot be opened ({error.strerror or error}); choose another with --host and --port.",
            code="port_in_use" if in_use else "bad_address",
        ) from None

    server.set_app(guarded_page(make_wsgi_app(registry), allowed))

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), close


def _family(series: Series, cells: Cells) -> Metric:
    labels = [label.name for label in series.labels]
    if series.kind == "histogram":
        histogram = HistogramMetricFamily(series.name, series.says, labels=labels)
        ends = [*(str(edge) for edge in series.edges), "+Inf"]
        for values, spread in cells.items():
            if isinstance(spread, Spread):
                buckets = list(zip(ends, accumulate(float(count) for count in spread.counts), strict=True))
                histogram.add_metric(values, buckets, spread.total)
        return histogram
    make = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(series.name, series.says, labels=labels)
    for values, value in cells.items():
        if not isinstance(value, Spread):
            family.add_metric(values, float(value))
    return family
