"""Forecasts, and what they have been worth."""
