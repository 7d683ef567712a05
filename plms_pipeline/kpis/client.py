"""What does the graph answer?

Neo4j's HTTP protocol: the Query API (`POST /db/<name>/query/v2`), and for servers before 5.19 the transaction endpoint
(`POST /db/<name>/tx/commit`). The query was checked to be reading (`cypher.read_only`), and the server is asked for read
access as well. Time, size of the answer and number of attempts are bounded; a redirect is not followed, because it would
carry the password to another host.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import httpx

from plms_pipeline.errors import BadInput, Unavailable

TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 3
MAX_ANSWER: Final = 1024 * 1024


class GraphClient:
    """One Neo4j database over HTTP.

    Args:
        url: base address, such as `http://127.0.0.1:7474`.
        database: name of the database.
        user: user name; sent only together with a password.
        password: None for a server without authentication.
        sleep: waits the given seconds between attempts.
        timeout_s: for connecting, and again for each read.
    """

    def __init__(
        self,
        url: str,
        *,
        database: str,
        user: str,
        password: str | None,
        sleep: Callable[[float], None],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._base = f"{url.rstrip('/')}/db/{quote(database, safe='')}"
        self._auth = httpx.BasicAuth(user, password) if password is not None else None
        self._sleep = sleep
        self._timeout_s = timeout_s

    def number(self, query: str) -> int:
        """The one whole number that a reading query returns.

        Raises:
            BadInput: the server refuses the query, or it returns anything but one number ≥ 0 (`bad_graph_answer`).
            Unavailable: the server is away, refuses the credentials, or answers with what is not its protocol.
        """
        status, answer = self._post("/query/v2", {"statement": query, "accessMode": "READ"})
        if status == 404 and "errors" not in answer:
            status, answer = self._post("/tx/commit", {"statements": [{"statement": query}]})
        if status in (401, 403):
            raise Unavailable(
                "the graph refuses our credentials; check PLMS_NEO4J_USER and PLMS_NEO4J_PASSWORD.",
                code="graph_unavailable",
            )
        errors = answer.get("errors")
        if errors:
            raise BadInput(f"the graph refuses the query: {str(errors[0])[:300]}", code="bad_graph_answer")
        return _one_number(answer)

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        failure = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(0.2 * 4**attempt / 4)
            try:
                status, data = self._send(path, body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = type(error).__name__
                continue
            if status < 500:
                return status, _object(data, status)
            failure = f"status {status}"
        raise Unavailable(
            f"the graph at PLMS_NEO4J_URL does not answer ({failure}); check that it runs.", code="graph_unavailable"
        )

    def _send(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Access-Mode": "READ"}
        with (
            httpx.Client(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", self._base + path, json=body, headers=headers, auth=self._auth) as response,
        ):
            data = b""
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER:
                    raise BadInput(f"the graph answers with more than {MAX_ANSWER} bytes", code="bad_graph_answer")
            return response.status_code, data


def _object(data: bytes, status: int) -> dict[str, Any]:
    try:
        answer = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and (answer or status >= 400):
        return answer
    if status == 404:
        return {}
    raise Unavailable(
        f"what answers at PLMS_NEO4J_URL does not speak Neo4j's HTTP protocol (status {status}).",
        code="graph_unavailable",
    )


def _one_number(answer: dict[str, Any]) -> int:
    """The single cell of an answer of either endpoint."""
    try:
        if "data" in answer:
            [[value]] = answer["data"]["values"]
        else:
            [result] = answer["results"]
            [row] = result["data"]
            [value] = row["row"]
    except (KeyError, TypeError, ValueError):
        raise BadInput("the query must return exactly one row with one column", code="bad_graph_answer") from None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadInput(f"the query must return a count, not {str(value)[:80]}", code="bad_graph_answer")
    return value
