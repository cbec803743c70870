"""The connection pool, and a session for each request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from monolith.settings import settings

engine = create_async_engine(
    make_url(str(settings.database_url)).set(drivername="postgresql+asyncpg"), pool_size=10, max_overflow=0
)
new_session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


async def session() -> AsyncIterator[AsyncSession]:
    """Open a session for a request."""
    async with new_session() as opened:
        yield opened


DbSession = Annotated[AsyncSession, Depends(session)]
