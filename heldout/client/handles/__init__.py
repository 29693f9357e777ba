"""Jobs, studies and datasets as objects of a client: they know their id, and remember what was last seen of them."""
