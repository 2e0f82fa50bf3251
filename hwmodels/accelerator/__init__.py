"""Accelerators: what one device does with one layer."""
