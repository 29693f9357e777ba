"""Shared by all tables: the names of constraints, and the mapping of Python types."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, Enum, Index, MetaData, TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

from analysis.jobs.ledger import ReadKind
from heldout.lifecycle.job import JobRequest, JobStatus
from heldout.lifecycle.resources import DatasetStatus, RelationsStatus, StudyStatus, SuspectsStatus
from heldout.stored.artifacts import ArtifactFormat, ArtifactName, ExportFormat, ExportStatus
from heldout.work.kinds import JobKind
from models.database import UtcTime

Json = JSON().with_variant(JSONB(), "postgresql")


def make_named_text(kind: type[StrEnum]) -> Enum:
    """Make a column type that stores an enum's values as text, so that a new member needs no migration."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def make_partial_index(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """Make an index of only the rows that match a condition."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcTime(),
        dict[str, Any]: Json,
        list[Any]: Json,
        JobKind: make_named_text(JobKind),
        JobStatus: make_named_text(JobStatus),
        JobRequest: make_named_text(JobRequest),
        ReadKind: make_named_text(ReadKind),
        DatasetStatus: make_named_text(DatasetStatus),
        RelationsStatus: make_named_text(RelationsStatus),
        SuspectsStatus: make_named_text(SuspectsStatus),
        ArtifactName: make_named_text(ArtifactName),
        ArtifactFormat: make_named_text(ArtifactFormat),
        ExportFormat: make_named_text(ExportFormat),
        ExportStatus: make_named_text(ExportStatus),
        StudyStatus: make_named_text(StudyStatus),
    }
