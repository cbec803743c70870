"""What a handler of this service may ask for."""

from typing import Annotated

from apps.users import passwords, repository
from kit import tokens
from kit.runtime.depends import Factory, Provided

Users = Annotated[repository.Users, Factory("open_users")]
"""One transaction."""

UsersToRead = Annotated[repository.Users, Factory("read_users")]
"""For one look: no transaction is begun, and none has to be ended (two round trips less)."""

SigningKeysToRead = Annotated[repository.SigningKeys, Factory("read_signing_keys")]
"""Likewise."""

Passwords = Annotated[passwords.Passwords, Factory("free_passwords")]
"""Room for one more; where there is none, the request is refused before anything is done for it."""

Signer = Annotated[tokens.Signer, Provided("signer")]
