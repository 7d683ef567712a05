"""Who a run says it was launched by."""

from __future__ import annotations

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.instance.actors import (
    ACTOR_TAG,
    UNGUARDED_ACTOR,
    Launch,
    LaunchedFrom,
    actor_from_header,
    event_tag_value,
    header_value,
    launch_of,
)

TAGS = st.dictionaries(
    st.sampled_from(
        [ACTOR_TAG, "plms/launched_from", "dagster/schedule_name", "dagster/sensor_name", "dagster/parent_run_id", "x"]
    ),
    st.text(max_size=20),
)


def _launch(**changes: object) -> Launch:
    given_: dict[str, object] = {"header": None, "over_http": False, "tags": {}, "inherited": None, "os_user": "ada"}
    return launch_of(**{**given_, **changes})  # type: ignore[arg-type]  # a table of keyword arguments


@given(st.text(min_size=1, max_size=60))
def test_every_account_name_survives_the_header(name: str) -> None:
    """Otherwise a person whose name is not ASCII could not launch anything."""
    value = header_value(f"local:{name}".encode("utf-8", "replace").decode())
    assert value.isascii()
    assert "\n" not in value
    assert actor_from_header(value) == f"local:{name}".encode("utf-8", "replace").decode()


@given(st.text(max_size=300))
def test_every_actor_can_be_written_on_an_asset_event(actor: str) -> None:
    """Dagster refuses the event otherwise, and the UI's button for it answers with a traceback."""
    event = dg.AssetMaterialization("a", tags={ACTOR_TAG: event_tag_value(actor)})
    assert event_tag_value("local:ada") == "local.ada"
    assert event.tags is not None


@given(TAGS)
def test_the_header_wins_over_whatever_tags_a_client_sends(tags: dict[str, str]) -> None:
    """Otherwise anyone could launch in somebody else's name by adding a tag in the Launchpad."""
    launch = _launch(header="local:ada", over_http=True, tags=tags, inherited="user:boss")
    assert launch == Launch("local:ada", LaunchedFrom.UI)


@given(TAGS)
def test_a_request_that_did_not_pass_the_front_door_is_never_a_person(tags: dict[str, str]) -> None:
    """Otherwise a bare webserver, which any web page can use, would launch runs in the operator's name."""
    launch = _launch(over_http=True, tags=tags, inherited="user:boss")
    assert launch == Launch(UNGUARDED_ACTOR, LaunchedFrom.UNGUARDED)


@given(st.text(max_size=30))
def test_an_actor_tag_given_on_the_command_line_is_not_believed(forged: str) -> None:
    """Otherwise `dagster job launch --tags` would sign for anybody."""
    assert _launch(tags={ACTOR_TAG: forged}).actor == "local:ada"


def test_schedules_and_sensors_are_named_as_who_asked() -> None:
    """Otherwise every nightly run would look as if the service account had pressed a button."""
    assert _launch(tags={"dagster/schedule_name": "nightly"}) == Launch("schedule:nightly", LaunchedFrom.DAEMON)
    assert _launch(tags={"dagster/sensor_name": "pas"}) == Launch("sensor:pas", LaunchedFrom.DAEMON)


def test_a_retry_or_backfill_run_keeps_who_began_it_but_is_marked_as_the_daemons() -> None:
    """Otherwise the second attempt of a person's run would be nobody's."""
    for tags in ({"dagster/parent_run_id": "r1"}, {"dagster/backfill": "b1"}):
        assert _launch(tags=tags, inherited="local:eve") == Launch("local:eve", LaunchedFrom.DAEMON)


def test_nothing_is_inherited_without_a_run_to_inherit_from() -> None:
    """Otherwise a stale value could slip into an unrelated run."""
    assert _launch(inherited="user:boss").actor == "local:ada"
