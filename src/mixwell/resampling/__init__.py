"""Resampling at the level of the clusters: bootstrap and permutation tests.

| file | what it holds |
|---|---|
| `clusters.py` | which clusters are independent; drawing them with replacement, leaving one out |
| `simulate.py` | random responses, in blocks that own their stream of random numbers |
| `engine.py` | blocks of responses or selections of rows -> refits in native threads |
| `parameters.py` | what is kept of a refit: fixed effects, standard deviations, correlations, sigma |
| `bootstrap.py` | `m.bootstrap()` and its result |
| `intervals.py` | percentile, basic, normal and BCa intervals from replicates |
| `permutation.py` | `m.permutation_test()` and its result |
| `ratio.py` | bootstrapped likelihood-ratio tests, for `compare(test="bootstrap")` |
| `exchange.py` | what is exchangeable under a null hypothesis, and how it is exchanged |
| `progress.py` | a line on a terminal when something takes more than a second |

Results depend on the seed and on nothing else: not on threads, chunks, or how many replicates follow.
"""
