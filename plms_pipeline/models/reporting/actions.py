"""How does a report on files, or on a run, come into being?

Files of anybody (`report_model`), and the folder of a training (`report_run`), which gets both forms beside its manifest: what
is read there shows the bytes that a person decides about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from plms_pipeline.errors import BadInput
from plms_pipeline.models.reporting import files
from plms_pipeline.models.reporting.blocks import Report
from plms_pipeline.models.reporting.composing import Asked, compose
from plms_pipeline.models.reporting.evidence import Evidence
from plms_pipeline.models.reporting.reading import Columns, rows_of
from plms_pipeline.models.reporting.render import html, markdown

Form = Literal["auto", "html", "markdown"]
ASSETS: Final = "_assets"


@dataclass(frozen=True, slots=True)
class Sources:
    """Files that a report is made from; only the predictions are needed."""

    predictions: Path
    metrics: Path | None = None
    summary: Path | None = None
    gates: Path | None = None
    manifest: Path | None = None
    milestones: Path | None = None
    annotations: Path | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A report as it was written."""

    report: Report
    path: Path
    form: Literal["html", "markdown"]
    pictures: tuple[Path, ...] = field(default=())


def report_model(
    sources: Sources, output: Path, asked: Asked, *, form: Form = "auto", assets: str | None = None,
    columns: Mapping[str, Any] | None = None,
) -> Written:  # fmt: skip
    """Write a report on files.

    Args:
        output: the file; with `form` auto one that ends in .html or .htm becomes a page, any other Markdown.
        assets: folder of the pictures of Markdown, beside it; default: the file's stem and `_assets`.
        columns: fields of `Columns` that somebody chose; the rest is what the operations summary says it was made with.

    Raises:
        BadInput, NotFound, NoData: a file cannot be read, or is not what it should be.
    """
    given = Evidence(
        metrics=_document(sources.metrics, "metrics.json"),
        summary=_document(sources.summary, "operations_summary.json"),
        gates=_document(sources.gates, "gates.json"),
        manifest=_document(sources.manifest, "manifest.json"),
        milestones=None if sources.milestones is None else files.read_list(sources.milestones, "milestones"),
        annotations=_annotations(sources.annotations),
    )
    asked = replace(asked, columns=_columns(given.summary, columns or {}))
    report = compose(rows_of(files.read_predictions(sources.predictions), asked.columns), asked, given)
    return write(report, output, form=form, assets=assets)


def report_run(
    run: Path, *, asked: Asked | None = None, annotations: Sequence[Mapping[str, Any]] | None = None
) -> tuple[Written, Written]:
    """Write report.html and report.md into the folder of a run; the page and the Markdown.

    Args:
        annotations: what people wrote about trades of these symbols; None: not asked.

    Raises:
        NotFound: predictions, summary or manifest are missing.
        BadInput: one of them is not what it should be.
    """
    evaluation = run / "evaluation"
    given = Evidence(
        summary=files.read_document(evaluation / "operations_summary.json", "operations summary"),
        gates=_document(files.beside(evaluation / "x", "gates.json"), "gates.json"),
        manifest=files.read_document(run / "manifest.json", "manifest"),
        annotations=annotations,
    )
    asked = asked or Asked()
    asked = replace(asked, columns=_columns(given.summary, {}))
    report = compose(rows_of(files.read_predictions(evaluation / "predictions.parquet"), asked.columns), asked, given)
    page = write(report, run / files.HTML, form="html")
    return page, write(report, run / files.MARKDOWN, form="markdown")


def report_estimates(run: Path) -> tuple[Written, Written]:
    """Write report.html and report.md into the folder of a training of estimates; the page and the Markdown.

    Raises:
        NotFound: predictions, summary or manifest are missing.
        BadInput: one of them is not what it should be.
    """
    from plms_pipeline.models.estimating.reporting import compose as composed

    evaluation = run / "evaluation"
    summary = files.read_document(evaluation / "operations_summary.json", "operations summary")
    manifest = files.read_document(run / "manifest.json", "manifest")
    rows = files.read_predictions(evaluation / "predictions.parquet")
    try:
        report = composed(summary, manifest, rows)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{run} holds no whole training of estimates ({type(error).__name__}: {error}); train again.",
            code="bad_run",
        ) from None
    page = write(report, run / files.HTML, form="html")
    return page, write(report, run / files.MARKDOWN, form="markdown")


def write(report: Report, output: Path, *, form: Form = "auto", assets: str | None = None) -> Written:
    """Write a report as a page or as Markdown with its pictures.

    Raises:
        BadInput: the folder of the pictures lies elsewhere than beside the document.
    """
    if form == "html" or (form == "auto" and output.name.lower().endswith((".html", ".htm"))):
        files.write_html(output, html.page(report))
        return Written(report, output, "html")
    folder = f"{output.name.rpartition('.')[0] or output.name}{ASSETS}" if assets is None else assets
    if not folder or folder in {".", ".."} or "/" in folder or "\\" in folder:
        raise BadInput(
            f"--charts-dir-name {folder!r} is no name of a folder beside the report; leave slashes out.",
            code="bad_folder",
        )
    pictures = markdown.pictures(report)
    files.write_markdown(output, markdown.markdown(report, folder), pictures, folder)
    return Written(report, output, "markdown", tuple(output.parent / folder / name for name in pictures))


def _document(path: Path | None, what: str) -> dict[str, Any] | None:
    return None if path is None else files.read_document(path, what)


def _annotations(path: Path | None) -> list[Mapping[str, Any]] | None:
    if path is None:
        return None
    rows = files.read_list(path, "annotations")
    if not all(isinstance(one, Mapping) for one in rows):
        raise BadInput(f"{path} holds no annotations; give what `plms annotate export` wrote.", code="not_annotations")
    return list(rows)


def _columns(summary: Mapping[str, Any] | None, chosen: Mapping[str, Any]) -> Columns:
    """What somebody chose, else what the summary says, else the defaults."""
    said = summary.get("returns") if summary else None
    said = said if isinstance(said, Mapping) else {}
    names = {"column": "returns", "benchmark_column": "benchmark", "kind": "kind", "weighting": "weighting",
             "periods_per_year": "periods_per_year"}  # fmt: skip
    taken = {ours: said[theirs] for theirs, ours in names.items() if said.get(theirs) is not None}
    return Columns(**{**taken, **{name: value for name, value in chosen.items() if value is not None}})
