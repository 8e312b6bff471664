"""The database's history, run at start."""
