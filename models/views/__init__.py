"""Builds the API's views from rows, one file per resource."""
