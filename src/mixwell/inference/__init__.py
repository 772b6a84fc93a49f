"""What can be concluded from a fit, and whether it may be believed.

checks.py        the theorems as functions of arrays, with their tolerances
certificate.py   the checks of one fit, collected
diagnosis.py     boundaries and the simpler equivalent model, dropped and ill-conditioned columns
compare.py       fits side by side, refused where they cannot be compared
"""
