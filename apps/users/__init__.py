"""The users service: who there is, and the keys that prove it.

Owns: users, their passwords, the signing keys. Answers: `users.create`, `users.get`, `users.get_many`, `users.list`,
`users.update`, `users.change_password`, `users.delete`, `users.authenticate`, `users.jwks`. Emits: `user.created`,
`user.updated`, `user.deleted`. Reacts to: nothing.
"""
