"""What do the bodies of requests in every domain have in common?

What a schema can say is said here; what only the books can say is a conflict with them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# No blank at the beginning and no control characters; the databases could not keep some of them.
LINE = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
Reason = Annotated[
    str, Field(min_length=1, max_length=4000, pattern=LINE, description="Why; kept for ever.", examples=["within plan"])
]


class Request(BaseModel):
    """What is asked for: nothing that is not named, because a misspelt budget that is ignored is found by the bill."""

    model_config = ConfigDict(extra="forbid")


class WhyIn(Request):
    """A reason, where one may be given."""

    reason: Reason | None = None


class BecauseIn(Request):
    """A reason, where one must be given."""

    reason: Reason
