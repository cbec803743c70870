"""The gateway: the HTTP API of the store, and the event stream of each user."""
