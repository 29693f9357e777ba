"""Fixes of datasets: what a new version may change, and which change fixes what an audit or diagnosis found."""
