"""Compares two versions of the documents: what breaks whom, what is risky, what is safe.

Pure functions over dictionaries, but for `sources` and `releases`, which read and write files.
"""
