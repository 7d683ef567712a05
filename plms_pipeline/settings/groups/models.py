"""How long does a candidate wait, and what signs a decision about it?"""

from plms_pipeline.settings.base import Group, setting


class Models(Group):
    """Models."""

    candidate_expiry_days: int = setting(
        14, "days", "How long a candidate waits for a decision, or for its promotion, before it expires.", ge=1, le=365
    )
    approval_key: str | None = setting(
        None,
        "text",
        "Key that signs decisions about models (PLMS_APPROVAL_KEY_FILE: its file); promotion then asks for the signature.",
        secret=True,
        min_length=16,
    )
