"""Distributions of the response: names, links, moments, deviances, distribution functions, random numbers.

family.py   Family: a distribution with a link, and what it can be asked
table.py    all of them, where a search begins, and `resolve`
links.py    eta of a mean, the mean of an eta, and its derivatives
moments.py  means and variances;  deviance.py  deviances and saturated means
distribution.py  cumulative distribution functions;  draws.py  random responses

The log-likelihoods, with their derivatives, are in the core (family.rs). Auxiliary parameters are on a scale
without bounds there: logarithms, logits.
"""

from mixwell.families.family import Auxiliary, Family
from mixwell.families.links import curvature_of, link_of, mean_of, slope_of
from mixwell.families.table import GAUSSIAN, resolve

__all__ = [
    "GAUSSIAN",
    "Auxiliary",
    "Family",
    "curvature_of",
    "link_of",
    "mean_of",
    "resolve",
    "slope_of",
]
