"""What runs on one machine: `heldout up`, its children, the PostgreSQL and broker from wheels, `heldout check`."""
