"""Everything that is said on the wire: requests, commands, events, refusals, streams. Pydantic and nothing else."""
