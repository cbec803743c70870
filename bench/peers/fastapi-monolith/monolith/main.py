"""The application; tables are created at start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import text
from sqlmodel import SQLModel

from monolith import payments, users
from monolith.database import DbSession, engine


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(title="Store", lifespan=_lifespan)
app.include_router(users.router)
app.include_router(payments.router)


@app.get("/health")
async def health(session: DbSession) -> dict[str, bool]:
    """Answer 200 if the database answers."""
    await session.exec(text("SELECT 1"))  # type: ignore[call-overload]  # SQLModel types only its own statements
    return {"database": True}
