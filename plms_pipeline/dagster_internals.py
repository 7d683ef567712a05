"""Which private parts of Dagster do we lean on, and for what?

Dagster has no public way to place an instance's storage relative to its file, to learn from a request who launches a
run, or to put middleware before its webserver. This is the one module that may import its private names; each of them,
and each assumption about how it behaves, has a contract test in `plms_pipeline_tests/test_dagster_internals.py`, so
that an upgrade that changes one of them fails there and not on somebody's night shift.

Dagster loads this module in every process that opens an instance (`dagster.yaml` names it), therefore the webserver
with its three seconds of imports is imported only where it is served.
"""

from __future__ import annotations

import atexit
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dagster import DagsterInstance, Field
from dagster._core.definitions.selector import JobSelector
from dagster._core.instance.config import ConcurrencyConfig
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._core.workspace.permissions import PermissionResult
from dagster._serdes import ConfigurableClassData

from plms_pipeline.instance.actors import (
    ACTOR_HEADER,
    ACTOR_TAG,
    ROLE_HEADER,
    UNGUARDED_ACTOR,
    VERIFIED_HEADER,
    actor_from_header,
    continued_id,
    event_tag_value,
    launch_of,
)
from plms_pipeline.instance.config import quoted, state_paths
from plms_pipeline.instance.process import os_user

if TYPE_CHECKING:
    from dagster import DagsterRun
    from starlette.types import ASGIApp

# `telemetry: {enabled: false}` stops the recording, not the sending: the daemon posts whatever lies in the folder
# `logs` of DAGSTER_HOME to Dagster's makers, and asks only this variable. Every process that opens our instance
# imports this module.
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")

# At its end Python looks several times for garbage in all that Dagster made: for a run that takes a second of work
# that is another one, and what is left goes with the process anyway. Frozen objects are not looked at.
atexit.register(gc.freeze)


# Under which name the scope of a connection holds its grants (`web/guard.py` says the same).
GRANTS_KEY = "plms.grants"
NOT_GUARDED = "This webserver is reached without its front door; open the UI that `plms ui` serves."
ASSET_JOB_NAME = "__ASSET_JOB"
JOB_TYPES = ("Pipeline", "Job")
JOB_PERMISSION_FIELDS = {
    "hasLaunchExecutionPermission": "launch_pipeline_execution",
    "hasLaunchReexecutionPermission": "launch_pipeline_reexecution",
}
EFFECT_TAG = "plms/effect"
SPENDS = "spend"


class PlmsInstance(DagsterInstance):
    """A Dagster instance whose storage lies beside its `dagster.yaml`, whatever the current directory is."""

    @classmethod
    def config_schema(cls) -> dict[str, Field]:
        """Keys that this class adds to `dagster.yaml`: none."""
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Where storage, artifacts and compute logs lie when `dagster.yaml` does not say so.

        That is `data/dagster` beside the file, or `dagster` in PLMS_DATA_DIR when that is set: so a bare
        `dagster` command sees the same runs as `plms` with the same environment.

        Args:
            base_dir: the directory of `dagster.yaml` (DAGSTER_HOME).
        """
        from plms_pipeline.settings import load_settings

        data_dir = load_settings().data_dir if os.environ.get("PLMS_DATA_DIR", "").strip() else Path(base_dir) / "data"
        paths = state_paths(str(data_dir / "dagster"))
        defaults = dict(InstanceRef.config_defaults(paths["storage"]))
        for key, folder in (("local_artifact_storage", "artifacts"), ("compute_logs", "compute_logs")):
            kind = defaults[key]
            if kind is not None:
                defaults[key] = ConfigurableClassData(kind.module_name, kind.class_name, _base_dir(paths[folder]))
        return defaults

    def get_concurrency_config(self) -> ConcurrencyConfig:
        """The limits of the run queue, which the daemon asks for before each round of dequeuing.

        While a kill switch for everything is on, no run that is tagged `plms/effect: spend` leaves the queue. Limits in
        `dagster.yaml` replace those of the run coordinator, so this one is laid over both.
        """
        config = super().get_concurrency_config()
        queue = config.run_queue_config
        if queue is None or _stop_reason() is None:
            return config
        limits = [*queue.tag_concurrency_limits, {"key": EFFECT_TAG, "value": SPENDS, "limit": 0}]
        return ConcurrencyConfig(
            pool_config=config.pool_config, run_queue_config=queue._replace(tag_concurrency_limits=limits)
        )


def _stop_reason() -> str | None:
    """Why nothing that spends may start, or None. Whatever keeps us from knowing counts as a reason."""
    try:
        from plms_pipeline.portfolio.actions.switches import stop_reason
        from plms_pipeline.portfolio.files import flag_reason
        from plms_pipeline.registry.engine import Registry
        from plms_pipeline.settings import load_settings

        settings = load_settings()
        # Opened anew each time: a daemon lives for weeks, and a pool would go on with a file that is no longer there.
        registry = Registry.open(settings.database_url, read_only=True)
        try:
            return stop_reason(registry, flag=lambda: flag_reason(settings.data_dir))
        finally:
            registry.close()
    except Exception as error:  # noqa: BLE001 - a daemon that stopped asking would let everything pass
        return f"the kill switch cannot be asked ({type(error).__name__})"


def _base_dir(path: str) -> str:
    return f"base_dir: {quoted(path)}\n"


class ActorRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """Dagster's run queue, which also stamps on each run who launched it (see `plms_pipeline.instance.actors`)."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Stamp `plms/actor` and `plms/launched_from`, overwriting what the launcher wrote there, then enqueue."""
        run = context.dagster_run
        launch = launch_of(
            header=context.get_request_header(ACTOR_HEADER),
            over_http=_is_http(context),
            tags=run.tags,
            inherited=self._inherited_actor(run.tags),
            os_user=os_user(),
            verified=context.get_request_header(VERIFIED_HEADER),
            role=context.get_request_header(ROLE_HEADER),
        )
        self._instance.add_run_tags(run.run_id, launch.tags())
        return super().submit_run(context)

    def _inherited_actor(self, tags: Mapping[str, str]) -> str | None:
        continued = continued_id(tags)
        if continued is None:
            return None
        kind, identifier = continued
        origin = (
            self._instance.get_backfill(identifier) if kind == "backfill" else self._instance.get_run_by_id(identifier)
        )
        return origin.tags.get(ACTOR_TAG) if origin else None


