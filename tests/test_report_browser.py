"""The report in a real browser, without a network. Skipped where there is no Chromium."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixwell as mw

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open reports with")

OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking")


def browse(path: Path, *options: str) -> tuple[str, str]:
    """Open a file: the document as the browser has it, and what it logs."""
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        *OFFLINE,
    ]
    profile = path.parent / f"profile-{path.stem}"
    run = subprocess.run(
        [*command, f"--user-data-dir={profile}", *options, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if run.returncode != 0:
        pytest.skip(f"Chromium does not start here (exit code {run.returncode})")
    return run.stdout, run.stderr


def models() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    n = 120
    x = rng.normal(size=n)
    table = {
        "grade": np.digitize(x + rng.logistic(size=n), [-0.5, 1.0]),
        "x": x,
        "f": [("a < b", "</td><img src=x onerror=alert(1)>")[i % 2] for i in range(n)],
        "g": [f"g{i % 8}" for i in range(n)],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return {
            "lmer": mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict")),
            "ordinal": mw.glmer("grade ~ x * f + (1 | g)", table, family="cumulative"),
        }


@pytest.mark.parametrize("name", ["lmer", "ordinal"])
def test_the_browser_shows_all_of_it_and_complains_of_nothing(tmp_path: Path, name: str) -> None:
    m = models()[name]
    path = m.report(tmp_path / f"{name}.html")
    dom, log = browse(path)
    assert "CONSOLE" not in log  # errors, and refusals by the page's own policy
    assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", dom)
    # The browser repairs what is wrong: nothing was, if it has the elements that were written.
    written = path.read_text(encoding="utf-8")
    for tag in ("section", "table", "tr", "th", "td", "dt", "dd", "math", "mtr", "mtd", "figure", "img", "p"):
        assert len(re.findall(rf"<{tag}[\s>]", dom)) == len(re.findall(rf"<{tag}[\s>]", written)), tag
    ids = re.findall(r'\bid="([^"]+)"', written)
    assert re.findall(r'\bid="([^"]+)"', dom) == ids
    words = html.unescape(re.sub(r"<[^>]+>", "", dom.partition("</style>")[2]))
    for term in m.fixef.names:
        assert term in words


def test_a_policy_that_refuses_would_be_seen(tmp_path: Path) -> None:
    path = models()["lmer"].report(tmp_path / "fit.html", plots=False)
    text = path.read_text(encoding="utf-8").replace("<footer", '<img src="https://example.org/a.png"><footer')
    path.write_text(text, encoding="utf-8")
    assert "CONSOLE" in browse(path)[1]
