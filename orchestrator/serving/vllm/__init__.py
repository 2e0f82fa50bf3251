"""vLLM's scheduler (V1), by version."""
