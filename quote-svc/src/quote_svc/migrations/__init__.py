"""Migrations of quote-svc's database."""
