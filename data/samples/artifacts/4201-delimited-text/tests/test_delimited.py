import pytest
from delimited import format_field, format_record, parse, parse_line


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", [""]),
        ("a,b", ["a", "b"]),
        ("a,,c", ["a", "", "c"]),
        (",", ["", ""]),
        ('"a,b",c', ["a,b", "c"]),
        (" a , b ", [" a ", " b "]),
        ('"",x', ["", "x"]),
    ],
)
def test_parses_fields(line, fields):
    assert parse_line(line) == fields


def test_a_doubled_quote_stands_for_one():
    assert parse_line('"say ""hi""",x') == ['say "hi"', "x"]


def test_other_separators():
    assert parse_line("a;b,c", ";") == ["a", "b,c"]


def test_an_open_quote_is_an_error():
    with pytest.raises(ValueError, match="not closed"):
        parse_line('"a')


def test_parses_records():
    assert parse("a,b\nc,d\n") == [["a", "b"], ["c", "d"]]


def test_a_quoted_field_may_span_lines():
    assert parse('"one\ntwo",x\n') == [["one\ntwo", "x"]]


def test_windows_line_ends():
    assert parse("a,b\r\nc,d\r\n") == [["a", "b"], ["c", "d"]]


def test_no_text_no_records():
    assert parse("") == []


@pytest.mark.parametrize(
    ("value", "written"),
    [("a", "a"), (None, ""), (1, "1"), ("a,b", '"a,b"'), ('a"b', '"a""b"')],
)
def test_writes_fields(value, written):
    assert format_field(value) == written


def test_writes_records():
    assert format_record(["a", None, "b,c"]) == 'a,,"b,c"'
