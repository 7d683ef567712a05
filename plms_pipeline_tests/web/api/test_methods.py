"""Does a path say all of its methods, and only its own?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.web.api.methods import MethodTable, allow_header

TABLE = MethodTable(
    [("/p", "GET"), ("/p/create", "POST"), ("/p/{id}", "GET"), ("/p/{id}", "DELETE"), ("/p/{id}/b.c", "PATCH"),
     ("/p/{id}/{other}", "PUT")]
)  # fmt: skip


def test_a_path_that_is_spelt_out_is_not_an_id() -> None:
    """`GET /projects/create` answered "create is no number" instead of 405."""
    assert TABLE.refused("/p/create", "GET") == {"POST"}
    assert TABLE.refused("/p/create", "POST") is None
    assert TABLE.allowed("/p/create") == {"POST"}


def test_all_methods_of_a_path_are_named() -> None:
    """Each route knows its own method only; a client that trusts `Allow` would never find DELETE."""
    assert allow_header(TABLE.allowed("/p/7")) == "DELETE, GET"
    assert TABLE.refused("/p/7", "PUT") is None


def test_the_more_literal_template_wins_and_a_stop_is_a_stop() -> None:
    """A template is no regular expression."""
    assert TABLE.allowed("/p/7/b.c") == {"PATCH"}
    assert TABLE.allowed("/p/7/bxc") == {"PUT"}


@given(st.text(max_size=30))
def test_what_no_template_matches_has_no_methods(path: str) -> None:
    """404 stays 404."""
    if not path.startswith("/p"):
        assert TABLE.allowed(path) == frozenset()
        assert TABLE.refused(path, "GET") is None
