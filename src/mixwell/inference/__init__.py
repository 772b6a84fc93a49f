"""What can be concluded from a fit, and whether it may be believed.

Trust
  checks.py          the theorems as functions of arrays, with their tolerances
  certificate.py     the checks of one fit, collected
  diagnosis.py       boundaries and the simpler equivalent model, dropped and ill-conditioned columns
Tests of fixed effects
  wald.py            t and F tests of linear hypotheses, whatever the degrees of freedom
  second_order.py    exact second derivatives, from the core's traces
  satterthwaite.py, kenward_roger.py   degrees of freedom (and the adjusted covariance)
  sandwich.py, robust.py               cluster-robust covariances and their degrees of freedom
  codings.py, hypotheses.py, anova.py  which hypotheses a term stands for; the table
  statements.py, linear_tests.py       hypotheses written as text
  distributions.py   tails and quantiles
Intervals
  coordinates.py     standard deviations and correlations one by one
  profile.py         profile likelihoods
  intervals.py       confint()
Models side by side
  compare.py, nesting.py, ratio_test.py, ranova.py   comparison, nestedness, likelihood ratios, terms left out
  boundary_tests.py  null distributions when a variance is zero: simulated, or mixtures of chi-squares
Description
  description.py     R2, intraclass correlation, principal components, shares of variance
  influence.py       leverage, Cook's distance, DFBETAS of rows and of clusters
"""
