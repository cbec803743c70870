"""Alembic environment of the users service."""

import apps.users.key_models  # noqa: F401 - adds its table
from apps.users.models import Table
from apps.users.settings import Settings
from kit import database, migrations
from kit.runtime.settings import load

migrations.run(database.url(load(Settings)), Table.metadata)
