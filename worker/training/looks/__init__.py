"""Features of a dataset by a pretrained network, and what they show: neighbors, a map, and findings for the audit."""
