"""The tables of the registry, one module per domain; importing this package fills `Base.metadata`."""

from plms_pipeline.registry.tables.alerts import AlertCheck, AlertEvent, AlertSilence, AlertState, Delivery
from plms_pipeline.registry.tables.cards import JobCard, ProviderSnapshot, RunAlias, RunLineage
from plms_pipeline.registry.tables.delivery import IdempotencyKey, InboxEvent, OutboxEvent
from plms_pipeline.registry.tables.estimates import EstimateVersion, IntervalCorrection
from plms_pipeline.registry.tables.evidence import EvidenceRecord, Obligation, Observation
from plms_pipeline.registry.tables.kpis import KpiReceipt
from plms_pipeline.registry.tables.lanes import Lane, LaneAlias, LaneGate
from plms_pipeline.registry.tables.letters import DeadLetter
from plms_pipeline.registry.tables.models import (
    Candidate,
    Champion,
    EstimateOutlook,
    GuardrailSwitch,
    LiveSnapshot,
    MarketTrade,
    ModelTrial,
    PromotionHalt,
    ServingMinute,
    TradeAnnotation,
)
from plms_pipeline.registry.tables.money import LedgerAccount, LedgerEntry
from plms_pipeline.registry.tables.operations import Lease
from plms_pipeline.registry.tables.people import ActionLog, AuditEntry, Decision, ProjectApproval
from plms_pipeline.registry.tables.plans import ProjectForecast, ProjectPolicy, Rehearsal, SessionReport, TaskPlan
from plms_pipeline.registry.tables.portfolio import (
    KillSwitch,
    LaneFairness,
    LaneMinute,
    LaneReview,
    Preemption,
    ProjectShare,
    QueuedCard,
    RateBucket,
    Slot,
)
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
from plms_pipeline.registry.tables.runway import (
    BreachEpisode,
    BudgetCheck,
    PriceChange,
    PriceFactor,
    RunwaySnapshot,
)

__all__ = [
    "ActionLog",
    "AlertCheck",
    "AlertEvent",
    "AlertSilence",
    "AlertState",
    "AuditEntry",
    "BreachEpisode",
    "BudgetCheck",
    "Candidate",
    "Champion",
    "DaySummary",
    "DeadLetter",
    "Decision",
    "Delivery",
    "EstimateOutlook",
    "EstimateVersion",
    "EvidenceRecord",
    "GuardrailSwitch",
    "Hold",
    "IdempotencyKey",
    "InboxEvent",
    "IntervalCorrection",
    "JobCard",
    "KillSwitch",
    "KpiReceipt",
    "Lane",
    "LaneAlias",
    "LaneFairness",
    "LaneGate",
    "LaneMinute",
    "LaneOverride",
    "LaneReview",
    "Lease",
    "LedgerAccount",
    "LedgerEntry",
    "LiveSnapshot",
    "MarketTrade",
    "ModelTrial",
    "Obligation",
    "Observation",
    "OutboxEvent",
    "Preemption",
    "PriceChange",
    "PriceFactor",
    "Project",
    "ProjectApproval",
    "ProjectArtifact",
    "ProjectForecast",
    "ProjectPolicy",
    "ProjectQuestion",
    "ProjectRun",
    "ProjectShare",
    "PromotionHalt",
    "ProofMark",
    "ProviderSnapshot",
    "QueuedCard",
    "RateBucket",
    "ReceiptDay",
    "Rehearsal",
    "RunAlias",
    "RunLineage",
    "RunPassport",
    "RunTask",
    "RunwaySnapshot",
    "ServingMinute",
    "SessionReport",
    "Slot",
    "StateTransition",
    "TaskEstimate",
    "TaskPlan",
    "TaskReceipt",
    "TradeAnnotation",
]
