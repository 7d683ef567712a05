"""What would every test pay for again that the first one paid for?

Three things, which together were two fifths of the suite's processor time: each registry that is opened compiles all its SQL
anew, because SQLAlchemy keeps compiled statements per engine; the garbage collector walks the modules of Dagster, pandas and
scikit-learn again and again, of which nothing is ever garbage; and PostgreSQL waits for the disk, which no test switches off.
"""

from __future__ import annotations

import gc
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

# Statements of both databases; the largest program has some 600.
_COMPILED: LRUCache[Any, Any] = LRUCache(4_000)
# A crash of the server is no test's subject (crashes of clients are), and a plan compiled by LLVM costs more than its rows.
# Commits stay synchronous: VACUUM waits for them to be on the disk, and tests that read plans vacuum first.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off", "jit": "off", "autovacuum": "off"}


def share_compiled_sql() -> None:
    """Let all engines of a dialect share what was compiled: the databases of the tests are of one version and one schema."""

    def same(self: DefaultDialect, other: object) -> bool:
        return type(self) is type(other)

    def number(self: DefaultDialect) -> int:
        return hash(type(self))

    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        dialect.__eq__, dialect.__hash__ = same, number  # type: ignore[method-assign,assignment]
    made = Engine.__init__

    def with_what_is_compiled(self: Engine, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self._compiled_cache = _COMPILED

    Engine.__init__ = with_what_is_compiled  # type: ignore[method-assign]


def keep_what_is_imported() -> None:
    """Let the garbage collector look only at what tests make; call it when everything is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
