"""Routes of uploaded models and their evaluations."""
