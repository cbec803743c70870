"""The payments service.

Owns: payments. Answers: payments.get, payments.get_many, payments.list. Takes: payments.create.
Emits: payment.created, payment.rejected. Reacts to: nothing.
"""
