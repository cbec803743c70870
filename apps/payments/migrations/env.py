"""Alembic environment of the payments service."""

from apps.payments.models import Table
from apps.payments.settings import Settings
from kit.database import url
from kit.migrations import run
from kit.runtime.settings import load

run(url(load(Settings)), Table.metadata)
