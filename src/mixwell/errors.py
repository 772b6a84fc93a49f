"""Errors, warnings and notes: a stable code, a message from `messages.py`, a caret, a hint.

A message says what is wrong, what was given, where, and what to do. Modules raise `error("MW-F03", name=...)`
and never write their own prose, so that one test can render every message and a reader can find it by code.

Letters: F formula, D data and design, A arguments, N numerics, P prediction, W warnings and notes,
C certificates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mixwell.messages import MESSAGES, Message

__all__ = [
    "MESSAGES",
    "Message",
    "MixwellError",
    "MixwellWarning",
    "Note",
    "caret",
    "error",
    "note",
    "suggest",
    "warn",
]

_SHOWN = 12  # names listed before "and 30 more"
_WIDTH = 96  # characters of a formula shown around a caret
_LONGEST = 600  # characters of one field


class _Coded(Exception):  # noqa: N818 - warnings derive from it too
    """What errors and warnings share: a code, a message, where it happened, a hint, and the raw fields."""

    code: str
    message: str
    hint: str
    where: str
    fields: Mapping[str, object]

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        where: str = "",
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self.code, self.message, self.hint, self.where = code, message, hint, where
        self.fields = dict(fields or {})
        super().__init__("\n".join(part for part in (f"{code}  {message}", where, hint) if part))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message, self.hint, self.where, self.fields)


class MixwellError(_Coded, ValueError):
    """Anything mixwell refuses. `code` is stable; `str()` is plain text."""


class MixwellWarning(_Coded, UserWarning):
    """Something that could mislead if it went unsaid. Filter by code: `filterwarnings(message="MW-W01")`."""


class Note(NamedTuple):
    """A remark kept on a design or a fit and printed with its summary."""

    code: str
    text: str


def suggest(name: str, available: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" for the nearest of `available`, or an empty string.

    >>> suggest("subjct", ["Reaction", "Days", "Subject"])
    "Did you mean 'Subject'?"
    """
    from difflib import get_close_matches  # noqa: PLC0415 - not needed until something is wrong

    lowered: dict[str, str] = {}
    for candidate in available:
        lowered.setdefault(candidate.lower(), candidate)
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"Did you mean '{lowered[close[0]]}'?" if close else ""


def caret(text: str, span: tuple[int, int]) -> str:
    """Show the line of `text` that holds `span`, with carets under it.

    >>> print(caret("y ~ foo(x)", (4, 7)))
        y ~ foo(x)
            ^^^
    """
    start = max(0, min(span[0], len(text)))
    stop = max(start + 1, span[1])
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    line = text[first : len(text) if last < 0 else last]
    start, stop = start - first, min(stop - first, max(len(line), start - first + 1))
    if len(line) > _WIDTH:
        left = max(0, min(start - _WIDTH // 3, len(line) - _WIDTH))
        right = left + _WIDTH
        head, tail = "..." if left else "", "..." if right < len(line) else ""
        line = head + line[left:right] + tail
        start, stop = start - left + len(head), min(stop - left, _WIDTH) + len(head)
    line = "".join(" " if c.isspace() else c if c.isprintable() else "?" for c in line)
    return (
        f"    {line.rstrip()}\n    {' ' * _columns(line[:start])}{'^' * max(1, _columns(line[start:stop]))}"
    )


def _columns(text: str) -> int:
    """Width on screen: wide (East Asian) characters take two columns, combining marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - rarely needed

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _shown(value: object) -> object:
    """Join a list as 'a, b, c and 9 more', cut an endless text, and leave anything else as it is."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return value[:_LONGEST] + "..."
    if not isinstance(value, (list, tuple, set, frozenset)):
        return value
    items = [str(item) for item in value]
    if len(items) <= _SHOWN:
        return ", ".join(items) or "none"
    return f"{', '.join(items[:_SHOWN])} and {len(items) - _SHOWN} more"


def _parts(code: str, fields: Mapping[str, object]) -> tuple[str, str, str]:
    """Message, hint and caret lines of a code.

    `text` and `span` make the caret; `available` and `name` (or `column`, or `given`) make `{suggestion}`.
    """
    entry = MESSAGES[code]
    values = {key: _shown(value) for key, value in fields.items()}
    available = fields.get("available")
    if isinstance(available, Iterable) and not isinstance(available, str):
        subject = next((fields[key] for key in ("name", "column", "given") if key in fields), "")
        values.setdefault("suggestion", suggest(str(subject), [str(item) for item in available]))
    span, text = fields.get("span"), fields.get("text")
    where = caret(text, span) if isinstance(text, str) and text.strip() and isinstance(span, tuple) else ""
    return entry.template.format_map(values), entry.hint.format_map(values).rstrip(), where


def error(code: str, /, **fields: object) -> MixwellError:
    """Build the error with this code; the caller raises it.

    >>> error("MW-A01", name="metod", owner="fit()", available=["method", "weights"]).code
    'MW-A01'
    """
    message, hint, where = _parts(code, fields)
    return MixwellError(code, message, hint, where, fields)


def warn(code: str, /, *, stacklevel: int = 3, **fields: object) -> None:
    """Emit the warning with this code, attributed to the caller's caller."""
    message, hint, where = _parts(code, fields)
    warnings.warn(MixwellWarning(code, message, hint, where, fields), stacklevel=stacklevel)


def note(code: str, /, **fields: object) -> Note:
    """Return the note with this code: message and hint on one line."""
    message, hint, _ = _parts(code, fields)
    # Two sentences on one line need a full stop between them.
    between = " " if message.endswith((".", "!", "?", ":")) else ". "
    return Note(code, f"{message}{between}{hint}" if hint else message)
