"""Headlines and summaries of studies, audits and evaluations. Pure.

A headline has at most 12 words; a summary has at most two sentences and 40 words, with what to do next in it. Diagnoses
have theirs in `heldout/diagnosis/headlines.py`.
"""
