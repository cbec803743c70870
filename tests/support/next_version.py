"""A copy of the project as a later version would be: a contract with one field more, and a schema with one column more.

Today's code is the old version. A patch that makes an older one of today's code would have to follow each change of it;
additions have the same effect, and today's code has to live with the later version in production.
"""

from pathlib import Path

from kit.ops.revisions import newest_revision
from tests.conftest import ROOT
from tests.docs.recipes import Block, Project

_CHANNEL = '    channel: str | None = Field(None, description="Where the payment came from.")\n'
_PAYMENTS = [
    Block("insert", "contracts/payments.py", 'before def pending(self) -> "PaymentView":', f"{_CHANNEL}\n"),
    Block("insert", "contracts/payments.py", "after payment: PaymentView", _CHANNEL),
    Block("insert", "apps/gateway/payments/accept.py", "after created_at=clock.now(),", '        channel="http",\n'),
    Block(
        "insert",
        "apps/payments/models.py",
        'after Column("reason", Text),',
        '    Column("channel", Text, nullable=False, server_default="unknown"),\n',
    ),
    Block("insert", "apps/payments/models.py", "after created_at: datetime", "    channel: str | None = None\n"),
    Block(
        "insert",
        "apps/payments/models.py",
        "after created_at=command.created_at.astimezone(UTC),",
        "            channel=command.channel,\n",
    ),
    Block(
        "replace",
        "apps/payments/models.py",
        "return PaymentRejected(payment=self.view()) if rejected else PaymentCreated(payment=self.view())",
        "        event = PaymentRejected if rejected else PaymentCreated\n"
        "        return event(payment=self.view(), channel=self.channel)\n",
    ),
    Block(
        "replace",
        "apps/payments/repository.py",
        "INSERT INTO payments (id,...",
        "INSERT INTO payments (id, user_id, amount, currency, metadata, status, reason, created_at, channel)\n",
    ),
    Block(
        "replace",
        "apps/payments/repository.py",
        "$1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::jsonb[], ...",
        "    $1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::jsonb[], $6::text[], $7::text[],\n"
        "    $8::timestamptz[], $9::text[]\n",
    ),
    Block(
        "replace",
        "apps/payments/repository.py",
        ") AS payment (id,...",
        ") AS payment (id, user_id, amount, currency, metadata, status, reason, created_at, channel)\n",
    ),
    Block(
        "insert",
        "apps/payments/repository.py",
        "after [payment.created_at for payment in payments],",
        '            [payment.channel or "unknown" for payment in payments],\n',
    ),
]
_USERS = [
    Block(
        "insert",
        "apps/users/models.py",
        "before deleted_at: datetime | None...",
        '    source: str = Field("sign-up", sa_column=Column(Text, nullable=False, server_default="unknown"))\n',
    ),
]
_MIGRATION = '''"""{title}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
compatible_with = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def next_version(root: Path) -> Project:
    """Return the next version: payments have a `channel`, users a `source`. Its migrations expand the schemas."""
    project = _copied(root)
    project.follow([*_PAYMENTS, *_USERS])
    for service, table, column in (("payments", "payments", "channel"), ("users", "users", "source")):
        # The default is for processes of the earlier version, which write on during the deployment.
        added = f'sa.Column("{column}", sa.Text(), nullable=False, server_default="unknown")'
        _migrate(project, service, f'op.add_column("{table}", {added})', f'op.drop_column("{table}", "{column}")')
    return project


def version_after_next(root: Path) -> Project:
    """Return the version after the next; its migration contracts the schema: the code alone gives a `channel`."""
    project = next_version(root)
    changed = 'op.alter_column("payments", "channel", server_default={})'
    _migrate(project, "payments", changed.format("None"), changed.format('"unknown"'))
    return project


def _copied(root: Path) -> Project:
    root.mkdir()
    return Project(root)


def _migrate(project: Project, service: str, upgrade: str, downgrade: str) -> None:
    migrations = project.root / "apps" / service / "migrations"
    before = newest_revision(migrations)
    revision = f"{int(before) + 1:04}"
    text = _MIGRATION.format(
        title="A step of a later version.", revision=revision, before=before, upgrade=upgrade, downgrade=downgrade
    )
    (migrations / "versions" / f"{revision}_later.py").write_text(text)


TODAY = ROOT
"""Root of the old version."""
