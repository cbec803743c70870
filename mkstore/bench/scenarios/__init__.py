"""The kinds of load, and what each of them checks."""
