"""Routes below /v1/datasets."""
