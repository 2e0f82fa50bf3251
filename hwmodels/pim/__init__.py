"""Processing in memory: reference models."""
