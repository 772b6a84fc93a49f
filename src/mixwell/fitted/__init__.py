"""What a user holds after fitting: frozen numbers and how they are shown.

result.py    FittedModel, an index of everything that can be asked of a fit
values.py    named vectors, variance components, sparse matrices
predict.py   predictions for old and new rows
tables.py    summary, tidy, glance, augment;  text.py  the only module that rounds
"""
