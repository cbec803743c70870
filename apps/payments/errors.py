"""The ways in which the payments service says no."""

from uuid import UUID

from contracts.errors import ErrorKind
from kit.errors import Refusal


class PaymentNotFound(Refusal):
    """There is no such payment, neither recorded nor waiting."""

    kind = ErrorKind.NOT_FOUND
    slug = "payment-not-found"

    def __init__(self, payment_id: UUID) -> None:
        super().__init__(f"There is no payment {payment_id}.")
        self.payment_id = payment_id
