"""Who serves when: instances that fail and come back, that are started and drained, and what becomes of requests."""
