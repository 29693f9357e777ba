"""Routes below /v1/jobs."""
