"""Generalised linear (mixed) models: the steps of `fitting.fit_design`, and what a fit can be asked.

predictors.py   design -> what the core takes: columns, terms, auxiliary predictors
priors.py       penalties on coefficients and covariances
fitting.py      search, joint Hessian, quadrature;  refit.py  another response, a changed model
model.py        GeneralizedModel, an index of everything that can be asked of a fit
quadrature.py   adaptive Gauss-Hermite quadrature from the Laplace optimum
certificate.py  whether it is an optimum;  separation.py  coefficients without a finite estimate
predict.py, simulate.py   rows, old, new and drawn
residuals.py    residuals, deviances, hat values, a fit in one row
scores.py       gradients by row and cluster;  robust.py  robust covariances from them
coordinates.py  all parameters by name, and coordinates that hold one of them;  constrained.py  searches there
profile.py, intervals.py, bootstrap.py    intervals
anova.py, tables.py       tests and tables
"""
