"""The users service: users, their passwords, and the keys that sign access tokens."""
