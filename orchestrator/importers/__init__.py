"""Other tools' set-ups turned into scenarios."""
