"""keys with scopes and an end, the audit log, sealed secrets of webhooks, what workers have of memory"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.database import UtcTime

revision: str = "0017"
down_revision: str | None = "0016"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
ALL_SCOPES = '["read", "write", "admin"]'
SECRETS = ("secret", "previous_secret")

# What an entry says is never changed, and it stays for a day at least, whatever a statement asks for.
APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log"
        " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        "CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log"
        " WHEN OLD.created_at > strftime('%Y-%m-%dT%H\\:%M\\:%fZ', 'now', '-1 day')"
        " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF TG_OP = 'DELETE' AND OLD.created_at <= clock_timestamp() - interval '1 day' THEN RETURN OLD; END IF;"
        " RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log"
        " FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only()",
    ),
}


def upgrade() -> None:
    """Keys that exist may do everything, as before. Secrets in clear are sealed when the service starts."""
    op.add_column("api_keys", sa.Column("scopes", Json, nullable=False, server_default=sa.text(f"'{ALL_SCOPES}'")))
    op.add_column("api_keys", sa.Column("made_by", sa.String(length=32), nullable=True))
    op.add_column("api_keys", sa.Column("expires_at", UtcTime(), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", UtcTime(), nullable=True))
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=160), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_list", "audit_log", ["owner", "id"])
    op.create_index("ix_audit_log_created_at", "audit_log", ["created_at"])
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
    op.create_table(
        "worker_memory",
        sa.Column("worker", sa.String(length=128), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_worker_memory")),
    )
    op.add_column("jobs", sa.Column("memory_bytes", sa.BigInteger(), nullable=True))
    op.add_column("webhooks", sa.Column("made_by", sa.String(length=32), nullable=True))
    op.add_column("webhooks", sa.Column("last_event", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("webhooks", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("webhooks", sa.Column("failing_since", UtcTime(), nullable=True))
    with op.batch_alter_table("webhooks") as webhooks:
        for name in SECRETS:
            webhooks.alter_column(name, existing_type=sa.String(length=64), type_=sa.Text())


def downgrade() -> None:
    """Sealed secrets are of no use to the release before: its owners have to give their webhooks new ones."""
    for name in SECRETS:
        op.execute(f"UPDATE webhooks SET {name} = '' WHERE {name} NOT LIKE 'whsec_%'")
    with op.batch_alter_table("webhooks") as webhooks:
        for name in SECRETS:
            webhooks.alter_column(name, existing_type=sa.Text(), type_=sa.String(length=64))
    for name in ("failing_since", "failures", "last_event", "made_by"):
        op.drop_column("webhooks", name)
    op.drop_column("jobs", "memory_bytes")
    op.drop_table("worker_memory")
    op.drop_table("audit_log")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_log_is_append_only()")
    for name in ("last_used_at", "expires_at", "made_by", "scopes"):
        op.drop_column("api_keys", name)
