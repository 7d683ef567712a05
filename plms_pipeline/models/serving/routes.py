"""What can the model server be asked?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import AppState, State, requires
from plms_pipeline.errors import Unprocessable
from plms_pipeline.models.serving import judging, rows
from plms_pipeline.models.serving.forms import (
    GuardrailAnswer,
    GuardrailRequest,
    ModelConfig,
    ModelHealth,
    PredictAnswer,
    PredictRequest,
    Reloaded,
    ReloadRequest,
)
from plms_pipeline.models.serving.health import reasons
from plms_pipeline.models.serving.metrics import MEDIA_TYPE
from plms_pipeline.models.serving.served import History, Served
from plms_pipeline.models.serving.service import ModelServer

# Under this name the state of the application holds its `ModelServer`, and the state of a request the model that it is served
# with: taken once, so that an answer and what signs it are of one model.
SERVER = "model_server"
SERVED = "served"
# A book has many rows per answer; so many times as many as predictions may be asked for are taken.
TRADES_PER_ROW = 10
router = APIRouter(tags=["model"])
Viewer = Annotated[Principal, requires("ops.view")]
Simulator = Annotated[Principal, requires("projects.simulate")]
Approver = Annotated[Principal, requires("approvals.write")]


def server_of(state: AppState) -> ModelServer:
    """The model server of an application."""
    server: ModelServer = state.extras[SERVER]
    return server


def _served(request: Request) -> Served | None:
    served: Served | None = getattr(request.state, SERVED, None)
    return served


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Asks nobody else."""
    return {"status": "alive"}


@router.get("/metrics", response_class=Response, summary="The series of this process, for Prometheus")
async def metrics(state: State) -> Response:
    """Prometheus' text format."""
    return Response(server_of(state).metrics.exposition(), media_type=MEDIA_TYPE)


@router.get(
    "/health", response_model=ModelHealth, responses={503: {"model": ModelHealth, "description": "No model answers."}}
)
async def health(request: Request, state: State, response: Response) -> dict[str, Any]:
    """The model that is loaded, whether it is the one that was promoted, and what is to be done if not. 503 when none is."""
    server, served = server_of(state), _served(request)
    refused, unread = server.refused, server.unread
    wrong = reasons(served, refused, unread, server.switch)
    response.status_code = 503 if served is None else 200
    return {
        "status": "no_model" if served is None else "degraded" if wrong else "ok",
        "reasons": [{"code": one.code, "detail": one.detail} for one in wrong],
        "model": _version(served),
        "promoted_at": None if served is None else served.entry.promoted_at.isoformat(),
        "sequence": None if served is None else served.entry.sequence,
        "unverified": None
        if refused is None
        else {**refused.entry.version.as_document(), "code": refused.error.code, "detail": refused.error.message},
        "registry": "read" if unread is None else unread.code,
        "guardrails": server.switch.as_json(),
        "has_history": served is not None and served.history is not None,
    }


@router.get("/config", response_model=ModelConfig)
async def config(_principal: Viewer, request: Request, state: State) -> dict[str, Any]:
    """The experiment of the loaded model, and the limits in force: settings under the caps of its approval."""
    server, served = server_of(state), _served(request)
    shown: dict[str, Any] = {
        "guardrails": judging.limits(server.limits(served)),
        "max_prediction_rows": state.settings.model_max_rows,
        "experiment": None,
    }
    if served is not None:
        shown |= {
            "experiment": served.experiment.model_dump(mode="json"),
            "caps": dict(served.entry.caps),
            "features": list(served.model.features),
            "figures": dict(served.figures),
            "data_sha256": served.entry.data_sha256,
            "evaluation_sha256": served.entry.evaluation_sha256,
        }
    return {"config": shown, "model": _version(served)}


