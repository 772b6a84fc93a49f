"""Fits as others read them: tables side by side, equations, sentences.

view.py          one view of both classes of models: rows of coefficients, auxiliary parameters, variances
side_by_side.py  `mixwell.table`;  equation.py  `m.equation()`;  sentences.py  `m.report_text()`
latex.py         names in LaTeX, in text and in formulas
"""
