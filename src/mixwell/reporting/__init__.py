"""Fits as others read them: tables side by side, equations, sentences, and a report with all of them.

view.py          one view of both classes of models: rows of coefficients, auxiliary parameters, variances
side_by_side.py  `mixwell.table`;  equation.py  `m.equation()`;  sentences.py  `m.report_text()`
layout.py        tables as text, HTML, LaTeX and great-tables;  expressions.py  columns of a design as LaTeX
latex.py         names in LaTeX, in text and in formulas
html.py          `m.report()`;  page.py, report.css  the page;  mathml.py  equations;  pictures.py  plots
"""
