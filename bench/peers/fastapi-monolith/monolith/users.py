"""Sign-up, sign-in and reading a user."""

from uuid import UUID

from fastapi import APIRouter, HTTPException
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from monolith.database import DbSession
from monolith.models import CreateUser, Login, Token, User, UserView
from monolith.security import Caller, hash_password, password_matches, sign

router = APIRouter()


@router.post("/users", status_code=201, response_model=UserView)
async def create_user(request: CreateUser, session: DbSession) -> User:
    """Sign up."""
    password_hash = await hash_password(request.password)
    user = User(email=request.email.lower(), name=request.name, password_hash=password_hash)
    session.add(user)
    try:
        await session.commit()
    except IntegrityError:
        raise HTTPException(409, "The email address is taken.") from None
    return user


@router.post("/auth/login")
async def login(request: Login, session: DbSession) -> Token:
    """Sign in."""
    user = (await session.exec(select(User).where(User.email == request.email.lower()))).one_or_none()
    if user is None or not await password_matches(user.password_hash, request.password):
        raise HTTPException(401, "The email address or the password is wrong.")
    return Token(access_token=sign(user))


@router.get("/users/{user_id}", response_model=UserView)
async def get_user(user_id: UUID, caller: Caller, session: DbSession) -> User:
    """Return the caller."""
    user = await session.get(User, user_id) if user_id == caller else None
    if user is None:
        raise HTTPException(404)
    return user
