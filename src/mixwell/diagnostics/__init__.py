"""Whether the data look like draws from the fitted model.

draws.py               responses drawn from a fit of either kind, given effects drawn from what the data say
quantile_residuals.py  where responses lie among them, by row and by cluster
units.py               clusters of rows;  residual_tests.py  statistics, their p-values, tables of tests
overdispersion.py      Pearson's chi-square over its degrees of freedom, or the test by simulation
"""
