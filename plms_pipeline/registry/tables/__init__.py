"""The tables of the registry, one module per domain; importing this package fills `Base.metadata`."""

from plms_pipeline.registry.tables.cards import JobCard, ProviderSnapshot, RunAlias, RunLineage
from plms_pipeline.registry.tables.delivery import IdempotencyKey, InboxEvent, OutboxEvent
from plms_pipeline.registry.tables.estimates import EstimateVersion, IntervalCorrection
from plms_pipeline.registry.tables.kpis import KpiReceipt
from plms_pipeline.registry.tables.lanes import Lane, LaneAlias, LaneGate
from plms_pipeline.registry.tables.operations import Lease
from plms_pipeline.registry.tables.people import ActionLog, AuditEntry, Decision, ProjectApproval
from plms_pipeline.registry.tables.plans import ProjectForecast, ProjectPolicy, Rehearsal, SessionReport, TaskPlan
from plms_pipeline.registry.tables.projects import LaneOverride, Project, ProjectQuestion, TaskEstimate
from plms_pipeline.registry.tables.proofs import ProofMark
from plms_pipeline.registry.tables.receipts import DaySummary, ReceiptDay, TaskReceipt
from plms_pipeline.registry.tables.runs import (
    Hold,
    ProjectArtifact,
    ProjectRun,
    RunPassport,
    RunTask,
    StateTransition,
)

__all__ = [
    "ActionLog",
    "AuditEntry",
    "DaySummary",
    "Decision",
    "EstimateVersion",
    "Hold",
    "IdempotencyKey",
    "InboxEvent",
    "IntervalCorrection",
    "JobCard",
    "KpiReceipt",
    "Lane",
    "LaneAlias",
    "LaneGate",
    "LaneOverride",
    "Lease",
    "OutboxEvent",
    "Project",
    "ProjectApproval",
    "ProjectArtifact",
    "ProjectForecast",
    "ProjectPolicy",
    "ProjectQuestion",
    "ProjectRun",
    "ProofMark",
    "ProviderSnapshot",
    "ReceiptDay",
    "Rehearsal",
    "RunAlias",
    "RunLineage",
    "RunPassport",
    "RunTask",
    "SessionReport",
    "StateTransition",
    "TaskEstimate",
    "TaskPlan",
    "TaskReceipt",
]
