"""The process that reads models which owners have uploaded: it checks one, or measures it on a dataset."""
