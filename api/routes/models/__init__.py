"""Routes of models that owners upload, and of their evaluations."""
