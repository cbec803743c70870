"""The services: one folder each, none of which imports another."""
