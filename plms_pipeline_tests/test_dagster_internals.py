"""What we assume of Dagster's private parts: each of these may change with any release, and then fails here."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.telemetry_upload import upload_logs
from dagster._core.workspace.context import (
    BaseWorkspaceRequestContext,
    WorkspaceProcessContext,
    WorkspaceRequestContext,
)
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._core.workspace.permissions import PermissionResult, Permissions

from plms_pipeline import dagster_internals
from plms_pipeline.access.actors import Actor, launch_actor
from plms_pipeline.dagster_internals import (
    ASSET_JOB_NAME,
    GRANTS_KEY,
    JOB_PERMISSION_FIELDS,
    JOB_TYPES,
    NOT_GUARDED,
    ActorRunCoordinator,
    FrontDoorRequestContext,
    PlmsInstance,
    code_server_arguments,
    daemon_arguments,
    workspace_text,
)
from plms_pipeline.instance.actors import (
    ACTOR_HEADER,
    ACTOR_TAG,
    LAUNCHED_FROM_TAG,
    ROLE_HEADER,
    ROLE_TAG,
    VERIFIED_HEADER,
    VERIFIED_TAG,
)
from plms_pipeline.instance.config import checkout_yaml, instance_yaml
from plms_pipeline.instance.process import os_user
from plms_pipeline.settings import project_root
from plms_pipeline.web import guard, rules


@pytest.fixture
def instance(tmp_path: Path) -> PlmsInstance:
    (tmp_path / "dagster.yaml").write_text(instance_yaml(str(tmp_path / "state")))
    with DagsterInstance.from_config(str(tmp_path)) as opened:
        assert isinstance(opened, PlmsInstance)
        yield opened


def test_a_custom_instance_class_says_where_storage_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If `config_defaults` were no longer asked, runs would be stored in the project's root."""
    monkeypatch.delenv("PLMS_DATA_DIR", raising=False)
    (tmp_path / "dagster.yaml").write_text(checkout_yaml())
    reference = InstanceRef.from_dir(str(tmp_path))
    state = tmp_path / "data" / "dagster"
    assert reference.storage_data is not None
    assert reference.storage_data.config_dict == {"base_dir": str(state / "storage")}
    assert reference.local_artifact_storage_data.config_dict == {"base_dir": str(state / "artifacts")}
    assert reference.compute_logs_data.config_dict == {"base_dir": str(state / "compute_logs")}


