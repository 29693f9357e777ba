"""What an owner may do, how much, and what owners are told."""
