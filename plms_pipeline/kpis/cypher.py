"""Can this Cypher query only read?

The query comes with the artifact, so it is hostile until shown otherwise. Strings, comments and quoted names are taken out
first, then every word is looked at: any clause that writes, administers, loads files, or calls a procedure (which may do
all three) is refused. The server is asked for read access as well; this check is what remains when it ignores that.
"""

from __future__ import annotations

import re
from typing import Final

from plms_pipeline.errors import BadInput

MAXIMUM_LENGTH: Final = 10_000

_OPAQUE: Final = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:``|[^`])*`|//[^\n]*|/\*.*?\*/""", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORBIDDEN: Final = frozenset(
    {
        "ALTER", "CALL", "COMMIT", "CREATE", "DEALLOCATE", "DELETE", "DENY", "DETACH", "DROP", "DRYRUN", "ENABLE", "FINISH",
        "FOREACH", "GRANT", "INSERT", "LOAD", "MERGE", "PERIODIC", "REALLOCATE", "REMOVE", "RENAME", "REVOKE", "SET",
        "SHOW", "START", "STOP", "TERMINATE", "USE",
    }
)  # fmt: skip
_OPENING: Final = frozenset({"MATCH", "OPTIONAL", "WITH", "UNWIND", "RETURN"})


def read_only(query: str) -> str:
    """The query, stripped, when it can only read.

    Raises:
        BadInput: empty, too long, more than one statement, with an escape sequence outside strings, not beginning with a
            reading clause, without RETURN, or with a word that may write (`unsafe_cypher`).
    """
    text = query.strip().removesuffix(";").strip()
    bare = _OPAQUE.sub(" ", text)
    words = [word.upper() for word in _WORD.findall(bare)]
    if not words or len(text) > MAXIMUM_LENGTH:
        raise _unsafe(f"it must have 1 to {MAXIMUM_LENGTH} characters")
    if ";" in bare:
        raise _unsafe("it must be one statement")
    if "\\" in bare or re.search(r"\\u", text, re.IGNORECASE):
        raise _unsafe("it must not hold unicode escapes")  # Cypher resolves \uXXXX before it parses
    if re.search(r"['\"`]|/\*", bare):
        raise _unsafe("a quote or comment is not closed")
    if words[0] not in _OPENING:
        raise _unsafe(f"it begins with {words[0]}, not with a clause that reads")
    written = sorted(set(words) & _FORBIDDEN)
    if written:
        raise _unsafe(f"it holds {', '.join(written)}")
    if "RETURN" not in words:
        raise _unsafe("it returns nothing")
    return text


def _unsafe(why: str) -> BadInput:
    return BadInput(
        f"the Cypher query is refused: {why}; write one reading statement such as MATCH ()-[r]->() RETURN count(r).",
        code="unsafe_cypher",
    )
