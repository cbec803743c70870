"""The payments service: what was paid, each once.

Owns: payments, and what it knows of payers. Answers: `payments.get`, `payments.get_many`, `payments.list`,
`payments.reject`. Takes: `payments.create.<id>`. Emits: `payment.created`, `payment.rejected`. Reacts to:
`user.created`, `user.updated`, `user.deleted`.
"""
