"""Reads and writes text with separators, after RFC 4180."""


def parse_line(line, separator=","):
    """The fields of one line; a field in double quotes may hold the separator, and a doubled quote stands for one."""
    fields, field, quoted = [], "", False
    for character in line:
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            fields.append(field)
            field = ""
        else:
            field += character
    if quoted:
        raise ValueError("a quote is not closed")
    return [*fields, field]


def parse(text, separator=","):
    """The records of a text; an empty last line is no record."""
    return [parse_line(line, separator) for line in text.splitlines() if line]


def format_field(value, separator=","):
    """One field as it must be written."""
    text = "" if value is None else str(value)
    if separator in text or '"' in text or "\n" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def format_record(values, separator=","):
    """One record as a line, without its line end."""
    return separator.join(format_field(value, separator) for value in values)
