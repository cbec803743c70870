"""Compare two versions of AsyncAPI and OpenAPI documents: breaking, risky and safe changes.

All modules are pure functions over dictionaries, except `sources`, `releases` and `announcements`, which use files.
"""
