"""Numbers and tables as plain text and as HTML. Rounding happens here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_WIDTH = 96  # characters of a line of prose

__all__ = ["Block", "cells", "html", "number", "p_value", "text"]


@dataclass(frozen=True, slots=True)
class Block:
    """A titled table and the lines under it; the first `left` columns are words, the others numbers."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left: int = 1
    lines: Sequence[str] = field(default=())


def number(value: float, digits: int = 5) -> str:
    """Show `digits` significant digits, without an exponent where that stays readable.

    >>> number(251.405104), number(0.0151690), number(25), number(1.5e-9)
    ('251.41', '0.015169', '25.000', '1.5000e-09')
    """
    if not math.isfinite(value):
        return "-" if math.isnan(value) else ("Inf" if value > 0 else "-Inf")
    if value == 0:
        return "0"
    shown = f"{value:.{digits - 1}e}"
    exponent = int(shown[shown.index("e") + 1 :])
    if not -5 <= exponent < digits + 3:
        return shown
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def cells(values: Sequence[float], digits: int = 5) -> list[str]:
    """Show numbers one under the other, their decimal points aligned.

    >>> cells([251.405104, 10.467286])
    ['251.41 ', ' 10.467']
    """
    shown = [number(value, digits) for value in values]
    whole = [len(cell.partition(".")[0]) for cell in shown]
    before = max(whole, default=0)
    shown = [" " * (before - left) + cell for left, cell in zip(whole, shown, strict=True)]
    width = max(map(len, shown), default=0)
    return [cell.ljust(width) for cell in shown]


def p_value(p: float) -> str:
    """Show a probability with three decimals, and small ones as a bound.

    >>> p_value(0.04321), p_value(1e-9), p_value(math.nan)
    ('0.043', '<0.001', '-')
    """
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def text(blocks: Sequence[Block]) -> str:
    """Lay blocks out as plain text, a blank line between them."""
    return "\n\n".join("\n".join(_lines(block)) for block in blocks)


def _lines(block: Block) -> list[str]:
    indent = "  " if block.title else ""
    table = [list(row) for row in ([block.header] if any(block.header) else []) + [*block.rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)] if table else []
    out = [block.title] if block.title else []
    for row in table:
        padded = [
            cell.ljust(width) if at < block.left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        out.append((indent + "  ".join(padded)).rstrip())
    return out + [indent + part for line in block.lines for part in _wrapped(line)]


def _wrapped(line: str) -> list[str]:
    """Break a line that is too long between words, indenting what follows."""
    if len(line) <= _WIDTH:
        return [line]
    from textwrap import wrap  # noqa: PLC0415  (only long lines need it)

    return wrap(line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


_STYLE = "font-variant-numeric:tabular-nums;border-collapse:collapse;margin:0.3em 0"


def html(blocks: Sequence[Block]) -> str:
    """Lay blocks out as self-contained HTML; every string is escaped."""
    return f'<div class="mixwell">{"".join(map(_html, blocks))}</div>'


def _html(block: Block) -> str:
    from html import escape  # noqa: PLC0415  (only notebooks need it)

    def cell(tag: str, content: str, at: int) -> str:
        align = "left" if at < block.left else "right"
        digits = escape(content.strip())
        # Figure spaces keep the decimal points of a right-aligned column under each other.
        shown = digits + "\u2007" * (len(content) - len(content.rstrip())) if align == "right" else digits
        return f'<{tag} style="text-align:{align};padding:0.1em 0.6em">{shown}</{tag}>'

    def row(tag: str, contents: Sequence[str]) -> str:
        return f"<tr>{''.join(cell(tag, content, at) for at, content in enumerate(contents))}</tr>"

    out = [f"<p><b>{escape(block.title)}</b></p>"] if block.title else []
    if block.rows:
        head = f"<thead>{row('th', block.header)}</thead>" if any(block.header) else ""
        body = "".join(row("td", contents) for contents in block.rows)
        out.append(f'<table style="{_STYLE}">{head}<tbody>{body}</tbody></table>')
    out += [f"<p>{escape(line)}</p>" for line in block.lines]
    return "".join(out)