@router.post("/predict", response_model=PredictAnswer)
async def predict(
    _principal: Simulator, request: Request, state: State, asked: PredictRequest | None = None
) -> Response:
    """Scores new bars, or the newest ones of the snapshot; an empty body asks for the newest bar of every symbol.

    What was sent is laid over the history of the same symbols, of which the features need a hundred bars.
    """
    server = server_of(state)
    served = server.required(_served(request))
    # In a thread: half a second of arithmetic must not keep others waiting.
    answer = await run_in_threadpool(_predicted, server, served, asked or PredictRequest())
    return JSONResponse(answer)


def _predicted(server: ModelServer, served: Served, asked: PredictRequest) -> dict[str, Any]:
    most = server.settings.model_max_rows
    sent = None
    if asked.bars is not None:
        if asked.symbols is not None:
            raise Unprocessable(
                "`bars` and `symbols` do not go together: bars name their symbols.", code="two_questions"
            )
        _refuse_many(len(asked.bars), most, "bars")
        sent = rows.checked(rows.raw_of([bar.model_dump() for bar in asked.bars]), as_of=server.now())
    if asked.snapshot is not None and not asked.history:
        raise Unprocessable(
            "`snapshot` names a history, and `history` is false: send one of them.", code="two_questions"
        )
    known = server.snapshot(served, asked.snapshot) if asked.history else History()
    if asked.snapshot is not None and known.bars is None:
        raise Unprocessable(
            f"There is no snapshot {asked.snapshot[:12]}…; leave `snapshot` out, or name one that is kept.",
            code="unknown_snapshot",
        )
    found = rows.answered(served, known, sent, asked.symbols, last=asked.last)
    told = rows.predictions(found.scores)
    shown = told[: min(most, asked.limit or most)]
    server.metrics.predicted(len(shown))
    return {
        "rows": len(shown), "predictions": shown, "unscored": dict(found.unscored),
        "gaps": rows.gaps(known, sent),
        "telemetry": {
            "prediction_rows": len(told), "feature_columns": list(served.model.features),
            "horizon": served.experiment.target.horizon, "symbols": sorted({row["symbol"] for row in told}),
            "sent_bars": 0 if asked.bars is None else len(asked.bars),
            "snapshot": None if known.bars is None else asked.snapshot or served.entry.data_sha256,
        },
        "model": served.version.as_document(),
    }  # fmt: skip


@router.post("/guardrails", response_model=GuardrailAnswer)
async def guardrails(
    _principal: Simulator, request: Request, state: State, asked: GuardrailRequest | None = None
) -> Response:
    """Measures a book, and cuts it to the limits: symbol, sector, factor, gross, net, turnover, tail.

    422 names the column that a limit needs and that was not sent. Switched off, it says so and judges nothing.
    """
    server, served = server_of(state), _served(request)
    trades = [] if asked is None else asked.trades
    _refuse_many(len(trades), TRADES_PER_ROW * state.settings.model_max_rows, "trades")
    switch, config = server.switch, server.limits(served)
    found = await run_in_threadpool(judging.judge, [trade.model_dump() for trade in trades], config, switch)
    server.judged(found)
    return JSONResponse({**found.document, "model": _version(served)})


@router.post("/reload", response_model=Reloaded)
async def reload(
    _principal: Approver, request: Request, state: State, asked: ReloadRequest | None = None
) -> dict[str, Any]:
    """Loads the promoted model now, if its bytes are the approved ones. Nothing else can be loaded, and nothing reverts.

    The server does so by itself within a second or two; this answers when it is done, and says what keeps it from it.
    """
    server, before = server_of(state), _served(request)
    served = await run_in_threadpool(server.reload, None if asked is None else asked.model_sha256)
    setattr(request.state, SERVED, served)
    return {"model": served.version.as_document(), "changed": before is None or before.version != served.version}


def _refuse_many(count: int, most: int, what: str) -> None:
    if count > most:
        raise Unprocessable(
            f"{count} {what} are more than the {most} that are taken at once (PLMS_MODEL_MAX_ROWS); send them in parts.",
            code="too_many_rows",
        )


def _version(served: Served | None) -> dict[str, str] | None:
    return None if served is None else served.version.as_document()
