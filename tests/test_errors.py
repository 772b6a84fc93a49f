"""Every message can be rendered, is used, and says what it should; the helpers around them."""

from __future__ import annotations

import pickle
import re
import string
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwell import errors
from mixwell.errors import MESSAGES, MixwellError, MixwellWarning, Note, caret, error, note, suggest, warn

ROOT = Path(__file__).parents[1]
PACKAGE = Path(errors.__file__).parent
COMPUTED = {"suggestion"}  # fields that `error` adds by itself


@pytest.mark.parametrize("code", MESSAGES)
def test_every_message_can_be_rendered(code: str) -> None:
    entry = MESSAGES[code]
    rendered = error(code, **entry.example)
    lines = str(rendered).splitlines()
    assert lines[0] == f"{code}  {rendered.message}"
    assert rendered.message
    assert "\x1b" not in str(rendered)
    assert str(rendered).isprintable() or "\n" in str(rendered)
    assert all(line == line.rstrip() for line in lines)
    assert "{" not in rendered.message + rendered.hint
    assert rendered.code == code
    assert dict(rendered.fields) == dict(entry.example)


@pytest.mark.parametrize("code", MESSAGES)
def test_every_message_is_well_formed(code: str) -> None:
    entry = MESSAGES[code]
    assert re.fullmatch(r"MW-[FDANCPW][0-9]{2,3}", code)
    assert code[3] in "WC" or not entry.template.endswith(".")  # notes are whole sentences
    assert entry.hint == "" or entry.hint.rstrip().endswith((".", "?", "}"))
    used = {
        name.partition(".")[0].partition("[")[0]
        for template in (entry.template, entry.hint)
        for _, name, _, _ in string.Formatter().parse(template)
        if name is not None
    }
    assert used <= set(entry.example) | COMPUTED
    if "suggestion" in used and "suggestion" not in entry.example:
        assert "available" in entry.example
        assert {"name", "column", "given"} & set(entry.example)


def test_codes_are_in_order_within_a_section() -> None:
    formula = [code for code in MESSAGES if code.startswith("MW-F")]
    assert formula == sorted(formula)
    assert len(MESSAGES) == len(set(MESSAGES))


def test_no_code_is_registered_twice() -> None:
    keys = re.findall(
        r'^    "(MW-[A-Z][0-9]{2,3})": Message\(', (PACKAGE / "messages.py").read_text(), re.MULTILINE
    )
    assert sorted(keys) == sorted(MESSAGES)


def test_codes_in_the_source_are_those_of_the_registry() -> None:
    sources = [path for path in PACKAGE.rglob("*.py") if path.name not in ("errors.py", "messages.py")]
    sources += (ROOT / "crates").rglob("src/**/*.rs")
    used = {code for path in sources for code in re.findall(r"MW-[A-Z][0-9]{2,3}", path.read_text("utf-8"))}
    assert used - set(MESSAGES) == set(), "used but not registered"
    assert set(MESSAGES) - used == set(), "registered but not used"


def test_an_error_is_a_value_error_with_its_parts() -> None:
    raised = error(
        "MW-F20", name="subjct", available=["Days", "Subject"], text="y ~ (1 | subjct)", span=(9, 15)
    )
    assert isinstance(raised, ValueError)
    assert (raised.code, raised.message) == ("MW-F20", "unknown column 'subjct'")
    assert raised.hint == "Columns available: Days, Subject.  Did you mean 'Subject'?"
    assert raised.where == "    y ~ (1 | subjct)\n             ^^^^^^"
    assert raised.fields["name"] == "subjct"
    assert str(raised) == f"MW-F20  {raised.message}\n{raised.where}\n{raised.hint}"


def test_errors_and_warnings_can_be_pickled() -> None:
    for kind in (MixwellError, MixwellWarning):
        original = kind("MW-A01", "what", "hint", "where", {"name": 1})
        copy = pickle.loads(pickle.dumps(original))
        assert type(copy) is kind
        assert str(copy) == str(original)
        assert (copy.code, copy.fields) == (original.code, original.fields)


def test_a_code_that_is_not_registered_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        error("MW-F99")


def test_warnings_carry_their_code_and_can_be_filtered_by_it() -> None:
    with pytest.warns(MixwellWarning, match=r"^MW-A01  ") as caught:
        warn("MW-A01", stacklevel=2, **MESSAGES["MW-A01"].example)
    assert caught[0].filename == __file__
    assert caught[0].message.code == "MW-A01"  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="MW-A01")
        warn("MW-A01", **MESSAGES["MW-A01"].example)


def test_a_note_is_one_line() -> None:
    remark = note("MW-A01", **MESSAGES["MW-A01"].example)
    assert remark == Note("MW-A01", remark.text)
    assert remark.text.startswith("fit() has no argument 'metod'")
    assert "\n" not in remark.text


@pytest.mark.parametrize(
    ("name", "available", "expected"),
    [
        ("subjct", ["Reaction", "Days", "Subject"], "Did you mean 'Subject'?"),
        ("days", ["Reaction", "Days"], "Did you mean 'Days'?"),
        ("DAYS", ["days"], "Did you mean 'days'?"),
        ("zzz", ["Reaction", "Days"], ""),
        ("", ["a"], ""),
        ("a", [], ""),
        ("größ", ["größe", "Tag"], "Did you mean 'größe'?"),
    ],
)
def test_suggestions(name: str, available: list[str], expected: str) -> None:
    assert suggest(name, available) == expected


def test_long_lists_are_cut() -> None:
    text = str(error("MW-A01", name="a", owner="fit()", available=[f"x{i}" for i in range(50)]))
    assert "x11 and 38 more" in text
    assert "x12" not in text
    assert len(str(error("MW-A01", name="a" * 10_000, owner="fit()", available=["b"]))) < 1_000


CARETS = [
    ("y ~ foo(x)", (4, 7), ["y ~ foo(x)", "    ^^^"]),
    ("y ~ x", (5, 5), ["y ~ x", "     ^"]),  # at the end
    ("", (0, 1), ["", "^"]),
    ("a +\n b +\n c", (5, 6), [" b +", " ^"]),
    ("a +\n b +\n c", (0, 12), ["a +", "^^^"]),  # as far as the first line goes
    ("y\t~ foo", (4, 7), ["y ~ foo", "    ^^^"]),
    ("収量 ~ 肥料", (5, 7), ["収量 ~ 肥料", "       ^^^^"]),  # wide characters take two columns
    ("e\u0301 ~ foo", (5, 8), ["e\u0301 ~ foo", "    ^^^"]),  # combining marks take none
    ("y ~ x\x1b[31m", (4, 5), ["y ~ x?[31m", "    ^"]),
]


@pytest.mark.parametrize(("text", "span", "lines"), CARETS)
def test_caret(text: str, span: tuple[int, int], lines: list[str]) -> None:
    assert caret(text, span) == "\n".join("    " + line for line in lines)


@settings(derandomize=True, deadline=None, database=None, max_examples=300)
@given(st.text("abc +~", max_size=400), st.integers(0, 400), st.integers(0, 40))
def test_caret_points_at_the_span_of_any_text(text: str, start: int, length: int) -> None:
    line, marks = caret(text, (start, start + length)).split("\n")
    assert len(line) <= 4 + 96 + 2 * len("...")
    marked = text[start : start + length]
    if marked and start + length <= len(text) and len(marks) <= len(line):
        at = len(marks) - len(marks.lstrip())
        assert line[at : at + marks.count("^")].startswith(marked[: marks.count("^")])
