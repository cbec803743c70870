"""Backup of the streams and databases of a running store, and restore into an empty one.

See docs/adr/0044-backup-and-restore.md.
"""
