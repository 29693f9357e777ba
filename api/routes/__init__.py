"""One file a resource, its view models beside it."""