def _is_http(context: SubmitRunContext) -> bool:
    source = getattr(context.workspace, "source", None)
    return getattr(source, "headers", None) is not None


class Grants(Protocol):
    """What the sender of a request may do; put into the connection's scope by the front door, where no client can write."""

    def reason_against(self, permission: str) -> str | None:
        """Why a permission is not given, whatever it is wanted for; None: it is."""
        ...

    def reason_against_job(self, permission: str, job: str) -> str | None:
        """Why a permission is not given for a job; None: it is."""
        ...


class FrontDoorRequestContext(WorkspaceRequestContext):
    """A request to the webserver that may do what the front door granted, and carries the actor that it named.

    A request that did not come through the door may look and do nothing.
    """

    def _actor(self) -> str | None:
        headers = getattr(self.source, "headers", None)
        value = headers.get(ACTOR_HEADER) if headers is not None else None
        return actor_from_header(value) if value else None

    def _grants(self) -> Grants | None:
        scope = getattr(self.source, "scope", None)
        found: Grants | None = scope.get(GRANTS_KEY) if scope is not None else None
        return found

    def _results(self, known: Mapping[str, PermissionResult]) -> Mapping[str, PermissionResult]:
        grants = self._grants()
        found = {}
        for permission in known:
            reason = NOT_GUARDED if grants is None else grants.reason_against(str(permission))
            found[permission] = PermissionResult(reason is None, reason)
        return found

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """What is shown and held of every permission, for the whole deployment."""
        return self._results(super().permissions)

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """The same for one code location."""
        return self._results(super().permissions_for_location(location_name=location_name))

    def may_for_job(self, permission: str, job: str) -> bool:
        """Whether a permission is given for a job."""
        self._checked_permissions.add(permission)
        grants = self._grants()
        return grants is not None and grants.reason_against_job(str(permission), job) is None

    def has_permission_for_selector(self, permission: str, selector: Any) -> bool:
        """Whether a permission is given for a definition: to launch one job may need more than to launch another."""
        if isinstance(selector, JobSelector):
            return self.may_for_job(permission, selector.job_name)
        return super().has_permission_for_selector(permission, selector)

    def get_viewer_tags(self) -> dict[str, str]:
        """Tags that Dagster lays over those a client sent with a backfill."""
        return {ACTOR_TAG: self._actor() or UNGUARDED_ACTOR}

    def get_reporting_user_tags(self) -> dict[str, str]:
        """Tags of events that a person reports by hand."""
        return {ACTOR_TAG: event_tag_value(self._actor() or UNGUARDED_ACTOR)}


class FrontDoorProcessContext(WorkspaceProcessContext):
    """A workspace that hands out `FrontDoorRequestContext`s."""

    def create_request_context(self, source: object | None = None) -> FrontDoorRequestContext:
        """One request's view of the workspace; `source` is the Starlette connection it came by."""
        return FrontDoorRequestContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=self.read_only,
        )


