"""Ways to lay a table of models out: text, HTML, LaTeX, great-tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from mixwell.errors import error
from mixwell.reporting.latex import text_name

if TYPE_CHECKING:
    from mixwell.reporting.side_by_side import ModelTable

__all__ = ["Cell", "Line", "great_table", "html", "latex", "text"]


class Cell(NamedTuple):
    """What one model has in one row: lines, the first with the stars of its p-value."""

    lines: tuple[str, ...]
    stars: str = ""


class Line(NamedTuple):
    """One row of the table: a title of a part, or a label with a cell for each model."""

    label: str
    cells: tuple[Cell, ...] = ()
    part: str = ""


# --- text -----------------------------------------------------------------------------------------------


def text(t: ModelTable) -> str:
    """Lay a table out as plain text, decimal points under each other."""
    blocks = [_column([line.cells[at] for line in t.lines if line.cells]) for at in range(len(t.names))]
    widths = [
        max([len(name), *(len(shown) for cell in block for shown in cell)])
        for name, block in zip(t.names, blocks, strict=True)
    ]
    left = max((len(line.label) + 2 * bool(line.cells) for line in t.lines), default=0)
    out = [(" " * left + "".join(f"  {name:^{w}}" for name, w in zip(t.names, widths, strict=True))).rstrip()]
    row = 0
    for line in t.lines:
        if not line.cells:
            out.append(line.label)
            continue
        mine = [block[row] for block in blocks]
        row += 1
        for i in range(_height(line)):
            label = f"  {line.label}" if i == 0 else ""
            shown = [cell[i] if i < len(cell) else "" for cell in mine]
            cells = "".join(f"  {each:^{w}}" for each, w in zip(shown, widths, strict=True))
            out.append(f"{label:<{left}}{cells}".rstrip())
    width = max(96, *map(len, out))
    return "\n".join([*out, *(part for each in t.remarks for part in wrap(each, width))])


def _column(cells: Sequence[Cell]) -> list[list[str]]:
    """Texts of one column, decimal points under each other; words and intervals are left to be centred."""
    every = [[line + (cell.stars if i == 0 else "") for i, line in enumerate(cell.lines)] for cell in cells]
    plain = [shown for cell in every for shown in cell if _is_number(shown)]
    before = max((_whole(shown) for shown in plain), default=0)
    padded = {shown: " " * (before - _whole(shown)) + shown for shown in plain}
    width = max(map(len, padded.values()), default=0)
    return [[padded[shown].ljust(width) if shown in padded else shown for shown in cell] for cell in every]


def _is_number(shown: str) -> bool:
    return shown.strip("()*").lstrip("-").partition(".")[0].isdigit()


def _whole(shown: str) -> int:
    """Characters before the decimal point, or of all digits without one."""
    return len(shown.rstrip(")*").partition(".")[0])


# --- HTML -----------------------------------------------------------------------------------------------

_CELL = "padding:0.15em 0.7em"
_RULE = "border-top:1px solid #888"
_SIGN = re.compile(r"(?<![\w.)\]])-(?=\d|Inf)|(?<=\de)-(?=\d)")


def html(t: ModelTable) -> str:
    """Lay a table out as self-contained HTML; every text is escaped."""
    span = len(t.names) + 1
    heads = "".join(
        f'<th scope="col" style="text-align:center;{_CELL}">{escape(name)}</th>' for name in t.names
    )
    rows = []
    for line in t.lines:
        if not line.cells:
            style = f"text-align:left;{_CELL};{_RULE}"
            rows.append(
                f'<tr><th colspan="{span}" scope="rowgroup" style="{style}">{escape(line.label)}</th></tr>'
            )
            continue
        cells = "".join(f'<td style="text-align:center;{_CELL}">{_html_cell(c)}</td>' for c in line.cells)
        style = f"text-align:left;vertical-align:top;font-weight:normal;{_CELL}"
        label = f'<th scope="row" style="{style}">{_html_label(line)}</th>'
        rows.append(f"<tr>{label}{cells}</tr>")
    remarks = "".join(f'<p style="font-size:0.9em;margin:0.2em 0">{escape(each)}</p>' for each in t.remarks)
    style = "border-collapse:collapse;font-variant-numeric:tabular-nums;border-bottom:1px solid #888"
    head = f'<thead><tr><td style="{_CELL}"></td>{heads}</tr></thead>'
    body = f"<tbody>{''.join(rows)}</tbody>"
    return f'<div class="mixwell"><table style="{style}">{head}{body}</table>{remarks}</div>'


def _html_label(line: Line) -> str:
    name = escape(line.label)
    return f"R<sup>2</sup>{name[2:]}" if line.part == "fit" and name.split(" ")[0] == "R2" else name


def _html_cell(cell: Cell) -> str:
    lines = [_minus(escape(line)) for line in cell.lines]
    if cell.stars:
        lines[0] += f"<sup>{cell.stars}</sup>"
    return "<br>".join(lines)


def _minus(shown: str) -> str:
    """Write minus signs of numbers as such; hyphens of words stay."""
    return _SIGN.sub("\u2212", shown)


# --- LaTeX ----------------------------------------------------------------------------------------------


def latex(t: ModelTable, caption: str | None, label: str | None) -> str:
    """Lay a table out for LaTeX with booktabs; every text but the label is escaped."""
    count = len(t.names) + 1
    heads = " & ".join(["", *map(text_name, t.names)])
    out = [rf"\begin{{tabular}}{{l{'c' * len(t.names)}}}", r"\toprule", rf"{heads} \\"]
    for line in t.lines:
        if not line.cells:
            out += [r"\midrule", rf"\multicolumn{{{count}}}{{l}}{{\textit{{{text_name(line.label)}}}}} \\"]
            continue
        for i in range(_height(line)):
            first = rf"\quad {_latex_label(line)}" if i == 0 else ""
            out.append(rf"{' & '.join([first, *(_latex_cell(cell, i) for cell in line.cells)])} \\")
    # Remarks stand under the tabular: in it, a long one would widen the columns.
    out += [r"\bottomrule", r"\end{tabular}"]
    out += ["", *(rf"{{\footnotesize {text_name(remark)}\par}}" for remark in t.remarks)]
    if caption is None and label is None:
        return "\n".join(out)
    head = [r"\begin{table}", r"\centering"]
    head += [rf"\caption{{{text_name(caption)}}}"] if caption is not None else []
    head += [rf"\label{{{label}}}"] if label is not None else []
    return "\n".join([*head, *out, r"\end{table}"])


def _height(line: Line) -> int:
    return max([1, *(len(cell.lines) for cell in line.cells)])


def _latex_label(line: Line) -> str:
    name = text_name(line.label)
    return f"$R^2${name[2:]}" if line.part == "fit" and name.split(" ")[0] == "R2" else name


def _latex_cell(cell: Cell, at: int) -> str:
    if at >= len(cell.lines):
        return ""
    shown = text_name(cell.lines[at])
    if not any(c.isalpha() for c in cell.lines[at].replace("e", "")):
        shown = shown.replace("-", "$-$")
    elif any(sign in shown for sign in (" = -", r"textless{}")):
        shown = shown.replace(" = -", " = $-$").replace(r"\textless{}", "$<$")
    # A row that begins with '[' would be read as an option of the row break before it.
    shown = f"{{{shown}}}" if shown.startswith("[") else shown
    return shown + (f"$^{{{cell.stars}}}$" if cell.stars and at == 0 else "")


# --- great-tables ---------------------------------------------------------------------------------------


def great_table(t: ModelTable) -> Any:
    """Make a `great_tables.GT`."""
    try:
        import great_tables  # noqa: PLC0415  (an extra)
    except ImportError:
        raise error("MW-A131") from None
    keys = [f"model {at + 1}" for at in range(len(t.names))]
    columns: dict[str, list[str]] = {"part": [], "term": [], **{key: [] for key in keys}}
    part = ""
    for line in t.lines:
        if not line.cells:
            part = line.label
            continue
        for i in range(_height(line)):
            columns["part"].append(part)
            columns["term"].append(line.label if i == 0 else "")
            for key, cell in zip(keys, line.cells, strict=True):
                shown = cell.lines[i] + (cell.stars if i == 0 else "") if i < len(cell.lines) else ""
                columns[key].append(_minus(shown))
    # great-tables escapes what stands in cells, and reads heads and notes as Markdown unless told otherwise.
    out = great_tables.GT(_any_frame(columns), rowname_col="term", groupname_col="part")
    heads: dict[str, Any] = {
        key: great_tables.html(escape(name)) for key, name in zip(keys, t.names, strict=True)
    }
    out = out.cols_label(**heads).cols_align("center", columns=keys)
    for remark in t.remarks:
        out = out.tab_source_note(great_tables.html(escape(remark)))
    return out


def _any_frame(columns: dict[str, list[str]]) -> Any:
    """Return a data frame of whichever library great-tables can read and is installed."""
    import importlib  # noqa: PLC0415

    for name, make in (("polars", "DataFrame"), ("pandas", "DataFrame"), ("pyarrow", "table")):
        try:
            return getattr(importlib.import_module(name), make)(columns)
        except ImportError:
            continue
    raise error("MW-A131")
