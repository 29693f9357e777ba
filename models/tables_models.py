"""The tables of uploaded models and of kept diagnoses."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from heldout.lifecycle.model import ModelStatus
from models.table_base import Base, make_named_text


class ModelRow(Base):
    """An uploaded model and the facts from its file. A deleted model has no row.

    `owner` is null for models that the operator shares with all owners; these have a license and a source.
    """

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_list", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(128))
    name: Mapped[str] = mapped_column(String(128))
    license: Mapped[str | None] = mapped_column(String(200))
    source: Mapped[str | None] = mapped_column(String(500))
    status: Mapped[ModelStatus] = mapped_column(make_named_text(ModelStatus))
    key: Mapped[str] = mapped_column(String(256))  # its file's key, until it is rejected
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    check_job: Mapped[str] = mapped_column(String(40))  # the job that checks it; its row may be gone
    facts: Mapped[dict[str, Any] | None]  # see heldout/spec/model_facts.py
    layers: Mapped[dict[str, Any] | None] = mapped_column(
        deferred=True
    )  # see heldout/spec/model_facts.py; not loaded in lists
    error: Mapped[dict[str, Any] | None]
    last_event: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]


class DiagnosisRow(Base):
    """A diagnosis of a training that this service did not run, kept for a page that shows it."""

    __tablename__ = "diagnoses"
    __table_args__ = (Index("ix_diagnoses_owner", "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    diagnosis: Mapped[dict[str, Any]]  # as in heldout/views/diagnosis.py
    created_at: Mapped[datetime]
