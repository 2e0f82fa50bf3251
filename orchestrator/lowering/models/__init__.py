"""Models: from a Hugging Face ``config.json`` to an `Architecture`; one small file a kind of model."""
