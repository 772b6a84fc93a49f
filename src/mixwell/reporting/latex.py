"""Names in LaTeX: escaped for text, and upright for formulas."""

from __future__ import annotations

import re

__all__ = ["math_name", "math_number", "text_name"]

_TEXT = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
}
# A hyphen would become a minus sign and a space nothing. Braces make symbols of relations ordinary ones, and
# keep '<' from looking like a tag to a notebook.
_MATH = {
    "\\": r"\backslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"{\wedge}",
    "~": r"{\sim}",
    " ": r"\ ",
    "-": r"\text{-}",
    "'": r"\text{'}",
    '"': r"\text{''}",
    "`": r"\text{`}",
    **{c: "{" + c + "}" for c in ":=<>+*/,|!"},
}
_RUN = re.compile(r"[^\x00-\x7f]+")


def text_name(name: str) -> str:
    r"""Escape a name for LaTeX's text mode.

    >>> print(text_name("100% of x_1 & y"))
    100\% of x\_1 \& y
    """
    return "".join(_TEXT.get(c, c) for c in _printable(name))


def math_name(name: str) -> str:
    r"""Write a name upright for LaTeX's math mode, as LaTeX, MathJax and KaTeX all read it.

    >>> print(math_name("body mass_kg"))
    \mathrm{body\ mass\_kg}
    """
    escaped = "".join(_MATH.get(c, c) for c in _printable(name))
    return r"\mathrm{" + _RUN.sub(lambda run: rf"\text{{{run[0]}}}", escaped) + "}"


def _printable(name: str) -> str:
    return "".join(" " if c.isspace() else c for c in name if c.isspace() or c.isprintable())


def math_number(shown: str) -> str:
    r"""Write a printed number for math mode.

    >>> math_number("1.50e-09"), math_number("-0.5")
    ('1.50 \\times 10^{-9}', '-0.5')
    """
    if shown in ("-", "Inf", "-Inf"):
        return {"-": r"\text{?}", "Inf": r"\infty", "-Inf": r"-\infty"}[shown]
    digits, _, power = shown.partition("e")
    return rf"{digits} \times 10^{{{int(power)}}}" if power else digits
