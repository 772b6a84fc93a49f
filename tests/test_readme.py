"""The README's examples are run, and print what the README says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def session(text: str) -> str:
    """The Python blocks as one doctest, with blank lines inside an output as doctest wants them."""
    lines: list[str] = []
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        rows = block.rstrip().split("\n")
        for row, following in zip(rows, [*rows[1:], ">>>"], strict=True):
            lines.append("<BLANKLINE>" if not row and not following.startswith(">>>") else row)
        lines.append("")
    return "\n".join(lines)


def test_examples() -> None:
    """No example fails, and there are some."""
    test = doctest.DocTestParser().get_doctest(session(README.read_text()), {}, "README", str(README), 0)
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert result.attempted >= 4
    assert result.failed == 0, "".join(report)
