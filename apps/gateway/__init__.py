"""The gateway. Owns: HTTP. Answers: the HTTP API. Sends: payments.create.<id>. Reacts to: user.*, payment.*."""
