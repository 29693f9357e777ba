"""What looking inside networks costs, and which planted faults of networks it finds."""
