"""Confidence intervals and the quantiles that they need."""
