"""Where is the executor, and how much does it get at once?"""

from typing import Literal

from plms_pipeline.settings.base import Group, setting


class Executor(Group):
    """Executor (PAS) and runs."""

    pas_url: str = setting(
        "http://127.0.0.1:6200", "URL", "The executor (PAS) that works the job cards.", pattern=r"^https?://\S+$"
    )
    pas_timeout_s: float = setting(
        10.0, "s", "How long PLMS waits for a connection to the executor, and for each part of an answer.", gt=0, le=300
    )
    pas_dialect: Literal["pas", "architect"] = setting(
        "pas", "mode", "`pas`: runs, then cards (/pas/v1); `architect`: whole runs at once (/pas/architect/submit)."
    )
    pas_token: str | None = setting(None, "text", "Bearer token that the executor demands.", secret=True)
    pas_webhook_secret: str | None = setting(
        None,
        "text",
        "What the executor signs its events with; default: made once in secrets/pas_webhook in the data directory.",
        secret=True,
        min_length=16,
    )
    pas_qps: float = setting(50.0, "1/s", "How many cards and runs the executor is sent per second.", gt=0, le=10_000)
    pas_max_runs: int = setting(100, "runs", "How many runs the executor is given at once.", ge=0, le=100_000)
    reconcile_after_s: float = setting(
        60.0,
        "s",
        "A run this old is compared with the executor's status, so that lost events are found.",
        ge=0.1,
        le=86_400,
    )
    git_commit: str | None = setting(
        None, "commit", "The commit that passports name; default: that of the checkout.", pattern=r"^[0-9a-f]{40,64}$"
    )
