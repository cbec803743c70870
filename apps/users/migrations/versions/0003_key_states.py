"""Give signing keys a state, and the times of their rotation."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("signing_keys_one_active", "signing_keys")
    op.add_column("signing_keys", sa.Column("state", sa.String(20), nullable=False, server_default="active"))
    op.add_column("signing_keys", sa.Column("published_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("signing_keys", sa.Column("signs_from", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE signing_keys SET signs_from = created_at")
    op.execute("UPDATE signing_keys SET state = 'retired' WHERE retired_at IS NOT NULL")
    op.alter_column("signing_keys", "state", server_default=None)
    op.create_index(
        "signing_keys_one_of_each",
        "signing_keys",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state <> 'retired'"),
    )


def downgrade() -> None:
    op.drop_index("signing_keys_one_of_each", "signing_keys")
    op.execute("DELETE FROM signing_keys WHERE state = 'next'")  # it has signed nothing
    op.drop_column("signing_keys", "signs_from")
    op.drop_column("signing_keys", "published_at")
    op.drop_column("signing_keys", "state")
    op.create_index(
        "signing_keys_one_active", "signing_keys", ["retired_at"], unique=True, postgresql_nulls_not_distinct=True
    )
