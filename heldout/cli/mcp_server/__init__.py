"""A server of the Model Context Protocol, through which coding assistants use a Heldout service."""
