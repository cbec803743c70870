"""Create payers, built from the events of the users service, and the inbox."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.CheckConstraint("version > 0", name="a_version_counts_from_one"),
        sa.CheckConstraint("state IN ('active', 'disabled', 'deleted')", name="state_is_known"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "message_id"),
    )
    op.create_index("inbox_by_time", "inbox", ["handled_at"], unique=False)


def downgrade() -> None:
    op.drop_index("inbox_by_time", table_name="inbox")
    op.drop_table("inbox")
    op.drop_table("payers")
