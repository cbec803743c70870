"""Everything on the wire: requests, commands, events, refusals, headers, streams. Imports only pydantic."""
