"""The component contract; versions are packages of their own."""
