"""Runs migrations on the database of the settings, or on a connection that the caller passes in."""

import warnings
from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlalchemy import Connection

from heldout.service.settings import Settings
from models import (
    tables,  # noqa: F401  (their tables belong to the metadata)
)
from models.database import Database, UtcTime
from models.migrations import migrating
from models.tables import Base

# SQLite cannot reflect indexes over expressions; they are compared on PostgreSQL.
EXPRESSION_INDEXES = {"ix_jobs_claim", "uq_datasets_owner_name_version"}
warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
warnings.filterwarnings("ignore", message="autogenerate skipping metadata-specified expression-based index")


def render(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """Write our own column types into a migration by their short names."""
    if kind == "type" and isinstance(item, UtcTime):
        autogen.imports.add("from models.database import UtcTime")
        return "UtcTime()"
    if kind == "type" and isinstance(item, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_item=render,
        include_object=lambda _, name, kind, *rest: (
            not (kind == "index" and connection.dialect.name == "sqlite" and name in EXPRESSION_INDEXES)
        ),
        # SQLite changes a column by recreating the table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


passed = context.config.attributes.get("connection")
if passed is not None:
    migrate(passed)
else:
    with migrating(Database(Settings().database)) as opened:
        migrate(opened)
