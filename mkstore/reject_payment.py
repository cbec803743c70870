"""Rejects the payment of a dead letter before the letter is discarded."""

from pydantic import ValidationError

from contracts.payments import CreatePayment, RejectPayment
from contracts.shards import shard_in
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS
from kit.errors import Refusal
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.dead_letters import DeadLetterRecord
from kit.runtime import tracing


async def reject_payment(broker: Broker, letter: DeadLetterRecord) -> str | None:
    """Record the accepted payment of a dead letter as rejected; return None, or the reason why that failed.

    Does nothing for other messages, and for a body without a payment: no client knows its id. Call it in a new task:
    it sets the trace context of the letter's request.
    """
    shard = shard_in(letter.subject)
    if letter.stream not in {each.of(shard).name for each in (PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS)}:
        return None
    try:
        command = CreatePayment.model_validate_json(letter.body)
    except ValidationError:
        return None
    tracing.set_trace(letter.headers)
    try:
        await RequestClient(broker).request(RejectPayment(command=command), shard=shard)
    except Refusal as refusal:
        return str(refusal)
    return None
