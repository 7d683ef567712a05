"""What would every test pay for again that the first one paid for?

Each registry that is opened compiles all its SQL anew, because SQLAlchemy keeps compiled statements per engine; the garbage
collector walks the modules of Dagster, pandas and scikit-learn again and again, of which nothing is ever garbage; PostgreSQL
waits for the disk, which no test switches off; and each proof of the books has Alembic read the whole schema and compare it
with the models, to the same end as in the proof before. Together that was half of the suite's processor time. Primes for RSA
keys are looked for again and again, and four of five seconds of a training go into its pictures.
"""

from __future__ import annotations

import gc
from functools import cache
from itertools import cycle
from typing import Any

from alembic import autogenerate
from alembic.runtime.migration import MigrationContext
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine, MetaData, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from plms_pipeline.access.files import RSA_BITS
from plms_pipeline.models.reporting.blocks import Chart
from plms_pipeline.models.reporting.render.charts import Form, draw

# Statements of both databases; the largest program has some 600.
_COMPILED: LRUCache[Any, Any] = LRUCache(4_000)
# A crash of the server is no test's subject (crashes of clients are), and a plan compiled by LLVM costs more than its rows.
# Commits stay synchronous: VACUUM waits for them to be on the disk, and tests that read plans vacuum first.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off", "jit": "off", "autovacuum": "off"}
# All that a comparison with the models can see: where these texts are equal, its result is.
_DEFINITIONS = {
    "sqlite": "SELECT group_concat(thing) FROM (SELECT type || name || tbl_name || coalesce(sql, '') AS thing"
    " FROM sqlite_master ORDER BY 1)",
    "postgresql": """
SELECT md5(string_agg(thing, ',' ORDER BY thing)) FROM (
  SELECT concat_ws(' ', relname, relkind, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
    attcollation, pg_get_expr(adbin, adrelid), col_description(c.oid, attnum), obj_description(c.oid)) AS thing
    FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT concat_ws(' ', indisvalid, indisready, pg_get_indexdef(indexrelid)) FROM pg_index
    JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'
) AS things
""",
}
_COMPARED: dict[tuple[int, str, str | None], Any] = {}
_DRAWN: dict[tuple[str, Form], bytes] = {}


def remember_compared_schemas() -> None:
    """Let Alembic compare each schema with the models once, and any schema that differs in a letter by itself."""
    compare = autogenerate.compare_metadata

    def remembered(context: MigrationContext, metadata: MetaData) -> Any:
        assert context.connection is not None
        dialect = context.connection.dialect.name
        definitions = context.connection.execute(text(_DEFINITIONS[dialect])).scalar_one()
        key = (id(metadata), dialect, definitions)
        if key not in _COMPARED:
            _COMPARED[key] = compare(context, metadata)
        return _COMPARED[key]

    autogenerate.compare_metadata = remembered


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


def share_rsa_keys(n: int = 4) -> None:
    """Let the RSA keys of houses be of a few that were looked for once; as many in turn are different ones."""
    look = rsa.generate_private_key
    found = cache(lambda place, bits: look(65537, bits))
    places = cycle(range(n))

    def shared(public_exponent: int, key_size: int, backend: Any = None) -> rsa.RSAPrivateKey:
        # Keys of other lengths are those that tests make themselves, of somebody whom no house knows.
        return found(next(places), key_size) if key_size == RSA_BITS else look(public_exponent, key_size)

    rsa.generate_private_key = shared


def drawn_once(chart: Chart, form: Form) -> bytes:
    """The first picture of its kind; it is a real one."""
    if (chart.kind, form) not in _DRAWN:
        _DRAWN[chart.kind, form] = draw(chart, form)
    return _DRAWN[chart.kind, form]


def keep_what_is_imported() -> None:
    """Let the garbage collector look only at what tests make; call it when everything is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
