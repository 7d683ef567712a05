"""Is a slip in the name of a subject told from a subject that nobody has seen yet?"""

from __future__ import annotations

import pytest

from plms_pipeline.alerts.subjects import near, slip


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("projct:42", "project:42"), ("Project:42", "project:42"), ("lanes:4200", "lane:4200"), ("nightl", "nightly"),
        ("invariant", "invariants"), ("project:calculator", "its number"), ("lane:", "its number"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_what_was_meant(subject: str, said: str) -> None:
    """The silence would hold nothing back, and the message would wake whoever placed it."""
    assert said in (slip(subject) or "")


@pytest.mark.parametrize(
    "subject",
    ["project:42", "lane:6100", "disk:data", "killswitch:flag file", "POST /api/projects/{id}/start", "dagster-daemon",
     "nightly", "logs/of a run:12", "something new"],
)  # fmt: skip
def test_what_may_be_alarmed_about_later_is_no_slip(subject: str) -> None:
    """A list of what there is today would refuse what is placed in time."""
    assert slip(subject) is None


def test_near_names_are_those_that_were_alarmed_about() -> None:
    """A guess at a name that there is not helps nobody."""
    assert near("disk:dta", ["disk:data", "lane:4200"]) == ["disk:data"]
    assert near("project:42", ["lane:4200"]) == []
