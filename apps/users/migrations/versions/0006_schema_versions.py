"""Store the schema version of each event in the outbox and among the refused events."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
compatible_with = "0005"


def upgrade() -> None:
    for table in ("outbox", "refused_events"):
        # The default is for processes of the earlier version, which write on during a deployment.
        op.add_column(table, sa.Column("schema_version", sa.Integer(), server_default="1", nullable=False))


def downgrade() -> None:
    for table in ("refused_events", "outbox"):
        op.drop_column(table, "schema_version")
