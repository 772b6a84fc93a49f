"""Distributions of the response: names, links, moments, deviances, distribution functions, random numbers.

links.py     eta of a mean, the mean of an eta, and its derivatives
specs.py     Family: what one distribution is and can be asked; the table of all of them; `resolve`
moments.py   means and variances;  deviance.py  deviances and saturated means
distribution.py   cumulative distribution functions;  draws.py  random responses

The log-likelihoods, with their derivatives, are in the core (family.rs). Auxiliary parameters are on a scale
without bounds there: logarithms, logits.
"""

from mixwell.families.links import curvature_of, link_of, mean_of, slope_of
from mixwell.families.specs import GAUSSIAN, Auxiliary, Family, resolve

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
