"""The payments service: payments, each recorded once, and what it knows of their payers."""
