"""The gateway: the store over HTTP.

Owns: HTTP. Answers: the HTTP API. Sends: `payments.create.<id>`. Reacts to: `user.*`, `payment.*`.
"""
