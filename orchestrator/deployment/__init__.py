"""Manifests that run a scenario's components in containers, and the orchestrator beside them."""
