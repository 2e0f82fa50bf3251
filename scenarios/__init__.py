"""Runnable examples, smallest first."""
