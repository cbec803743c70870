"""What a handler of this service may ask for."""

from typing import Annotated

from apps.users import passwords, repository
from kit import tokens
from kit.given import Given, Made

Users = Annotated[repository.Users, Made("open_users")]
"""One transaction."""

UsersToRead = Annotated[repository.Users, Made("read_users")]
"""For one look: no transaction is begun, and none has to be ended (two round trips less)."""

SigningKeysToRead = Annotated[repository.SigningKeys, Made("read_signing_keys")]
"""Likewise."""

Passwords = Annotated[passwords.Passwords, Made("free_passwords")]
"""Room for one more; where there is none, the request is refused before anything is done for it."""

Signer = Annotated[tokens.Signer, Given("signer")]
