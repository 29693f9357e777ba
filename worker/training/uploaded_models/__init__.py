"""The process that reads uploaded models: it checks one, or measures it on a dataset."""
