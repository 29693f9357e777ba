"""What clients ask for: the specs of jobs and datasets, and the network that a spec describes."""
