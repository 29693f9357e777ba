"""What runs on one machine: `heldout up` and its children, `heldout check`, backups."""
