"""The LaTeX that our equations are made of, as MathML: browsers set it without a script or a network.

Only what `equation.py`, `expressions.py` and `latex.py` write is known. A command that is not is shown as it
stands, so that nothing of an equation can get lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixwell.reporting.equation import Line

__all__ = ["block", "inline"]

_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|\d+(?:\.\d+)?|.", re.DOTALL)
_GREEK = dict(
    zip(
        "alpha beta gamma delta eta theta mu nu pi rho sigma tau phi omega Sigma Phi".split(),  # noqa: SIM905
        "αβγδηθμνπρστφωΣΦ",
        strict=True,
    )
)
_UPRIGHT = frozenset("ΣΦ")
_OPERATORS = {"sim": "∼", "times": "×", "leq": "≤", "wedge": "^"}
_FUNCTIONS = frozenset({"log", "exp", "sin", "cos", "tan"})
_SPACES = {",": "0.17em", " ": "0.25em", "quad": "1em"}
_APPLY = "<mo>&#x2061;</mo>"  # application of a function, invisible


def inline(latex: str) -> str:
    r"""Return a formula as a `<math>` element.

    Examples
    --------
    >>> print(inline(r"\sigma^{2}"))
    <math><msup><mi>σ</mi><mn>2</mn></msup></math>
    """
    return f"<math>{_Reader(latex).all()}</math>"


def block(lines: Sequence[Line]) -> str:
    r"""Return the lines of an equation, aligned where its LaTeX is, as a displayed `<math>` element.

    Examples
    --------
    >>> from mixwell.reporting.equation import Line
    >>> print(block([Line("y", r"= \alpha")]))
    <math display="block">
    <mtable class="aligned" columnalign="right left" displaystyle="true">
    <mtr><mtd><mi>y</mi></mtd><mtd><mo form="infix">=</mo><mi>α</mi></mtd></mtr>
    </mtable></math>
    """
    rows = [
        f"<mtr><mtd>{_Reader(line.left).all()}</mtd><mtd>{_Reader(line.right).all()}</mtd></mtr>"
        for line in lines
    ]
    table = '<mtable class="aligned" columnalign="right left" displaystyle="true">'
    return "\n".join(['<math display="block">', table, *rows, "</mtable></math>"])


class _Reader:
    """Reads LaTeX from the left to the right; every method returns MathML."""

    def __init__(self, latex: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(latex)
        self.at = 0

    def all(self) -> str:
        out = self.row(())
        while self.at < len(self.tokens):  # an end without a beginning
            self.at += 1
            out += self.row(())
        return out

    def row(self, ends: tuple[str, ...]) -> str:
        """Read up to one of `ends`, or a closing brace."""
        out = []
        while (token := self.peek()) and token not in ends and token != "}":
            if token.isspace():
                self.at += 1
            else:
                out.append(self.scripted())
        return "".join(out)

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def before(self) -> str:
        """Return the token before the one just read; spaces do not count."""
        return next((token for token in reversed(self.tokens[: self.at - 1]) if not token.isspace()), "")

    def scripted(self) -> str:
        """Read one atom with its subscript and superscript."""
        base, scripts = self.atom(), {}
        while self.peek() in ("_", "^"):
            sign = self.next()
            scripts[sign] = self.argument()
        if not scripts:
            return base
        base = base or "<mrow></mrow>"
        if len(scripts) == 2:
            return f"<msubsup>{base}{scripts['_']}{scripts['^']}</msubsup>"
        tag = "msub" if "_" in scripts else "msup"
        return f"<{tag}>{base}{next(iter(scripts.values()))}</{tag}>"

    def argument(self) -> str:
        """Read a group or an atom as one element."""
        while self.peek().isspace():
            self.at += 1
        if self.peek() != "{":
            return self.atom()
        inner = self.group()
        # One element stays as it is; whether it is one shows in its tags.
        return inner if _is_single(inner) else f"<mrow>{inner}</mrow>"

    def group(self) -> str:
        self.at += 1
        inner = self.row(())
        self.at += 1
        return inner

    def atom(self) -> str:
        token = self.next()
        if not token:
            return "<mrow></mrow>"
        if token.startswith("\\"):
            return self.command(token[1:])
        if token == "{":
            self.at -= 1
            inner = self.group()
            return inner if not inner or _is_single(inner) else f"<mrow>{inner}</mrow>"
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{token}</mi>"
        form = ""
        if token in "()[]|":
            form = ' stretchy="false"'
        elif token == "-" and self.before() in ("", "=", "(", "[", ",", "{", "&", "\\\\", "\\sim", "\\,"):
            form = ' form="prefix"'  # a sign
        elif token == "=":
            form = ' form="infix"'  # even where a cell begins with it
        return f"<mo{form}>{escape({'-': '−'}.get(token, token))}</mo>"

    def command(self, name: str) -> str:
        if name in _GREEK:
            letter = _GREEK[name]
            return f'<mi mathvariant="normal">{letter}</mi>' if letter in _UPRIGHT else f"<mi>{letter}</mi>"
        if name in _OPERATORS:
            return f'<mo form="infix">{_OPERATORS[name]}</mo>'
        if name in _FUNCTIONS:
            return f"<mi>{name}</mi>{_APPLY}" if self.peek() != "_" else f"<mi>{name}</mi>"
        if name in _SPACES:
            return f'<mspace width="{_SPACES[name]}"></mspace>'
        if name in ("mathrm", "text", "mathbf"):
            return _named(self.raw(), name)
        if name == "frac":
            return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.argument()}</msqrt>"
        if name == "left":
            return self.fenced()
        if name == "begin":
            return self.matrix()
        known = {"infty": "<mi>∞</mi>", "dots": "<mo>…</mo>", "%": "<mo>%</mo>"}
        return known.get(name, f"<mtext>\\{escape(name)}</mtext>")

    def fenced(self) -> str:
        opening = self.next()
        inner = self.row(("\\right",))
        self.at += 1
        return f"<mrow>{_fence(opening)}{inner}{_fence(self.next())}</mrow>"

    def matrix(self) -> str:
        self.raw()  # pmatrix, the only one
        rows: list[list[str]] = [[]]
        while self.at < len(self.tokens):
            rows[-1].append(self.row(("&", "\\\\", "\\end")))
            token = self.next()
            if token == "\\\\":
                rows.append([])
            elif token == "\\end":
                self.raw()
                break
        body = "".join(f"<mtr>{''.join(f'<mtd>{cell}</mtd>' for cell in row)}</mtr>" for row in rows)
        # Parentheses are drawn by the style sheet: those of fonts grow only where there is a font for it.
        return f'<mtable class="matrix">{body}</mtable>'

    def raw(self) -> str:
        """Read a braced argument as text: escapes resolved, braces for spacing left out."""
        out, depth = [], 0
        while self.at < len(self.tokens):
            token = self.next()
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if depth == 0:
                    break
            elif token in ("\\text", "\\mathrm"):
                continue
            elif token.startswith("\\"):
                out.append(_CHARACTERS.get(token, token[1:]))
            else:
                out.append(token)
        return "".join(out)


_CHARACTERS = {"\\backslash": "\\", "\\wedge": "^", "\\sim": "~"}


def _fence(sign: str) -> str:
    return f'<mo fence="true" stretchy="true">{escape(sign)}</mo>'


def _named(text: str, kind: str) -> str:
    """Set words upright; spaces at their ends would be trimmed."""
    if kind == "mathbf":
        return f'<mi mathvariant="normal" class="bold">{escape(text)}</mi>'
    if kind == "text" or " " in text:
        return f"<mtext>{escape(text.replace(' ', chr(0xA0)))}</mtext>"
    return f'<mi mathvariant="normal">{escape(text)}</mi>'


def _is_single(markup: str) -> bool:
    """Whether markup is exactly one element."""
    depth = 0
    for found in re.finditer(r"<(/?)\w+[^>]*>", markup):
        depth += -1 if found[1] else 1
        if depth == 0:
            return found.end() == len(markup)
    return False
