"""Error codes of nats-server that the code decides by (`err_code` in a JetStream API response)."""

NO_ROOM = 10023
"""Insufficient resources: the server has no room for the message."""
NO_MESSAGE = 10037
"""There is no message with this sequence or subject."""
NO_STORAGE = 10047
"""Insufficient storage resources."""
MESSAGE_NOT_DELETED = 10043
"""The message could not be deleted; also returned for one that does not exist."""
DELETE_FAILED = 10057
"""The deletion failed; also returned for a message that does not exist."""
MESSAGE_TOO_LARGE = 10054
"""The message is larger than the stream accepts."""
STREAM_NOT_FOUND = 10059
"""There is no stream with this name."""
WRONG_LAST_SEQUENCE = 10071
"""The expected last sequence is not the stream's, or not the subject's: another message was stored first."""
STREAM_FULL = 10077
"""The stream has reached a limit and refuses new messages."""
CONSUMER_NOT_UNIQUE = 10100
"""Another consumer of the work queue takes the same messages."""
NAME_IN_USE = 10130
"""The stream that is to be restored exists, or an interrupted restore of it has not ended yet."""
INCOMPLETE_BATCH = 10176
"""A message of an atomic batch has not arrived."""
DUPLICATE_IN_BATCH = 10201
"""An atomic batch holds a message id that the stream has stored within its duplicate window."""
