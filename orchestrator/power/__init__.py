"""Energy over the clock."""
