"""What kind of failure does a reason tell of?

A reason is text that somebody else wrote. It is cut, cleaned of what a terminal or a database could take for more than text,
and matched against words; it is never evaluated. The sources executed it: a failure whose message held a quote ran a command.

Classes: TRANSIENT is tried again, PERMANENT and POLICY never. A reason that nobody recognises is PERMANENT: what nobody
understands costs money again each time. Where a reason says several things the strictest wins, because a gateway that times out
while it reports a licence violation still reports a licence violation.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

ErrorClass = Literal["TRANSIENT", "PERMANENT", "POLICY"]
TRANSIENT: Final = "TRANSIENT"
PERMANENT: Final = "PERMANENT"
POLICY: Final = "POLICY"
# More of a reason is neither kept nor looked at.
MOST_CHARACTERS: Final = 2000
NO_REASON: Final = "no reason was given"
UNKNOWN: Final = "unknown"

# Control characters but tab and line feed, halves of surrogate pairs, and marks that turn the direction of what follows.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_AGAIN: Final = "429|500|502|503|504"


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# (class, label, what tells it), the strictest first. All patterns take time linear in the length of the text.
_RULES: Final[tuple[tuple[ErrorClass, str, re.Pattern[str]], ...]] = (
    ("POLICY", "policy_violation", _words(
        r"\bpii\b", r"personally identifiable", r"\blicen[cs]e", r"\blicen[cs]ing", r"copyright", r"policy violation",
        r"violat\w+ (?:\w+ )?policy", r"content policy",
    )),
    ("PERMANENT", "stopped", _words(r"^cancelled\b", r"^stopped by\b", r"says (?:cancell?ed|terminated|skipped)$")),
    ("PERMANENT", "budget_exceeded", _words(
        r"budget", r"insufficient[_ ](?:quota|funds|credit)", r"\bcap was reached", r"over the cap",
    )),
    ("PERMANENT", "authentication_failure", _words(
        r"\bunauthori[sz]ed\b", r"\bforbidden\b", r"invalid api[ _-]?key", r"authentication (?:failed|failure|error)",
        r"permission denied", r"(?:http|status|code)[ :=]{0,3}40[13]\b", r"\b40[13] (?:unauthorized|forbidden)",
    )),
    ("PERMANENT", "schema_validation", _words(
        r"schema (?:validation|mismatch|violation|error)", r"validation error", r"not match the schema", r"invalid json",
        r"malformed", r"unprocessable",
    )),
    ("TRANSIENT", "rate_limiting", _words(
        r"too many requests", r"rate[ _-]?limit", r"(?:http|status|code|error)[ :=]{0,3}429\b", r"throttl",
    )),
    ("TRANSIENT", "timeout", _words(r"time[ -]?out", r"timed out", r"deadline exceeded", r"\betimedout\b")),
    ("TRANSIENT", "executor_lost_it", _words(r"executor does not know th", r"worker (?:died|was lost|crashed)", r"preempted")),
    ("TRANSIENT", "network_connectivity", _words(
        r"\beconn(?:reset|refused|aborted)\b", r"\bepipe\b", r"\beai_again\b", r"socket hang ?up",
        r"connection (?:was )?(?:reset|refused|aborted|closed|lost|error)", r"network (?:is )?(?:unreachable|error|down)",
        r"broken pipe", r"name resolution",
    )),
    ("TRANSIENT", "service_unavailable", _words(
        rf"(?:http|status|code|error)[ :=]{{0,3}}(?:{_AGAIN})\b", r"service unavailable", r"bad gateway",
        r"internal server error", r"temporarily unavailable", r"\bunavailable\b", r"overloaded", r"temporary failure",
        r"database is locked",
    )),
)  # fmt: skip

# What differs between two failures of one cause, in the order in which it is taken out.
_VARYING: Final = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?"), "<moment>"),
    (re.compile(r"(?:\b[a-z]:|\.{0,2})(?:[/\\][^\s/\\:'\"]+)+"), "<path>"),
    (re.compile(r"'[^'\n]{0,200}'|\"[^\"\n]{0,200}\"|`[^`\n]{0,200}`"), "<text>"),
    (re.compile(r"\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Classified:
    """A failure's class and label; `is_known` when words of the reason said so."""

    error_class: ErrorClass
    label: str
    is_known: bool

    @property
    def may_be_retried(self) -> bool:
        """Whether trying again may help."""
        return self.error_class == TRANSIENT


def cleaned(text: str | None) -> str:
    """A reason as it is kept: at most 2,000 characters, none of which does anything to a terminal or a database."""
    kept = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", (text or "")[: 2 * MOST_CHARACTERS]).strip()
    return kept[:MOST_CHARACTERS] or NO_REASON


def classify(reason: str | None) -> Classified:
    """The class of a failure, from its reason alone."""
    text = cleaned(reason)
    for error_class, label, pattern in _RULES:
        if pattern.search(text):
            return Classified(error_class, label, is_known=True)
    return Classified("PERMANENT", UNKNOWN, is_known=False)


def classify_all(reasons: list[str]) -> Classified:
    """The class of something that failed for several reasons: the strictest of theirs, so that one of them suffices to stop."""
    found = [classify(reason) for reason in reasons] or [classify(None)]
    order = (POLICY, PERMANENT, TRANSIENT)
    return min(found, key=lambda one: (order.index(one.error_class), not one.is_known))


def template_of(reason: str) -> str:
    """A reason without what differs between two failures of one cause: numbers, names, paths, moments."""
    text = cleaned(reason).lower()
    for pattern, sign in _VARYING:
        text = pattern.sub(sign, text)
    return text.strip()[:300]


def fingerprint(kind: str, reason: str) -> str:
    """What groups failures of one cause: 16 hexadecimal digits of the kind and the reason's template."""
    return hashlib.sha256(f"{kind}\n{template_of(reason)}".encode()).hexdigest()[:16]
