"""Router, engine and scheduler after vLLM V1."""
