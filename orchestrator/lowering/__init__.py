"""Model architecture + parallel plan + batch -> operations."""
