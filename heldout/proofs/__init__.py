"""Short trainings that decide between causes: what each runs, what follows from its figures, and the plan.

Everything here is pure: the same figures give the same plan and the same answer everywhere.
"""
