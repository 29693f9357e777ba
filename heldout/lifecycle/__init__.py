"""States: every transition on one screen."""
