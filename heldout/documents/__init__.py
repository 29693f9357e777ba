"""What people and programs read, as blocks: builders make them from views, renderers lay them out for each medium."""