def test_written_and_default_instances_name_the_same_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plms` and a bare `dagster` would otherwise keep two histories of one data directory."""
    monkeypatch.delenv("PLMS_DATA_DIR", raising=False)
    (tmp_path / "dagster.yaml").write_text(checkout_yaml())
    beside = InstanceRef.from_dir(str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(instance_yaml(str(tmp_path / "data" / "dagster")))
    written = InstanceRef.from_dir(str(tmp_path))
    for part in ("storage_data", "local_artifact_storage_data", "compute_logs_data"):
        assert getattr(beside, part).config_dict == getattr(written, part).config_dict


def test_the_instance_survives_the_way_to_a_run_worker(instance: PlmsInstance) -> None:
    """Run workers rebuild the instance from its serialized reference."""
    with DagsterInstance.from_ref(instance.get_ref()) as again:
        assert isinstance(again, PlmsInstance)
        assert again.storage_directory() == instance.storage_directory()


def _submit(instance: PlmsInstance, tags: dict[str, str], headers: dict[str, str] | None = None) -> dict[str, str]:
    location = GrpcServerCodeLocationOrigin(host="localhost", socket="/nowhere", location_name="l")
    job = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "j")
    code = JobPythonOrigin("j", RepositoryPythonOrigin(sys.executable, ModuleCodePointer("m", "defs")))
    run = DagsterRun(job_name="j", tags=tags, remote_job_origin=job, job_code_origin=code)
    instance.add_run(run)
    workspace = Mock(spec=WorkspaceRequestContext)
    workspace.source = None if headers is None else Mock(headers=headers)
    coordinator = instance.run_coordinator
    assert isinstance(coordinator, ActorRunCoordinator)
    stored = coordinator.submit_run(SubmitRunContext(run, workspace))
    assert stored.status is DagsterRunStatus.QUEUED
    return dict(stored.tags)


def test_a_run_from_the_command_line_is_the_account_s(instance: PlmsInstance) -> None:
    """Whatever `--tags` said: the coordinator overwrites an existing tag, it does not merely add one."""
    stored = _submit(instance, {ACTOR_TAG: "user:boss", LAUNCHED_FROM_TAG: "ui"})
    assert stored[ACTOR_TAG] == f"local:{os_user()}"
    assert stored[LAUNCHED_FROM_TAG] == "terminal"


def test_a_retried_run_inherits_from_storage_not_from_its_own_tags(instance: PlmsInstance) -> None:
    """A retry copies its parent's tags, and so could a forger."""
    parent = DagsterRun(job_name="j", tags={ACTOR_TAG: "local:eve"})
    instance.add_run(parent)
    stored = _submit(instance, {"dagster/parent_run_id": parent.run_id, ACTOR_TAG: "user:boss"})
    assert (stored[ACTOR_TAG], stored[LAUNCHED_FROM_TAG]) == ("local:eve", "daemon")


def test_an_account_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run under user ids that no passwd file knows."""

    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert os_user() == f"uid{os.getuid()}"


def test_names_that_we_override_still_exist() -> None:
    """A renamed method would be overridden by nobody and called by nobody: backfills would lose their actor."""
    assert issubclass(ActorRunCoordinator, QueuedRunCoordinator)
    for method in ("get_viewer_tags", "get_reporting_user_tags"):
        assert callable(getattr(BaseWorkspaceRequestContext, method))
        assert callable(getattr(FrontDoorRequestContext, method))
    ours = set(inspect.signature(WorkspaceRequestContext.__init__).parameters)
    assert ours >= {"instance", "current_workspace", "process_context", "version", "source", "read_only"}
    theirs = inspect.signature(WorkspaceProcessContext.create_request_context).parameters
    assert list(theirs) == ["self", "source"]


def test_what_dagster_asks_about_permissions_is_what_we_answer() -> None:
    """A check under another name would be answered by Dagster itself, which lets everybody do everything."""
    for name in ("permissions", "permissions_for_location", "has_permission_for_selector"):
        assert name in vars(FrontDoorRequestContext)
        assert hasattr(WorkspaceRequestContext, name)
    # These two answer from the three above, and remember that they were asked.
    assert "self.permissions" in inspect.getsource(WorkspaceRequestContext.has_permission)
    assert "self._checked_permissions.add" in inspect.getsource(WorkspaceRequestContext.has_permission)
    assert "self.permissions_for_location" in inspect.getsource(BaseWorkspaceRequestContext.has_permission_for_location)
    assert set(inspect.signature(PermissionResult).parameters) == {"enabled", "disabled_reason"}
    # No definition's owner is given more than the deployment.
    assert "return False" in inspect.getsource(BaseWorkspaceRequestContext.viewer_has_any_owner_definition_permissions)


@pytest.mark.live
def test_launching_asks_about_the_job_and_the_pages_about_the_deployment() -> None:
    """Therefore the former is ours by `has_permission_for_selector`, and the two fields of the latter are answered anew."""
    from dagster_graphql.implementation import utils
    from dagster_graphql.schema import create_schema
    from dagster_graphql.schema.pipelines.pipeline import GraphenePipeline
    from dagster_graphql.schema.roots import mutation

    assert "context.has_permission_for_selector(permission, job_selector)" in inspect.getsource(
        utils.has_permission_for_job
    )
    for function in (
        mutation.create_execution_params_and_launch_pipeline_exec,
        mutation.create_execution_params_and_launch_pipeline_reexec,
    ):
        assert "assert_permission_for_job" in inspect.getsource(function)
    assert "context.has_permission(permission)" in inspect.getsource(utils.has_permission_for_definition)
    types = create_schema().graphql_schema.type_map
    for name in JOB_TYPES:
        assert set(JOB_PERMISSION_FIELDS) <= set(types[name].fields)  # type: ignore[attr-defined]  # an object type
    assert callable(GraphenePipeline.get_represented_job)
    assert utils.is_implicit_asset_job_name.__globals__["IMPLICIT_ASSET_JOB_NAME"] == ASSET_JOB_NAME
    assert set(JOB_PERMISSION_FIELDS.values()) <= {str(permission) for permission in Permissions}


def test_a_request_that_did_not_pass_the_door_may_nothing(instance: PlmsInstance) -> None:
    """The second lock is shut unless the first was opened with a key."""
    bare = Mock(spec=FrontDoorRequestContext)
    bare.source = Mock(headers={}, scope={"headers": []})
    assert FrontDoorRequestContext._grants(bare) is None
    bare.source = None
    assert FrontDoorRequestContext._grants(bare) is None
    bare._grants = lambda: None
    bare._checked_permissions = set()
    assert not FrontDoorRequestContext.may_for_job(bare, "launch_pipeline_execution", "nightly")
    found = FrontDoorRequestContext._results(bare, {"wipe_assets": PermissionResult(True, None)})
    assert found == {"wipe_assets": PermissionResult(False, NOT_GUARDED)}


def test_the_door_and_dagster_mean_the_same_key_and_the_same_job() -> None:
    """They stand in two layers that do not know each other."""
    assert GRANTS_KEY == guard.GRANTS
    assert ASSET_JOB_NAME == rules.ASSET_JOB


def test_a_run_carries_what_the_door_found_out(instance: PlmsInstance) -> None:
    """Who it was, in which role, and whether somebody vouched for the name; whatever the launcher wrote."""
    claims = {ACTOR_TAG: "boss", VERIFIED_TAG: "yes", ROLE_TAG: "admin"}
    stored = _submit(instance, claims)
    assert (stored[VERIFIED_TAG], stored[ROLE_TAG]) == ("no", "none")
    said = {ACTOR_HEADER: "ada", VERIFIED_HEADER: "yes", ROLE_HEADER: "approver"}
    stored = _submit(instance, claims, said)
    assert (stored[ACTOR_TAG], stored[LAUNCHED_FROM_TAG]) == ("ada", "ui")
    assert (stored[VERIFIED_TAG], stored[ROLE_TAG]) == ("yes", "approver")
    assert launch_actor(stored) == Actor("ada", is_verified=True)


def test_viewer_tags_are_laid_over_those_a_client_sends_with_a_backfill() -> None:
    """If the order turned round, a client could name the actor of a backfill."""
    from dagster_graphql.implementation.execution import backfill

    assert "{**tags, **graphene_info.context.get_viewer_tags()}" in inspect.getsource(backfill)


def test_the_upload_of_logs_still_asks_only_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon posts the folder `logs` of its home to Dagster's makers even when telemetry is off in `dagster.yaml`."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "secret.log").write_text("x")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert os.environ["DAGSTER_DISABLE_TELEMETRY"]
    from threading import Event

    upload_logs(Event(), raise_errors=True)
    assert (tmp_path / "logs" / "secret.log").exists()
    assert 'os.getenv("DAGSTER_DISABLE_TELEMETRY") is not None' in inspect.getsource(
        sys.modules["dagster._core.telemetry_upload"]
    )


def test_a_workspace_file_names_our_socket_and_location(tmp_path: Path) -> None:
    """Schedules and run keys are remembered by location name: it must be that of the shipped workspace.yaml."""
    root = project_root()
    assert root is not None
    shipped = location_origins_from_yaml_paths([str(root / "workspace.yaml")])
    (tmp_path / "w.yaml").write_text(workspace_text('/tmp/a "b"/code.sock', "plms_pipeline.definitions"))
    ours = location_origins_from_yaml_paths([str(tmp_path / "w.yaml")])
    assert [origin.location_name for origin in shipped] == [origin.location_name for origin in ours]
    assert isinstance(ours[0], GrpcServerCodeLocationOrigin)
    assert ours[0].socket == '/tmp/a "b"/code.sock'


@pytest.mark.live
@pytest.mark.parametrize("arguments", [code_server_arguments("m", "s", "l"), daemon_arguments("w")])
def test_the_commands_that_we_start_know_their_options(arguments: list[str]) -> None:
    """`dagster._daemon` and `dagster api grpc` are started by name; an option they lost would end them at once."""
    program = arguments[: 4 if "api" in arguments else 3]
    shown = subprocess.run([sys.executable, *program, "--help"], capture_output=True, text=True, check=True, timeout=60)
    for option in arguments:
        if option.startswith("--"):
            assert option in shown.stdout


@pytest.mark.live
def test_the_webserver_is_not_imported_by_every_process() -> None:
    """Each run worker opens the instance and would pay three seconds for pages that it never serves."""
    code = "import sys, plms_pipeline.dagster_internals; print('dagster_webserver' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "False"


def test_no_other_module_imports_private_dagster_names() -> None:
    """They would break with an upgrade and no contract test would say so."""
    root = Path(dagster_internals.__file__).parent
    offenders = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if path.name != "dagster_internals.py"
        and any(words in path.read_text() for words in ("from dagster._", "import dagster._", "dagster_webserver"))
    ]
    assert offenders == []


def test_the_shipped_yaml_is_yaml() -> None:
    """Belt and braces for people who edit it."""
    root = project_root()
    assert root is not None
    assert set(yaml.safe_load((root / "workspace.yaml").read_text())) == {"load_from"}
