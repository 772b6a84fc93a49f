"""From a string to terms: the first arrow of the flow.

expression.py   values such as log(x + 1), the functions allowed in them, how they print
parser.py       text -> tree of operators and bars, with the caret of every error
expansion.py    tree -> terms: R's algebra of + - * : ^ / %in%, lme4's bars
terms.py        what comes out: Formula, FixedTerm, RandomTerm
formula.py      parse and update, which put these together
"""

from mixwell.formula.expression import (
    CONTRASTS,
    FUNCTIONS,
    STRUCTURES,
    Binary,
    Boolean,
    Call,
    Expr,
    Function,
    Name,
    Number,
    Span,
    String,
    Structure,
    Unary,
    label,
    names,
    quoted,
    variables,
)
from mixwell.formula.formula import parse, update
from mixwell.formula.terms import FixedTerm, Formula, RandomTerm

__all__ = [
    "CONTRASTS",
    "FUNCTIONS",
    "STRUCTURES",
    "Binary",
    "Boolean",
    "Call",
    "Expr",
    "FixedTerm",
    "Formula",
    "Function",
    "Name",
    "Number",
    "RandomTerm",
    "Span",
    "String",
    "Structure",
    "Unary",
    "label",
    "names",
    "parse",
    "quoted",
    "update",
    "variables",
]
