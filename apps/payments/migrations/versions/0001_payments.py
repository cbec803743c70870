"""Create payments and the outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Uuid(), nullable=False),
        sa.Column("aggregate_version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(status = 'rejected') = (reason IS NOT NULL)", name="a_rejection_has_a_reason"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_a_code"),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_an_object"),
        sa.CheckConstraint("status IN ('created', 'rejected')", name="status_is_final"),
        sa.CheckConstraint("amount BETWEEN 1 AND 9007199254740991", name="amount_is_positive_and_exact_in_json"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("payments_by_status", "payments", ["status", "created_at", "id"], unique=False)
    op.create_index("payments_by_time", "payments", ["created_at", "id"], unique=False)
    op.create_index("payments_by_user", "payments", ["user_id", "created_at", "id"], unique=False)
    op.create_index("payments_by_user_and_status", "payments", ["user_id", "status", "created_at", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("payments_by_user_and_status", table_name="payments")
    op.drop_index("payments_by_user", table_name="payments")
    op.drop_index("payments_by_time", table_name="payments")
    op.drop_index("payments_by_status", table_name="payments")
    op.drop_table("payments")
    op.drop_table("outbox")
