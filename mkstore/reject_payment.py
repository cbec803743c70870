"""What is owed to others before their message is discarded for good."""

from pydantic import ValidationError

from contracts.payments import CreatePayment, RejectPayment
from contracts.streams import PAYMENT_COMMANDS
from kit.errors import Refusal
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.dead_letters import DeadLetterRecord
from kit.runtime import tracing


async def reject_payment(broker: Broker, letter: DeadLetterRecord) -> str | None:
    """Have a payment that was accepted recorded as rejected; returns why that cannot be done, or None.

    For other letters, and for one in which no payment can be read, there is nothing to do: nobody can find those.
    Runs in a task of its own: the rejection belongs to the letter's request.
    """
    if letter.stream != PAYMENT_COMMANDS.name:
        return None
    try:
        command = CreatePayment.model_validate_json(letter.body)
    except ValidationError:
        return None
    tracing.set_trace(letter.headers)
    try:
        await RequestClient(broker).request(RejectPayment(command=command))
    except Refusal as why:
        return str(why)
    return None
