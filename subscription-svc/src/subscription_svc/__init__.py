"""Accounts, sign-ins and subscriptions."""
