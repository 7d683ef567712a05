"""A budget runs dry and the right ones hear of it, once: Slack, PagerDuty and mail stand on this machine (`make demo-budget`).

A project is approved with less than it is expected to take and worked at high speed; its breach policy asks, and an approver
lets it go on. Whoever looks from outside notes when
each threshold is crossed; within one check of it the receiver holds exactly one message, and one that it is over after the
budget is raised. What it shows is also what it asserts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plms_pipeline_tests.notify.payloads import checked
from plms_pipeline_tests.notify.receivers import Received, Receivers
from plms_pipeline_tests.vectors.live import Live, fresh, new_key, say
from plms_pipeline_tests.vectors.plans import PROVIDER

CHECK_S = 2.0
# Sending, and a busy machine.
SLACK_S = 4.0
TASKS = 40
# Slow enough that the run goes on while the budget is raised: what has ended needs none.
SPEED = 60.0
# What is expected over what is approved: enough for the start, a third too little for the end.
OVER = 1.35
ONCALL = """channels: {chat: {kind: slack, shows: "#plms-alerts"}, page: {kind: pagerduty}, mail: {kind: smtp}}
contacts: {owner: {email: project-owner@example.org}, office: {email: pmo@example.org}}
owners: {default: [owner]}
pmo: [office]
routes:
  breach_25: [log]
