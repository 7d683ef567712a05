"""What is told of what should be done with a candidate: what the decision tree says, what is in the way, and how to decide."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plms_pipeline.models.candidate_ids import candidate_id
from plms_pipeline.models.decision.capping import MENDS
from plms_pipeline.models.decision.tree import Recommendation
from plms_pipeline.models.records import WAITING, Candidate
from plms_pipeline.models.stages.names import FILES_AS_JUDGED, OBSTACLES, PROMOTION_RECOMMENDATION
from plms_pipeline.models.stages.stage import Check, Fact, Stage, shown


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that keeps a candidate from going live now: its stable code, and a sentence for people."""

    code: str
    sentence: str


def recommendation_stage(candidate: Candidate, said: Recommendation, obstacles: Sequence[Obstacle]) -> Stage:
    """The recommendation, every sentence that must be true before the candidate goes live, and how to decide about it."""
    facts: dict[str, Fact] = {
        "candidate": candidate.candidate_id, "family": candidate.family, "state": candidate.state, "action": said.action,
        "gates_passed": candidate.gates_passed, "obstacles": len(obstacles), "trials": candidate.trials,
        "requested_by": candidate.requested_by, "expires_at": candidate.expires_at.isoformat(),
        "started_from": candidate.started_from or "nothing",
    }  # fmt: skip
    if candidate.decided_by:
        facts |= {"decided_by": candidate.decided_by, "decision_id": candidate.decision_id}
    texts = {"recommendation": _recommended(candidate, said, obstacles)}
    if candidate.state == WAITING:
        texts["how_to_decide"] = how_to_decide(candidate, said)
    return Stage(PROMOTION_RECOMMENDATION, facts, tuple(_checks(obstacles)), texts)


def _checks(obstacles: Sequence[Obstacle]) -> list[Check]:
    known = {code: name for name, codes in OBSTACLES.items() for code in codes}
    found: dict[str, list[Obstacle]] = {name: [] for name in OBSTACLES}
    for one in obstacles:
        found[known.get(one.code, FILES_AS_JUDGED)].append(one)
    return [
        Check(name, not wrong, " ".join(one.sentence for one in wrong), {one.code: True for one in wrong})
        for name, wrong in found.items()
    ]


def _recommended(candidate: Candidate, said: Recommendation, obstacles: Sequence[Obstacle]) -> str:
    lines = [f"**{said.action}**: {said.sentence}", ""]
    if obstacles:
        lines += ["What is in the way:", "", *(f"- `{one.code}` {shown(one.sentence)}" for one in obstacles), ""]
    if said.escalations:
        lines += ["| trigger | who | does what |", "|---|---|---|"]
        lines += [f"| {one.trigger} | {one.owner} | {one.todo} |" for one in said.escalations]
        lines.append("")
    if candidate.alerts:
        lines.append(f"Broken limits: {', '.join(candidate.alerts)}.")
    return "\n".join(lines)


def how_to_decide(candidate: Candidate, said: Recommendation) -> str:
    """Who may decide, and the very configuration for the Launchpad."""
    first = said.options[0] if said.options else "reject"
    caps = tuple(dict.fromkeys(MENDS[code] for code in candidate.alerts if code in MENDS))
    config = launchpad(
        candidate.candidate_id, decision=first, role=said.owners[0] if said.owners else "risk_lead", caps=caps
    )
    return "\n".join(
        [
            f"Whoever holds `approvals.write` may decide, and is not {shown(candidate.requested_by)}, who launched it."
            " What goes live is signed as `risk_lead`.",
            "",
            f"It makes sense to decide one of: {', '.join(said.options) or 'nothing'}. Until "
            f"{candidate.expires_at:%Y-%m-%d %H:%M} UTC; after that it expires and is never approved by itself.",
            "",
            "Open the [job decide_candidate](/locations/plms_pipeline.definitions/jobs/decide_candidate/playground), paste, "
            "say why, and launch:",
            "",
            "```json",
            json.dumps(config, indent=2),
            "```",
            "",
            f"In a terminal: `plms model decide {candidate.candidate_id} {first} --help`.",
        ]
    )  # fmt: skip


def launchpad(of: str, *, decision: str, role: str, caps: Sequence[str] = ()) -> Mapping[str, object]:
    """The configuration of the job decide_candidate; `caps` are those that mend what is broken."""
    given: dict[str, object] = {
        "candidate": candidate_id(of), "decision": decision, "role": role, "rationale": "", "reviewer": "",
    }  # fmt: skip
    if decision == "approve_with_caps":
        given |= dict.fromkeys(caps or ("max_gross_exposure",), 0.5)
    return {"ops": {"decide_about_candidate": {"config": given}}}
