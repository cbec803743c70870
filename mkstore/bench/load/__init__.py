"""The load: requests, wrk, and what is measured beside it."""
