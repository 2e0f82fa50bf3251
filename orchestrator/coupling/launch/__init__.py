"""Starting and ending component processes."""
