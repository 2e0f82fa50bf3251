"""Step-debugging a run: move through it both ways, stop where it matters, look at anything, ask why."""
