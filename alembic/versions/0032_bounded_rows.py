"""data that lists do not need in separate columns: layers of models, changes of versions, bytes of datasets"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0032"
down_revision: str | None = "0031"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MAX_LAYERS_BYTES = 128 * 1024
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MODELS = sa.table("models", sa.column("id", sa.String), sa.column("facts", JSON), sa.column("layers", JSON))
DATASETS = sa.table("datasets", sa.column("id", sa.String), sa.column("derived_from", JSON), sa.column("changes", JSON))


def upgrade() -> None:
    """Row by row, since some are large. Layers beyond what is kept of a new model are dropped."""
    op.add_column("models", sa.Column("layers", JSON, nullable=True))
    op.add_column("datasets", sa.Column("changes", JSON, nullable=True))
    op.add_column("datasets", sa.Column("beside_bytes", sa.BigInteger(), nullable=True))
    for id_, facts in _rows(MODELS.c.id, MODELS.c.facts):
        found = facts.get("feature_map") or {}
        layers = {"layers": _first(facts.pop("layers", [])), "feature_map": found.pop("layers", [])}
        kept = _first(layers["feature_map"])
        if rest := layers["feature_map"][len(kept) :]:
            parameters = sum(layer["parameters"] for layer in rest)
            last = {"name": f"{len(rest):,} more layers", "shape": rest[-1]["shape"], "parameters": parameters}
            layers["feature_map"] = [*kept, last]
        _write(MODELS, id_, facts=facts, layers=layers)
    for id_, derived_from in _rows(DATASETS.c.id, DATASETS.c.derived_from):
        changes = derived_from.pop("changes", None)
        _write(DATASETS, id_, derived_from=derived_from, changes=changes)


def downgrade() -> None:
    """Back into one column each."""
    for id_, facts, layers in _rows(MODELS.c.id, MODELS.c.facts, MODELS.c.layers):
        if facts.get("feature_map"):
            facts["feature_map"]["layers"] = layers["feature_map"]
        _write(MODELS, id_, facts={**facts, "layers": layers["layers"]})
    for id_, derived_from, changes in _rows(DATASETS.c.id, DATASETS.c.derived_from, DATASETS.c.changes):
        _write(DATASETS, id_, derived_from={**derived_from, "changes": changes})
    op.drop_column("datasets", "beside_bytes")
    op.drop_column("datasets", "changes")
    op.drop_column("models", "layers")


def _rows(id_: sa.ColumnClause[str], *columns: sa.ColumnClause[Any]) -> Any:
    """One row after the other, where the first of the columns holds something."""
    connection = op.get_bind()
    for found in connection.execute(sa.select(id_)).scalars().all():
        row = connection.execute(sa.select(id_, *columns).where(id_ == found)).one()
        if row[1] is not None:
            yield row


def _write(table: sa.TableClause, id_: str, **values: Mapping[str, Any] | None) -> None:
    op.execute(table.update().where(table.c.id == id_).values(**values))


def _first(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kept, size = list[dict[str, Any]](), 0
    for layer in layers:
        size += len(json.dumps(layer, ensure_ascii=False, separators=(",", ":")).encode())
        if size > MAX_LAYERS_BYTES:
            break
        kept.append(layer)
    return kept
