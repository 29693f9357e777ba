"""A labeled collection of trainings, and how well `heldout.diagnosis` names what is wrong with each."""
