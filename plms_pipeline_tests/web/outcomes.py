"""What becomes of every attack and of every role's every mutation, asked of the real front door with a fake Dagster behind it.

`python -m plms_pipeline_tests.web.outcomes` renews the tables of docs/front-door.md; the tests compare them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from plms_pipeline.settings import project_root
from plms_pipeline.web.demands import Facts, KnownRun, Question
from plms_pipeline.web.guard import FrontDoor
from plms_pipeline.web.rules import JOBS, MUTATIONS, Target
from plms_pipeline_tests.web.asgi import ask, talk, text
from plms_pipeline_tests.web.doors import HOST, JSON, OURS, session, signed_door

PAGE = "docs/front-door.md"
ROLES = ("nobody", "viewer", "operator", "approver", "admin", "pas")
LET_THROUGH = "yes"
JOB = "start_project_run"
SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "plms_pipeline.definitions", "jobName": JOB}
EVIL = ("origin", "http://evil.test")
ELSEWHERE = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"))
LAUNCH = 'mutation { launchRun(executionParams: {selector: {jobName: "killswitch"}}) { __typename } }'
FORGED_TAGS = {"selector": SELECTOR, "executionMetadata": {"tags": [{"key": "plms/actor", "value": "boss"}]}}


class Behind:
    """Stands for Dagster; remembers what reached it."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                self.reached += 1
            return
        self.reached += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


async def known(question: Question) -> Facts:
    """Runs and backfills are of the job that their id names; every job's runs are tagged with what they spend."""
    return Facts(
        runs={run_id: KnownRun(run_id, {"plms/effect": "spend"}) for run_id in question.runs if run_id in JOBS},
        backfills={name: name for name in question.backfills if name in JOBS},
        job_tags={job: {"plms/effect": "spend"} for job in question.jobs},
    )


def document_of(field: str, arguments: dict[str, Any]) -> bytes:
    """A GraphQL request with one mutation whose arguments are variables, as the UI sends it."""
    names = ", ".join(f"{name}: ${name}" for name in arguments)
    declared = ", ".join(f"${name}: Any" for name in arguments)
    document = (
        f"mutation({declared}) {{ {field}({names}) {{ __typename }} }}" if arguments else f"mutation {{ {field} }}"
    )
    return json.dumps({"query": document, "variables": arguments}).encode()


def arguments_of(field: str, job: str = JOB) -> dict[str, Any]:
    """Arguments with which a mutation acts upon a job, as far as it acts upon one."""
    launch = {"selector": {**SELECTOR, "jobName": job}}
    return {
        Target.NOTHING: {},
        Target.LAUNCH: {"executionParams": launch},
        Target.LAUNCHES: {"executionParamsList": [launch]},
        Target.RERUN: {"reexecutionParams": {"parentRunId": job, "strategy": "ALL_STEPS"}},
        Target.RUN: {"runId": job},
        Target.RUNS: {"runIds": [job]},
        Target.BACKFILL: {"backfillId": job},
        Target.NEW_BACKFILL: {"backfillParams": {"selector": {"partitionSetName": f"{job}_partition_set"}}},
        Target.BACKFILL_AGAIN: {"reexecutionParams": {"parentRunId": job, "strategy": "ALL_STEPS"}},
    }[MUTATIONS[field].target]


def outcome(door: FrontDoor, behind: Behind, role: str, body: bytes) -> str:
    """`yes` when a mutation of somebody who is signed in with a role reaches Dagster, else the code of the refusal."""
    who = () if role == "nobody" else (session(role),)
    before = behind.reached
    answer = ask(door, "POST", "/graphql", [HOST, JSON, OURS, *who], body)
    return LET_THROUGH if behind.reached > before and answer.status == 200 else str(answer.json()["code"])


def by_role(cases: Iterable[tuple[str, bytes]]) -> list[tuple[str, tuple[str, ...]]]:
    """Of each case, the outcome for every role."""
    behind = Behind()
    door = signed_door(behind, look_up=known)
    return [(name, tuple(outcome(door, behind, role, body) for role in ROLES)) for name, body in cases]


def mutations() -> list[tuple[str, tuple[str, ...]]]:
    """Every mutation of Dagster's schema, upon a job that only needs projects.start, and one that Dagster has not."""
    cases = [(field, document_of(field, arguments_of(field))) for field in MUTATIONS]
    return by_role([*cases, ("inventedTomorrow", document_of("inventedTomorrow", {}))])


def jobs() -> list[tuple[str, tuple[str, ...]]]:
    """Launching every job of ours, the assets, and a job that nobody gave a rule."""
    names = [*JOBS, "__ASSET_JOB", "job_without_a_rule"]
    return by_role((job, document_of("launchRun", arguments_of("launchRun", job))) for job in names)


def attacks() -> list[tuple[str, str]]:
    """What becomes of each attack upon the browser of an administrator who is signed in, or upon the door itself."""
    found = []
    for name, attack in _ATTACKS.items():
        behind = Behind()
        code = attack(signed_door(behind, look_up=known))
        found.append((name, code if behind.reached == 0 else LET_THROUGH))
    return found


