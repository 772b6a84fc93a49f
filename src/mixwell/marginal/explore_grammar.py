"""The language of explore(): text -> a tree, with carets where it cannot be read.

    text      = focus [ "~" condition { "+" condition } ]
    focus     = part { ":" part }
    part      = name [ "[" item { "," item } "]" | "@" level ]
    condition = part | "@" ( "mean" | "observed" )
    item      = side [ "-" side ]
    side      = level | "*" | "(" level { "," level } ")"

A level is a word or a number; anything else stands in quotes. Which words are levels and which are kinds of
contrasts is decided later, by the data.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mixwell.errors import MixwellError, error

__all__ = ["Item", "Part", "Question", "Side", "read_question"]

Span = tuple[int, int]


class Side(NamedTuple):
    """Levels as written, whose mean is meant; with `others` all others. `quoted`: certainly levels."""

    levels: tuple[str, ...]
    span: Span
    others: bool = False
    quoted: bool = False


class Item(NamedTuple):
    """One entry of the brackets: a level or a word, or a difference of two sides."""

    left: Side
    right: Side | None

    @property
    def span(self) -> Span:
        """Where it stands."""
        return self.left.span[0], (self.right or self.left).span[1]


class Part(NamedTuple):
    """A variable, with what stands in its brackets; None without brackets."""

    name: str
    items: tuple[Item, ...] | None
    span: Span


class Question(NamedTuple):
    """What is asked: the focus, the conditions, and whether the rows are the observed ones."""

    text: str
    focus: tuple[Part, ...]
    conditions: tuple[Part, ...]
    observed: bool


class _Token(NamedTuple):
    kind: str  # "word", "quoted", "end", or the sign itself
    text: str
    span: Span


_TOKEN = re.compile(
    r"""\s*(?: (?P<word>[^\W]+(?:\.[\w.]*)?|\.\d+)
      | (?P<quoted>"[^"]*"|'[^']*'|`[^`]*`)
      | (?P<sign>[-~+:,@*()\[\]])
      | (?P<end>\Z)
      | (?P<bad>.) )""",
    re.VERBOSE | re.DOTALL,
)
_PLACES = ("mean", "observed")


def read_question(text: object) -> Question:
    """Read a text.

    Raises
    ------
    MixwellError
        MW-A125 where it cannot be read, with a caret.

    Examples
    --------
    >>> asked = read_question("Drug[A - B] ~ Dose[low] + @observed")
    >>> asked.focus[0].name, asked.focus[0].items[0].right.levels, asked.conditions[0].name, asked.observed
    ('Drug', ('B',), 'Dose', True)
    """
    if not isinstance(text, str):
        raise error("MW-A125", reason=f"it must be a text, got {type(text).__name__}", advice=_EXAMPLE)
    return _Reader(text).question()


_EXAMPLE = 'For example m.explore("Drug[A - B] ~ Dose").'


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens: list[_Token] = []
        position, kind = 0, ""
        while kind != "end":
            found = _TOKEN.match(text, position)
            assert found is not None
            assert found.lastgroup is not None
            kind = found.lastgroup
            span, value = found.span(kind), found[kind]
            position = span[1]
            if kind == "bad":
                advice = "Names and levels with other signs or spaces stand in quotes."
                raise self.fault(f"{value!r} has no meaning here", span, advice)
            if kind == "quoted":
                value = value[1:-1]
            self.tokens.append(_Token(value if kind == "sign" else kind, value, span))

    def fault(self, reason: str, span: Span, advice: str) -> MixwellError:
        return error("MW-A125", reason=reason, advice=advice, text=self.text, span=span)

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> _Token | None:
        """Step over the next token if it is one of these."""
        token = self.token
        if token.kind not in kinds:
            return None
        self.at += 1
        return token

    def need(self, what: str, *kinds: str, advice: str = _EXAMPLE) -> _Token:
        """Step over the next token, which must be one of these."""
        token = self.take(*kinds)
        if token is None:
            given = "the end" if self.token.kind == "end" else f"'{self.token.text}'"
            span = self.token.span
            if self.token.kind == "end":
                span = (len(self.text.rstrip()), len(self.text.rstrip()) + 1)
            raise self.fault(f"{what} is expected here, not {given}", span, advice)
        return token

    def question(self) -> Question:
        focus = [self.part()]
        while self.take(":"):
            focus.append(self.part())
        conditions: list[Part] = []
        observed = False
        if self.take("~"):
            while True:
                if self.take("@"):
                    place = self.need("'mean' or 'observed'", "word", advice="@mean is the default.")
                    if place.text not in _PLACES:
                        advice = "Write @mean (numbers at their means, factors balanced) or @observed."
                        raise self.fault(f"there is no '@{place.text}'", place.span, advice)
                    observed = place.text == "observed"
                else:
                    conditions.append(self.part())
                if not self.take("+"):
                    break
        if self.token.kind != "end":
            advice = "Variables are joined by ':' before the '~', conditions by '+' after it."
            raise self.fault(f"'{self.token.text}' cannot follow here", self.token.span, advice)
        self.refuse_twice(focus, conditions)
        return Question(self.text, tuple(focus), tuple(conditions), observed)

    def refuse_twice(self, focus: list[Part], conditions: list[Part]) -> None:
        for parts in (focus, conditions):
            seen: set[str] = set()
            for part in parts:
                if part.name in seen:
                    advice = "Put all its levels into one pair of brackets."
                    raise self.fault(f"'{part.name}' appears twice", part.span, advice)
                seen.add(part.name)

    def part(self) -> Part:
        name = self.need("a variable", "word", "quoted")
        if self.take("@"):
            value, span, _ = self.level("After '@' stands one value, Dose@10; brackets hold several.")
            return Part(name.text, (Item(Side((value,), span, quoted=True), None),), name.span)
        opened = self.take("[")
        if opened is None:
            return Part(name.text, None, name.span)
        items = [self.item()]
        while self.take(","):
            items.append(self.item())
        self.need("']'", "]", advice="Levels are separated by commas, differences are written A - B.")
        return Part(name.text, tuple(items), name.span)

    def item(self) -> Item:
        left = self.side()
        if self.take("-") is None:
            return Item(left, None)
        right = self.side()
        return Item(left, right)

    def side(self) -> Side:
        advice = "Brackets hold levels, differences such as A - B, or a word such as pairwise."
        if opened := self.take("("):
            levels = [self.level(advice)]
            while self.take(","):
                levels.append(self.level(advice))
            closed = self.need("')'", ")", advice="A mean of levels is written (A, B).")
            return Side(tuple(text for text, _, _ in levels), (opened.span[0], closed.span[1]), quoted=True)
        if star := self.take("*"):
            return Side(("*",), star.span, others=True)
        text, span, quoted = self.level(advice)
        return Side((text,), span, quoted=quoted)

    def level(self, advice: str) -> tuple[str, Span, bool]:
        minus = self.take("-")
        token = self.need("a level", "word", "quoted", advice=advice)
        if minus is None:
            return token.text, token.span, token.kind == "quoted"
        return f"-{token.text}", (minus.span[0], token.span[1]), False
