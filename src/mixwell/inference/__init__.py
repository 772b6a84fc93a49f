"""What can be concluded from a fit, and whether it may be believed.

checks.py        the theorems as functions of arrays, with their tolerances
certificate.py   the checks of one fit, collected
diagnosis.py     boundaries and the simpler equivalent model, dropped and ill-conditioned columns
compare.py       fits side by side, refused where they cannot be compared
nesting.py       whether one model is a special case of another
ratio_test.py    the likelihood-ratio test of two nested models, and which null distribution it has
boundary_tests.py  null distributions when a variance is zero: simulated, or mixtures of chi-squares
ranova.py        each random effect of a fit left out in turn
"""
