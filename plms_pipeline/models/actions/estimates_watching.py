"""How does the champion of estimates come to be heard by every forecast, and how is it watched?

One look reads the receipts with the model: what it says of tasks becomes the outlook that forecasts ask, and what was begun
since its promotion is judged against the priors. A part whose live intervals stopped holding is not heard until they do; a
champion whose file is gone or altered is not heard at all: the priors answer, and the look says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from plms_pipeline.clock import Clock
from plms_pipeline.errors import NoData, PlmsError
from plms_pipeline.estimates.outlook import Heard, Outlook, Part, sha_of, text_of
from plms_pipeline.estimates.store import outlooks as said
from plms_pipeline.measures import BASES
from plms_pipeline.models.decision.tree import watch
from plms_pipeline.models.estimating import outlooks
from plms_pipeline.models.estimating.actions import receipts_book
from plms_pipeline.models.estimating.book import Book
from plms_pipeline.models.estimating.files import load_estimates
from plms_pipeline.models.estimating.living import Lived, lived
from plms_pipeline.models.estimating.model import EstimatesModel
from plms_pipeline.models.estimating.store import put_outlook, withdraw_outlook
from plms_pipeline.models.layout import EVALUATION
from plms_pipeline.models.records import ESTIMATES, Champion
from plms_pipeline.models.store import champions, looks
from plms_pipeline.models.training.files import CANDIDATE
from plms_pipeline.models.watch import files
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class EstimatesLook:
    """One look at the champion of estimates.

    Attributes:
        action: keep or request_retrain.
        document: the snapshot, as JSON has it.
        outlook_sha256: of what forecasts ask now; None: nothing was written.
        number: of the row in `live_snapshots`; None: nothing was written.
    """

    champion: Champion
    action: str
    sentence: str
    codes: tuple[str, ...]
    document: dict[str, Any]
    outlook_sha256: str | None
    number: int | None


def look_at_estimates(registry: Registry, *, data_dir: Path, clock: Clock, is_dry: bool = False) -> EstimatesLook:
    """Read the receipts with the champion of estimates, write what it says of tasks, and judge it on what began since.

    Args:
        is_dry: write nothing.

    Raises:
        NoData: there is no champion (`no_champion`) or no receipt (`no_receipts`).
        NoData, Conflict, BadInput: its file is gone, altered or damaged; then it is heard no more.
    """
    now = clock.now()
    with registry.reading() as session:
        champion = champions.current(session, ESTIMATES)
        # Before the receipts are read: what comes meanwhile is read the next time.
        changes = said.changes(session)
    if champion is None:
        raise NoData(
            "No model of estimates was promoted yet, so there is nothing to watch; the priors answer. Train one: "
            "plms retrain-estimates",
            code="no_champion",
        )
    try:
        model = load_estimates(data_dir / champion.folder / CANDIDATE, champion.model_sha256)
        book = receipts_book(registry, until=now)
    except PlmsError:
        if not is_dry:
            with registry.writing() as session:
                withdraw_outlook(session)
        raise
    found = _lived(book, model, champion)
    withdrawn = tuple((one.measure, one.basis) for one in found if one.alerts)
    outlook = _outlook(book, model, champion, withdrawn, now)
    alerts = [alert for one in found for alert in one.alerts]
    codes = tuple(dict.fromkeys(alert.code for alert in alerts))
    tree = watch(alerts=codes)
    text = text_of(outlook)
    document = _document(champion, book, found, outlook, sha_of(text), now)
    document |= {"action": tree.action, "sentence": tree.sentence}
    number = None
    if not is_dry:
        number = _recorded(registry, data_dir, champion, document, codes, (text, changes))
    return EstimatesLook(
        champion, tree.action, tree.sentence, codes, document, None if is_dry else sha_of(text), number
    )  # fmt: skip


def _lived(book: Book, model: EstimatesModel, champion: Champion) -> list[Lived]:
    since = round(champion.promoted_at.timestamp() * 1000)
    found = []
    for measure, part in sorted(model.parts.items()):
        bases = tuple(basis for basis in BASES if model.may_serve(measure, basis))
        if bases:
            found += lived(book.history(measure), part, bases, since_ms=since)
    return found


def _outlook(
    book: Book, model: EstimatesModel, champion: Champion, withdrawn: tuple[Part, ...], now: datetime
) -> Outlook:
    parts: dict[Part, Heard] = {}
    for measure, part in sorted(model.parts.items()):
        bases = [basis for basis in BASES if model.may_serve(measure, basis) and (measure, basis) not in withdrawn]
        history = book.history(measure)
        if bases and len(history):
            told = outlooks.heard(history, part, bases, at=now)
            parts |= {(measure, basis): one for basis, one in told.items()}
    return Outlook(
        champion.promotion_id, champion.candidate_id, champion.model_sha256, now, parts, withdrawn
    )  # fmt: skip


def _document(
    champion: Champion, book: Book, found: list[Lived], outlook: Outlook, sha256: str, now: datetime
) -> dict[str, Any]:
    return {
        "schema_version": 1, "at": now.isoformat(), "family": champion.family, "promotion_id": champion.promotion_id,
        "candidate_id": champion.candidate_id, "model_sha256": champion.model_sha256, "data_sha256": book.digest(),
        "receipts": len(book), "since": champion.promoted_at.isoformat(),
        "rows": sum(int(one.figures["n"]) for one in found), "live": [one.as_document() for one in found],
        "alerts": [alert.as_document() for one in found for alert in one.alerts],
        "heard": sorted([list(part) for part in outlook.parts]),
        "withdrawn": sorted([list(part) for part in outlook.withdrawn]), "outlook_sha256": sha256,
    }  # fmt: skip


def _recorded(
    registry: Registry, data_dir: Path, champion: Champion, document: dict[str, Any], codes: tuple[str, ...],
    told: tuple[str, int],
) -> int:  # fmt: skip
    path = f"{champion.folder}/{EVALUATION}/{files.SNAPSHOT}"
    files.write_snapshot(data_dir / path, document)
    now = datetime.fromisoformat(document["at"])
    metrics = {name: document[name] for name in ("live", "heard", "withdrawn", "receipts", "outlook_sha256")}
    with registry.writing() as session:
        serving = said.promoted(session)
        # Somebody promoted another one meanwhile: what this one says is of no use to anybody.
        if serving is not None and serving.promotion_id == champion.promotion_id:
            put_outlook(
                session, champion.promotion_id, as_of=now, changes=told[1], sha256=document["outlook_sha256"],
                document=told[0],
            )  # fmt: skip
        return looks.add(
            session, family=champion.family, promotion_id=champion.promotion_id, at=now,
            window=(champion.promoted_at, now), rows=int(document["rows"]), metrics=metrics, codes=codes,
            action=document["action"], path=path,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of the receipts that is due: a name that is given once, and why."""

    key: str
    reason: str


def reading_due(registry: Registry, *, now: datetime, after_s: float) -> Reading | None:
    """Whether the champion of estimates should read the receipts again.

    Args:
        after_s: how old its last reading may be while new receipts come.
    """
    with registry.reading() as session:
        serving = said.promoted(session)
        if serving is None:
            return None
        stored = said.outlook_of(session, serving.promotion_id)
        changes = said.changes(session)
    if stored is None:
        return Reading(f"promoted:{serving.promotion_id}", f"candidate {serving.candidate_id} was promoted")
    is_old = (now - stored.as_of).total_seconds() >= after_s
    if is_old and changes > stored.changes:
        return Reading(f"receipts:{serving.promotion_id}:{changes}", "receipts came since it last read them")
    return None
