"""Does a text hold something that nobody but its owner may read?

A few shapes with next to no false alarms; a net under people, not a reason to be careless. What was found is told by kind
and line, never by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Passwords that examples and tests may use: everybody knows them.
KNOWN_EXAMPLES: Final = ("hunter2", "s3cret", "deadbeef", "***", "secret", "password", "{", "<", "$")
SHAPES: Final = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "Slack webhook": re.compile(r"hooks\.slack\.com/services/T[A-Z0-9]{7,}/B[A-Z0-9]{7,}/[A-Za-z0-9]{20,}"),
    "JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\."),
    "vendor API key": re.compile(r"\bsk-[A-Za-z0-9_-]{32,}\b"),
    "password in a URL": re.compile(r"\b[a-z][a-z0-9+.]*://[^/\s:@\"']+:(?!\d+@)(?P<value>[^/\s@\"']{4,})@"),
    "password in a setting": re.compile(
        r"(?i)\b[a-z_]*(?:password|passwd|api_key|secret_key|token)\b[\"']?\s*[:=]\s*[\"'](?P<value>[^\"'\s]{8,})[\"']"
    ),
}


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Line number and kind of everything in `text` that looks like a secret."""
    for number, line in enumerate(text.splitlines(), start=1):
        for kind, shape in SHAPES.items():
            match = shape.search(line)
            value = match.groupdict().get("value") if match else None
            if match and not (value and any(known in value.lower() for known in KNOWN_EXAMPLES)):
                yield number, kind
