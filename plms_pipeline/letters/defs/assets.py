"""The dead letters as an asset: backlog, retry success, causes."""

from typing import Any

import dagster as dg

from plms_pipeline.letters.actions.showing import Status

DEAD_LETTERS = dg.AssetKey("dead_letters")

dead_letters = dg.AssetSpec(
    DEAD_LETTERS,
    group_name="letters",
    owners=["team:plms"],
    kinds={"sqlalchemy"},
    code_version="1",
    description="What failed and waits to be tried again, and what was put aside with its reason: backlog, share of letters "
    "that a retry helped, causes by fingerprint. Told by the sensor dead_letters_due whenever the counts change; `plms dlq` "
    "decides.",
)


def materialization(found: Status) -> dg.AssetMaterialization:
    """The letters as they stand, as numbers and two tables."""
    metadata: dict[str, Any] = {
        "backlog": found.backlog,
        "due": found.due,
        **{f"letters_{state}": n for state, n in found.by_state.items()},
        **{f"class_{error_class.lower()}": n for error_class, n in found.by_class.items()},
        "retries_helped": found.helped,
        "retries_over": found.over,
        "causes": dg.MetadataValue.md(_causes(found)),
    }
    if found.retry_success is not None:
        metadata["retry_success_ratio"] = found.retry_success
    if found.oldest_open_at is not None:
        metadata["oldest_open_at"] = dg.MetadataValue.timestamp(found.oldest_open_at)
    return dg.AssetMaterialization(DEAD_LETTERS, metadata=metadata)


def _causes(found: Status) -> str:
    """A table in Markdown. A reason is somebody else's text: what Markdown or HTML would obey stands escaped."""
    if not found.groups:
        return "Nothing failed."
    rows = [
        f"| {group.fingerprint} | {group.kind} | {group.error_class} | {group.letters} | {group.open_letters} | "
        f"{escaped(group.example[:120])} |"
        for group in found.groups
    ]
    return "\n".join(
        ["| fingerprint | kind | class | letters | owed | one reason |", "|---|---|---|--:|--:|---|", *rows]
    )


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: every sign that could begin markup becomes its character entity."""
    return "".join(f"&#{ord(sign)};" if sign in "&<>|`*_[]()!\\#~:\n" else sign for sign in text)
