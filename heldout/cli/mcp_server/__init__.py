"""A server of the Model Context Protocol: what assistants of developers can ask a service of Heldout."""
