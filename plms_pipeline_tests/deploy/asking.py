"""A panel's question to the registry, as Grafana asks it."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import TextClause, text

from deploy.grafana.parts import Query

_TIME_FILTER: Final = re.compile(r"\$__timeFilter\(([\w.]+)\)")


def statement(query: Query) -> TextClause:
    """The question with Grafana's macro written out, for the last 30 days."""
    assert query.source == "postgresql"
    asked = _TIME_FILTER.sub(r"\1 BETWEEN now() - interval '30 days' AND now()", query.text)
    assert "$" not in asked, asked
    return text(asked.replace(":", r"\:"))
