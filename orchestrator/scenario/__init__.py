"""The scenario file: schema, loading."""
