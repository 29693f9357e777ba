"""A server of the Model Context Protocol, through which developers' assistants use a Heldout service."""
