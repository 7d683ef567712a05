"""What do rows about models refer to? Every function takes an open session and never commits."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import Candidate, Champion


def folders(session: Session) -> frozenset[str]:
    """Folders of every candidate there ever was, relative to the data folder: decisions and champions are about them."""
    return frozenset(session.scalars(select(Candidate.folder)))


def contents(session: Session) -> frozenset[str]:
    """Content hashes of the data of every candidate and champion."""
    return frozenset(session.scalars(select(Candidate.data_sha256))) | frozenset(
        session.scalars(select(Champion.data_sha256))
    )
