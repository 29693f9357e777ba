"""What clients request: the specs of jobs and datasets, and the network that a spec describes."""
