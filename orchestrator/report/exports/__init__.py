"""A finished run in the shapes of other tools: what reads a real server's results reads a simulated run's."""
