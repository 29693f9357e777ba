"""A job's figures in the forms of other programs: Keras' history, and what is made from it."""
