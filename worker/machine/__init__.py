"""What a machine has and how its jobs share it: cores, GPUs, memory, scratch space, datasets on disk."""
