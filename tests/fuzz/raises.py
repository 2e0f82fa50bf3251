"""A module of the user's that cannot be imported."""

raise ZeroDivisionError("on import")
