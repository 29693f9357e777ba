"""What looks wrong in a network before it is trained: pure functions over its layers. Each answer is only a note."""