class History:
    """What the front door looks up: which job a run or backfill is of, and which tags a run or job has.

    Every method reads the instance or the workspace, and may wait for either.
    """

    def __init__(self, workspace: FrontDoorProcessContext) -> None:
        self._workspace = workspace

    def run(self, run_id: str) -> tuple[str, Mapping[str, str]] | None:
        """Job and tags of a run; None when there is no such run."""
        run = self._workspace.instance.get_run_by_id(run_id)
        return (run.job_name, dict(run.tags)) if run is not None else None

    def backfill_job(self, backfill_id: str) -> str | None:
        """The job of a backfill, Dagster's own for one of assets; None when there is no such backfill, or its job is gone."""
        backfill = self._workspace.instance.get_backfill(backfill_id)
        if backfill is None:
            return None
        if backfill.is_asset_backfill:
            return ASSET_JOB_NAME
        wanted = backfill.partition_set_name
        return next((name for name in self._job_names() if f"{name}_partition_set" == wanted), None)

    def job_tags(self, job: str) -> Mapping[str, str]:
        """The tags that every run of a job begins with; none for a job that no code location has."""
        return next((dict(found.tags) for found in self._jobs() if found.name == job), {})

    def _job_names(self) -> Iterator[str]:
        return (found.name for found in self._jobs())

    def _jobs(self) -> Iterator[Any]:
        for entry in self._workspace.get_current_workspace().code_location_entries.values():
            if entry.code_location is not None:
                for repository in entry.code_location.get_repositories().values():
                    yield from repository.get_all_jobs()


@dataclass(frozen=True, slots=True)
class Webserver:
    """Dagster's webserver as an ASGI application, *unguarded*, and what is wrong with the code it shows."""

    app: ASGIApp
    load_errors: tuple[str, ...]
    history: History


@contextmanager
def open_webserver(workspace_file: str) -> Iterator[Webserver]:
    """Open the instance of DAGSTER_HOME and build the webserver over the code servers of a workspace file."""
    from dagster_webserver.cli import (
        DEFAULT_DB_STATEMENT_TIMEOUT,
        DEFAULT_POOL_MAX_OVERFLOW,
        DEFAULT_POOL_RECYCLE,
    )
    from dagster_webserver.version import __version__
    from dagster_webserver.webserver import DagsterWebserver

    # A code location that does not load is told by `load_errors`, once and in one line.
    warnings.filterwarnings("ignore", message="Error loading repository location", category=UserWarning)
    target = WorkspaceFileTarget(paths=[workspace_file])
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        with FrontDoorProcessContext(instance, workspace_load_target=target, version=__version__) as workspace:
            webserver: Any = DagsterWebserver(workspace, live_data_poll_rate=2000)
            show_permissions_of_jobs(webserver)
            errors = [
                entry.load_error.message.strip()
                for entry in workspace.get_current_workspace().code_location_entries.values()
                if entry.load_error is not None
            ]
            yield Webserver(webserver.create_asgi_app(), tuple(errors), History(workspace))


def show_permissions_of_jobs(webserver: Any) -> None:
    """Have the pages show job by job what may be launched.

    Dagster shows a job's launchpad to whoever may launch anything, unless jobs have owners: its own check of a *definition*
    asks the deployment first. So the two fields that the pages read are answered by the check that launching itself asks.
    """
    types = webserver._graphene_schema.graphql_schema.type_map
    for name in JOB_TYPES:
        for field, permission in JOB_PERMISSION_FIELDS.items():
            types[name].fields[field].resolve = _resolver_of(permission)


def _resolver_of(permission: str) -> Callable[[Any, Any], bool]:
    def resolve(pipeline: Any, info: Any) -> bool:
        job = pipeline.get_represented_job().name
        context = info.context
        if job.startswith(ASSET_JOB_NAME):
            return bool(context.has_permission(permission))
        return bool(context.may_for_job(permission, job))

    return resolve


def code_server_arguments(module: str, socket: str, location_name: str) -> list[str]:
    """Arguments after `python` that serve `module` as a code location on a Unix socket.

    User code is loaded on the first request, so that broken code is an error that the UI shows and not a server that
    will not start.
    """
    return [
        "-m", "dagster", "api", "grpc", "--socket", socket, "--module-name", module, "--location-name", location_name,
        "--empty-working-directory", "--lazy-load-user-code", "--use-python-environment-entry-point",
        "--log-level", "warning",
    ]  # fmt: skip


def workspace_text(socket: str, location_name: str) -> str:
    """The text of a workspace file that names one running code server."""
    server = f"{{socket: {quoted(socket)}, location_name: {quoted(location_name)}}}"
    return f"load_from:\n  - grpc_server: {server}\n"


def daemon_arguments(workspace_file: str) -> list[str]:
    """Arguments after `python` that run the daemon on the code locations of a workspace file."""
    return ["-m", "dagster._daemon", "run", "--log-level", "info", "--workspace", workspace_file]
