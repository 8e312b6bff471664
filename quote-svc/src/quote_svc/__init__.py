"""The market: quotes, history, search, clock."""
