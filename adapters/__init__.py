"""Hosting a component model behind the wire contract."""
