"""One HTML page without anything from outside: its frame, its style sheet, tables, figures, definitions.

What is passed as text is escaped; what is passed as markup (`Markup`) comes from functions that did so.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from mixwell.fitted.text import Block

__all__ = ["Section", "definitions", "details", "figure", "page", "paragraphs", "table"]

# Nothing is fetched, and nothing runs: a browser refuses what slipped through.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


_NUMBER = ' class="n"'


class Section(NamedTuple):
    """A part of the page: its anchor, its heading (text), and what it holds (markup)."""

    anchor: str
    title: str
    markup: str


def page(title: str, head: str, sections: Sequence[Section], foot: str) -> str:
    """Put a page together.

    Parameters
    ----------
    title
        Text.
    head, foot
        Markup above and below the sections.
    sections
        They are listed in the table of contents, except empty ones, which are left out.
    """
    shown = [section for section in sections if section.markup]
    contents = "".join(f'<li><a href="#{each.anchor}">{escape(each.title)}</a></li>' for each in shown)
    body = "\n".join(
        f'<section id="{each.anchor}" aria-labelledby="{each.anchor}-title">\n'
        f'<h2 id="{each.anchor}-title">{escape(each.title)}</h2>\n{each.markup}\n</section>'
        for each in shown
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="frame">
<header>
{head}
</header>
<nav aria-label="Contents">
<h2>Contents</h2>
<ol>{contents}</ol>
</nav>
<main id="content">
{body}
</main>
<footer class="soft">
{foot}
</footer>
</div>
</body>
</html>
"""


def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def table(block: Block) -> str:
    """Return a block as a table with a caption and heads; decimal points of its numbers stay aligned.

    Examples
    --------
    >>> print(table(Block("", ("a", "n"), [["x<y", "1.0 "]])))
    <div class="scroll"><table>
    <thead><tr><th scope="col">a</th><th scope="col" class="n">n</th></tr></thead>
    <tbody>
    <tr><th scope="row">x&lt;y</th><td class="n">1.0\u2007</td></tr>
    </tbody></table></div>
    """
    out = []
    if block.rows:
        caption = f"<caption>{escape(block.title)}</caption>" if block.title else ""
        out.append(f'<div class="scroll"><table>{caption}')
        words = [
            at < block.left or _has_words(column) for at, column in enumerate(zip(*block.rows, strict=True))
        ]
        if any(block.header):
            heads = "".join(_head(name, plain) for name, plain in zip(block.header, words, strict=True))
            out.append(f"<thead><tr>{heads}</tr></thead>")
        out.append("<tbody>")
        for first, *others in block.rows:
            cells = "".join(_cell(shown, plain) for shown, plain in zip(others, words[1:], strict=True))
            out.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
        out.append("</tbody></table></div>")
    elif block.title:
        out.append(f"<h3>{escape(block.title)}</h3>")
    out += [f'<p class="remark">{escape(line)}</p>' for line in block.lines]
    return "\n".join(out)


def _has_words(column: Sequence[str]) -> bool:
    """Whether a column holds words among its numbers, such as verdicts."""
    return any(re.search("[^\\W\\d_]{2,}", shown.replace("Inf", "")) for shown in column)


def _head(name: str, plain: bool) -> str:
    shown = escape(name.strip())
    return f'<th scope="col"{"" if plain else _NUMBER}>{shown}</th>' if shown else "<td></td>"


def _cell(shown: str, plain: bool) -> str:
    text = escape(shown.strip())
    if plain:
        mark = f' class="{text.lower()}"' if text in ("pass", "FAIL") else ""
        return f"<td{mark}>{text}</td>"
    after = chr(0x2007) * (len(shown) - len(shown.rstrip()))  # as wide as digits
    return f"<td{_NUMBER}>{_signed(text)}{after}</td>"


def _signed(text: str) -> str:
    """Write the signs of a number as minus signs; a zero has none."""
    if re.fullmatch(r"-0(\.0*)?(e[-+]?\d+)?", text):
        text = text[1:]
    return re.sub(r"(?<![^\s\de(\[])-(?=\d|Inf)", "\u2212", text)


def definitions(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a list of names (text) and what they are (markup)."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{markup}</dd>' for name, markup in pairs)}</dl>"


def paragraphs(texts: Sequence[str]) -> str:
    """Return texts as paragraphs."""
    return "\n".join(f"<p>{escape(each)}</p>" for each in texts)


def details(summary: str, markup: str) -> str:
    """Return markup that is shown on demand."""
    return f"<details><summary>{escape(summary)}</summary>\n{markup}\n</details>"


def figure(png: bytes, alt: str, caption: str, width: int) -> str:
    """Return a picture, its bytes in the page.

    Parameters
    ----------
    alt
        What it shows, for those who do not see it.
    width
        In CSS pixels.
    """
    source = b64encode(png).decode("ascii")
    image = f'<img src="data:image/png;base64,{source}" alt="{escape(alt)}" width="{width}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
