"""Do compose.yaml and the units of systemd say what can be started, with nothing secret and nothing of one machine in them?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from plms_pipeline.cli import COMMANDS
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.deploy.programs import DEPLOY
from plms_pipeline_tests.deploy.services import (
    UNITS,
    commands,
    compose,
    environment_names,
    ours,
    settings_of,
    written,
)
from plms_pipeline_tests.test_documents import wrong_commands

# Variables of libraries, not of ours.
FOREIGN = {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"}
HARDENING = {
    "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6", "ReadWritePaths": "/var/lib/plms", "User": "plms",
    "EnvironmentFile": "/etc/plms/plms.env",
}  # fmt: skip


@pytest.mark.parametrize(("where", "words"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_that_is_started_exists(where: str, words: list[str]) -> None:
    """A service that ends with "No such option" is restarted for ever."""
    assert words[0] in COMMANDS, where
    assert wrong_commands(f"`plms {' '.join(words)}`") == []


@pytest.mark.parametrize(
    ("where", "names"), environment_names().items(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_variable_that_is_given_is_a_setting(where: str, names: set[str], tmp_path: Path) -> None:
    """An unknown PLMS_* variable is refused at start."""
    samples = {"PLMS_DATA_DIR": str(tmp_path), "PLMS_REPORTS_DIR": str(tmp_path), "PLMS_PAS_URL": "http://127.0.0.1:1",
               "REDIS_URL": "redis://127.0.0.1:6379/0", "PLMS_UI_ALLOWED_HOSTS": "localhost",
               "PLMS_METRICS_HOSTS": "api,model,exporter",
               "ALERT_EMAIL": "plms@example.org", "PLMS_GIT_COMMIT": "0123456789abcdef0123456789abcdef01234567"}  # fmt: skip
    files = written(names, tmp_path)
    given = {**files, **{name: samples[name] for name in names - FOREIGN - set(files)}}
    assert load_settings(given).redis_url, where


def test_the_page_about_production_names_commands_that_exist() -> None:
    """It is followed line by line, once, by somebody who does not know the product."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert wrong_commands(text) == []
    assert all((DEPLOY / link).is_file() for link in re.findall(r"\]\(([\w./]+)\)", text))


def test_services_are_healthy_before_others_need_them() -> None:
    """A database that still starts is no database."""
    services = compose()["services"]
    for name, service in services.items():
        assert "healthcheck" in service or service.get("restart") == "no", name
        for needed, on in service.get("depends_on", {}).items():
            ends = services[needed].get("restart") == "no"
            assert on["condition"] == ("service_completed_successfully" if ends else "service_healthy"), (name, needed)


def test_compose_is_of_no_machine_and_holds_no_secret() -> None:
    """Paths are volumes or lie beside the file; passwords come from files; ports are published on the loopback."""
    found = compose()
    for name, service in found["services"].items():
        for mounted in service.get("volumes", []):
            source = mounted.split(":")[0]
            assert source in found["volumes"] or source.startswith("./"), (name, mounted)
            assert source in found["volumes"] or (DEPLOY / source).exists(), (name, mounted)
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)
        for key, value in service.get("environment", {}).items():
            is_secret = re.search(r"PASSWORD|TOKEN|SECRET|DATABASE_URL", key)
            assert not is_secret or str(value).startswith("/run/secrets/"), (name, key)
        assert set(service.get("secrets", [])) <= set(found["secrets"]), name
        for secret in re.findall(r"/run/secrets/(\w+)", str(service)):
            assert secret in service["secrets"], (name, secret)
    assert all(one["file"].startswith("./secrets/") for one in found["secrets"].values())


def test_alertmanager_passes_on_only_what_plms_cannot_tell_itself() -> None:
    """Whoever is told everything twice stops reading; and a receiver whose secret is not mounted stays mute."""
    said = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    receivers = {one["name"]: one for one in said["receivers"]}
    assert set(receivers[said["route"]["receiver"]]) == {"name"}
    watchdog, *others = said["route"]["routes"]
    assert (watchdog["matchers"], watchdog["repeat_interval"]) == (['alertname="Watchdog"'], "1m")
    assert all('told_by="prometheus"' in route["matchers"][0] for route in others)
    assert {route["receiver"] for route in said["route"]["routes"]} == set(receivers) - {said["route"]["receiver"]}
    named = set(re.findall(r"/run/secrets/(\w+)", str(said)))
    assert named == set(compose()["services"]["alertmanager"]["secrets"])


def test_our_own_services_are_boxed_in() -> None:
    """What runs other people's artifacts has no rights to lose."""
    for name, service in ours().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_boxed_in_and_come_back(unit: Path) -> None:
    """The same for systemd; and what serves is started again when it dies."""
    said = settings_of(unit)
    for key, value in HARDENING.items():
        assert said.get(key) == [value], key
    assert said.get("CapabilityBoundingSet") == [""]
    assert ("Restart" in said) == (said["Type"] != ["oneshot"])


def test_names_by_which_containers_are_scraped_are_allowed() -> None:
    """Every page would answer 403, and Prometheus would call everything down."""
    targets = re.findall(r'targets: \["([^":]+)', (DEPLOY / "prometheus" / "targets-compose.yml").read_text("utf-8"))
    compose = (DEPLOY / "compose.yaml").read_text("utf-8")
    [allowed] = re.findall(r"PLMS_METRICS_HOSTS:-([\w,]+)", compose)
    [of_the_ui] = re.findall(r"PLMS_UI_ALLOWED_HOSTS:-([\w.,]+)", compose)
    assert set(targets) == {*allowed.split(","), "ui"}
    assert "ui" in of_the_ui.split(",")
