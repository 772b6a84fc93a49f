"""From terms and a table to columns: the second arrow of the flow.

frame.py       any dataframe -> columns and level codes; the only module that knows dataframe libraries
columns.py     expressions -> numbers, and how to do the same for new data
contrasts.py   codings of factors;  bases.py  poly, bs, ns, scale
groups.py      grouping factors: codes, levels, and what cannot work
design.py      y, X, weights, offset and random terms of the rows kept, with the recipe for new rows
"""

from mixwell.design.design import LOUD, Design, RandomDesign, Recipe, build_design

__all__ = ["LOUD", "Design", "RandomDesign", "Recipe", "build_design"]
