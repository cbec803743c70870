"""The store as one FastAPI application with one database and no broker."""
