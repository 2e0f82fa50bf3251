"""How tools are driven: one process a question with files, or one process asked line by line; and where they are."""