def _http(
    method: str, path: str, *headers: tuple[str, str], body: bytes = b"", query: str = "", host: tuple[str, str] = HOST
) -> Callable[[FrontDoor], str]:
    def attack(door: FrontDoor) -> str:
        answer = ask(door, method, path, [host, session("admin"), *headers], body, query)
        return f"{answer.status} {answer.code}"

    return attack


def _socket(*headers: tuple[str, str], document: str) -> Callable[[FrontDoor], str]:
    def attack(door: FrontDoor) -> str:
        start = text({"type": "start", "id": "1", "payload": {"query": document}})
        sent = talk(door, [start], [session("admin"), *headers])
        return f"closed {sent[-1]['code']}" if sent[-1]["type"] == "websocket.close" else LET_THROUGH

    return attack


_BY_GET = urlencode({"query": LAUNCH})
_POSTED = json.dumps({"query": LAUNCH}).encode()
_TEXT = ("content-type", "text/plain; x=application/json")
_FORM = ("content-type", "application/x-www-form-urlencoded")
_CHECK = "check_name=every_run_has_a_passport&passed=true"
_SUBSCRIPTION = 'subscription { pipelineRunLogs(runId: "x") { __typename } }'
_ATTACKS: dict[str, Callable[[FrontDoor], str]] = {
    "an `<img>` on another site whose address holds a mutation": _http("GET", "/graphql", *ELSEWHERE, query=_BY_GET),
    "a link to a mutation, followed": _http("GET", "/graphql", query=_BY_GET),
    "the same with a newline after the path": _http("GET", "/graphql\n", query=_BY_GET),
    "a form on another site": _http("POST", "/graphql", EVIL, _FORM, body=b"a=b", query=_BY_GET),
    "JSON from another site, called text": _http("POST", "/graphql", EVIL, _TEXT, body=_POSTED),
    "the same from a page of ours": _http("POST", "/graphql", OURS, _TEXT, body=_POSTED),
    "JSON from another site": _http("POST", "/graphql", EVIL, JSON, body=_POSTED),
    "JSON from another port of this host": _http(
        "POST", "/graphql", ("origin", "http://localhost:3113"), ("sec-fetch-site", "same-site"), JSON, body=_POSTED
    ),
    "a name of the attacker's that resolves to us (DNS rebinding)": _http(
        "POST", "/graphql", JSON, ("origin", "http://evil.test:3000"), body=_POSTED, host=("host", "evil.test:3000")
    ),
    "a check reported as passed, by any program": _http("POST", "/report_asset_check/receipts", query=_CHECK),
    "a check reported as passed, by a page of ours": _http(
        "POST", "/report_asset_check/receipts", OURS, JSON, body=b"{}", query=_CHECK
    ),
    "a WebSocket from another site": _socket(HOST, EVIL, document=_SUBSCRIPTION),
    "a WebSocket to a name of the attacker's": _socket(("host", "evil.test"), OURS, document=_SUBSCRIPTION),
    "a mutation over a WebSocket": _socket(HOST, OURS, document=LAUNCH),
    "several requests in one body": _http("POST", "/graphql", OURS, JSON, body=b"[" + _POSTED + b"]"),
    "a header that says who acts, and a tag": _http(
        "POST", "/graphql", OURS, JSON, ("x-plms-actor", "boss"),
        body=document_of("launchRun", {"executionParams": FORGED_TAGS}),
    ),
    "two session cookies": _http("POST", "/graphql", OURS, JSON, session("viewer"), body=_POSTED),
    "signing somebody in from another site": _http("POST", "/login", EVIL, _FORM, body=b"token=x"),
    "signing somebody out from another site": _http("POST", "/logout", EVIL, _FORM),
    "framing a page of ours": _http(
        "GET", "/runs", ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")
    ),
}  # fmt: skip


def tables() -> str:
    """The generated part of the page."""
    marks = {LET_THROUGH: "yes", "missing_scope": "no", "sign_in_needed": "no", "unknown_mutation": "no"}
    head = f"| | {' | '.join(ROLES)} |\n|---|{'---|' * len(ROLES)}"

    def rows(found: list[tuple[str, tuple[str, ...]]]) -> str:
        lines = (f"| `{name}` | {' | '.join(marks.get(code, code) for code in codes)} |" for name, codes in found)
        return "\n".join([head, *lines])

    attacked = "\n".join(["| attack | outcome |", "|---|---|", *(f"| {name} | {code} |" for name, code in attacks())])
    return (
        f"### Attacks\n\n{attacked}\n\n### Mutations of Dagster's schema\n\n{rows(mutations())}\n\n"
        f"### Launching, repeating and ending jobs\n\n{rows(jobs())}\n"
    )


BEGIN, END = "<!-- outcomes: begin -->\n", "<!-- outcomes: end -->\n"


def renewed(page: str) -> str:
    """The page with the tables of today."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{tables()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    logging.disable()
    root = project_root()
    assert root is not None
    file = root / PAGE
    file.write_text(renewed(file.read_text(encoding="utf-8")), encoding="utf-8")
