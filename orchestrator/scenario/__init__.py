"""The scenario file: schema, loading, importers."""
