"""Rows as the views that the API answers, one file for each resource."""
