"""What a handler of this service may ask for."""

from typing import Annotated

from apps.users import passwords, repository
from kit import tokens
from kit.given import Given, Made

Users = Annotated[repository.Users, Made("open_users")]
SigningKeys = Annotated[repository.SigningKeys, Made("open_signing_keys")]
Passwords = Annotated[passwords.Passwords, Given("passwords")]
Signer = Annotated[tokens.Signer, Given("signer")]
