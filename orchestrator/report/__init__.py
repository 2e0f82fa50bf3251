"""Metrics, tables and result files."""
