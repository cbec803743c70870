"""The handlers of requests about signing keys."""

from apps.users.deps import Keys
from contracts.keys import GetKeys, JsonWebKeySet, ListKeys, RotateKey, SigningKeyList, SigningKeyView, WithdrawKey
from kit.messaging.server import ReplyRouter

router = ReplyRouter()
_OPERATORS = 4


@router.reply(GetKeys, workers=32)
async def get_keys(_: GetKeys, keys: Keys) -> JsonWebKeySet:
    """Return the public keys that verify every valid token, and the one that signs next."""
    return await keys.public()


@router.reply(ListKeys, workers=_OPERATORS)
async def list_keys(_: ListKeys, keys: Keys) -> SigningKeyList:
    """Return the signing keys and their states."""
    return await keys.list()


@router.reply(RotateKey, workers=_OPERATORS)
async def rotate_key(_: RotateKey, keys: Keys) -> SigningKeyView:
    """Create and publish the next key; it signs after the cache time."""
    return await keys.rotate()


@router.reply(WithdrawKey, workers=_OPERATORS)
async def withdraw_key(request: WithdrawKey, keys: Keys) -> SigningKeyList:
    """Withdraw a key and publish the others; if it was the active one, another key signs from now on."""
    return await keys.withdraw(request.kid)
