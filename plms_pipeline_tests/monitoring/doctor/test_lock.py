"""Is the universal lock read as pip reads it on this platform?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import default_environment

from plms_pipeline.monitoring.doctor.lock import canonical, differences, wanted

ROOT = Path(__file__).resolve().parents[3]
LOCK = """\
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
# a comment
pywin32==312 ; sys_platform == 'win32' \\
    --hash=sha256:dd
psycopg[binary]==3.3.9 \\
    --hash=sha256:ee
Typing_Extensions==4.15.0
"""


def on(python: str, platform: str = "linux") -> dict[str, str]:
    return {**default_environment(), "python_full_version": python, "sys_platform": platform}


def test_markers_choose_the_lines_of_this_platform() -> None:
    """Without them every Linux machine would be told that pywin32 is missing."""
    assert wanted(LOCK, on("3.11.7")) == {"numpy": "2.4.6", "psycopg": "3.3.9", "typing-extensions": "4.15.0"}
    assert wanted(LOCK, on("3.13.0"))["numpy"] == "2.5.5"
    assert wanted(LOCK, on("3.11.7", "win32"))["pywin32"] == "312"


def test_differences_name_package_and_both_versions() -> None:
    """The sentence must say what to look at."""
    installed = {"a": "1", "b": "3", "extra": "9"}
    assert differences({"b": "2", "a": "1", "c": "4"}, installed) == ["b is 3, locked 2", "c 4 is missing"]


def test_two_spellings_of_one_version_are_no_difference() -> None:
    """A package that calls itself v0.0.21 made every fresh installation look broken, with a remedy that changes nothing."""
    installed = {"a": "v0.0.21", "b": "1.0", "c": "odd"}
    assert differences({"a": "0.0.21", "b": "1.0.0", "c": "odd"}, installed) == []
    assert differences({"a": "0.0.22", "c": "even"}, installed) == [
        "a is v0.0.21, locked 0.0.22",
        "c is odd, locked even",
    ]


@given(st.dictionaries(st.text(alphabet="abc-", min_size=1).map(canonical), st.sampled_from(["1", "2"])))
def test_what_is_as_locked_differs_in_nothing(versions: dict[str, str]) -> None:
    """The law behind the line: equal sets give no sentence, and each difference gives one."""
    assert differences(versions, versions) == []
    assert len(differences(versions, {})) == len(versions)


def test_a_lock_with_a_broken_line_is_not_read_as_shorter() -> None:
    """A merge conflict in the lock must not make the check weaker."""
    with pytest.raises(ValueError, match="<<<<"):
        wanted("a==1\n<<<<<<< ours\n", on("3.11.7"))


def test_the_projects_own_lock_is_read() -> None:
    """Every package that the lock holds for this platform is exact."""
    found = wanted((ROOT / "requirements.lock").read_text(), on("3.11.7"))
    assert found["dagster"] == "1.13.27"
    assert len(found) > 100
    assert all(version and "," not in version and version[0].isdigit() for version in found.values())