"""
# Where each threshold is told.
TOLD = {"runway_t15": "slack", "runway_t5": "pagerduty", "overrun_20": "smtp"}


def plan() -> dict[str, Any]:
    """A project of many tasks that nothing holds up."""
    tasks = [
        {"key": f"page-{n}", "name": f"Page {n}", "kind": "docs", "lane": 4202, "complexity": "simple"}
        for n in range(TASKS)
    ]
    return {
        "name": "Many pages (demo)",
        "provider": PROVIDER,
        "max_attempts": 5,
        "breach_policy": "ask",
        "tasks": tasks,
    }


class Mailbox:
    """What the receivers' log holds."""

    def __init__(self, log: Path, receivers: Receivers) -> None:
        self.log, self.receivers = log, receivers

    def messages(self) -> list[tuple[str, str, Received]]:
        """(rule, kind, message) in the order of arrival; each is one that the real service takes."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else ():
            one = Received(**json.loads(line))
            body = checked(one)
            if one.service == "pagerduty":
                rule, kind = (
                    body["dedup_key"].split(":")[1],
                    {"trigger": "fired", "resolve": "resolved"}[body["event_action"]],
                )
            else:
                text = body["Subject"] if one.service == "smtp" else body["text"]
                kind = "fired" if " FIRING " in f" {text} " else "resolved"
                rule = next(name for name in TOLD if f" {name}:" in text)
            found.append((rule, kind, one))
        return found

    def of(self, rule: str, kind: str) -> list[Received]:
        """Messages of one kind about a rule, over the channel that it goes to."""
        return [one for name, said, one in self.messages() if (name, said, one.service) == (rule, kind, TOLD[rule])]


@contextmanager
def receivers(folder: Path, wait_s: float = 0.0) -> Iterator[Mailbox]:
    """Slack, PagerDuty and a mail server as a process of their own; they answer after `wait_s`."""
    log = folder / "received.jsonl"
    command = [sys.executable, "-m", "plms_pipeline_tests.notify.receivers", str(log), str(wait_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ports = json.loads(process.stdout.readline())
        try:
            yield Mailbox(log, Receivers(**ports))
        finally:
            process.stdin.close()


def show(live: Live, mailbox: Mailbox) -> None:
    """The whole story."""
    project = live.created(plan())
    live.post(f"/api/projects/{project}/estimate")
    expected = live.get(f"/api/projects/{project}/budget-runway")["runway"]["projected_final_usd"]
    # What a start is measured by is the middle of what may come; what a budget must bear is more.
    budget = round(expected / OVER, 2)
    live.approved(project, budget_usd=budget)
    say(f"project {project}: {expected:.2f} USD are expected, {budget:.2f} were approved")
    run_id = live.post(f"/api/projects/{project}/start", key=new_key(), body={"run_kind": "baseline"})["run_id"]
    crossed = crossings(live, project, run_id, mailbox)
    for rule, at in crossed.items():
        arrived = arrival(mailbox, rule)
        say(f"  {rule}: crossed, and {TOLD[rule]} holds one message {max(0.0, arrived - at):.1f} s later")
        assert arrived - at <= CHECK_S + SLACK_S, (rule, arrived - at)
    time.sleep(3 * CHECK_S)
    for rule in TOLD:
        assert len(mailbox.of(rule, "fired")) == 1, (rule, [(name, kind) for name, kind, _ in mailbox.messages()])
        assert not mailbox.of(rule, "resolved"), f"{rule} was over before anybody raised the budget"
    # The action behind `plms project budget`, by somebody who may: what was approved is raised by a second person.
    more = {"budget_cost_usd_max": 5000, "reason": "the demo goes on"}
    live.post(f"/api/projects/{project}/budget", role="approver", body=more)
    raised = time.time()
    for rule in TOLD:
        live.until(lambda rule=rule: mailbox.of(rule, "resolved"), what=f"the end of {rule}", wait_s=30.0)
    say(f"the budget is raised: each is told that it is over, {time.time() - raised:.1f} s later")
    time.sleep(3 * CHECK_S)
    told = [(rule, kind) for rule, kind, _ in mailbox.messages()]
    assert sorted(told) == sorted((rule, kind) for rule in TOLD for kind in ("fired", "resolved")), told
    found = live.get("/api/alerts", also_over=True)
    assert found["deliveries"]["dead"] == found["deliveries"]["pending"] == 0
    assert {one["rule"] for one in found["alerts"] if one["state"] == "resolved"} >= set(TOLD)
    say(f"{len(told)} messages in all, each valid: {', '.join(f'{rule} {kind}' for rule, kind in told)}")


def crossings(live: Live, project: int, run_id: str, mailbox: Mailbox) -> dict[str, float]:
    """When each threshold was crossed, seen from outside; waits until each has its message."""
    found: dict[str, float] = {}
    has_answered = False
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (
        len(found) < len(TOLD) or any(not mailbox.of(rule, "fired") for rule in TOLD)
    ):
        if not has_answered and live.get(f"/api/projects/{project}/status")["status"] == "paused":
            answer = {"answer": "go_on", "reason": "the demo wants to see it run dry"}
            live.post(f"/api/projects/{project}/budget-breach/answer", role="approver", body=answer)
            has_answered = True
            say("  more than a quarter over: the breach policy holds the project and asks; an approver lets it go on")
        told = live.get(f"/api/projects/{project}/budget-runway")
        minutes, overrun = told["runway"]["minutes_to_depletion"], told["runway"]["projected_overrun_usd"] or 0.0
        is_crossed = {
            "runway_t15": minutes is not None and minutes <= 15, "runway_t5": minutes is not None and minutes <= 5,
            "overrun_20": overrun > 0.2 * told["budget"]["usd_max"],
        }  # fmt: skip
        for rule, is_over in is_crossed.items():
            if is_over and rule not in found:
                found[rule] = time.time()
        for rule in TOLD:
            if rule not in _ARRIVED and mailbox.of(rule, "fired"):
                _ARRIVED[rule] = time.time()
        time.sleep(0.1)
    assert len(found) == len(TOLD), (found, live.get(f"/api/projects/{project}/status"), run_id)
    return found


_ARRIVED: dict[str, float] = {}


def arrival(mailbox: Mailbox, rule: str) -> float:
    """When the message about a rule was seen in the receiver's hands."""
    assert mailbox.of(rule, "fired"), (rule, [(name, kind) for name, kind, _ in mailbox.messages()])
    return _ARRIVED.setdefault(rule, time.time())


def main() -> int:
    """Show it, and say how long it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-budget-") as name:
        folder = Path(name)
        (folder / "oncall.yaml").write_text(ONCALL)
        with receivers(folder) as mailbox:
            more = {
                **mailbox.receivers.environ, "PLMS_BUDGET_CHECK_S": str(CHECK_S), "ENV_NAME": "demo",
                "PLMS_ONCALL_FILE": str(folder / "oncall.yaml"),
            }  # fmt: skip
            rules = only_money(folder)
            with fresh(speed=SPEED, receipts=True, more={**more, "PLMS_ALERT_RULES": str(rules)}) as live:
                show(live, mailbox)
    say(f"{time.monotonic() - began:.0f} s in all")
    return 0


def only_money(folder: Path) -> Path:
    """The shipped rules about budgets, as they are shipped: what this machine's disk or Redis does is another story."""
    from plms_pipeline.alerts.files import SHIPPED

    text = SHIPPED.read_text(encoding="utf-8")
    head, _, rest = text.partition("  runway_t15:")
    money = "  runway_t15:" + rest.partition("  daily_budget_reached:")[0]
    path = folder / "rules.yaml"
    path.write_text(head + money)
    return path


if __name__ == "__main__":
    sys.exit(main())
