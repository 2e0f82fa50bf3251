"""Recordings: every event and every exchange with a component, to replay, compare and go back in."""
