"""The main job on real data, as `make demo` runs it: fit, summary, certificate."""

from __future__ import annotations

import mixwell as mw

FORMULA = "Reaction ~ Days + (Days | Subject)"


def main() -> None:
    """Fit the sleepstudy data and print what comes out.

    Example
    -------
    >>> from mixwell.demo import FORMULA
    >>> FORMULA
    'Reaction ~ Days + (Days | Subject)'
    """
    sleep = mw.data.load("sleepstudy")
    fit = mw.lmer(FORMULA, sleep)
    print(f'>>> fit = mw.lmer("{FORMULA}", mw.data.load("sleepstudy"))\n>>> fit')
    print(fit)
    print("\n>>> fit.certificate()")
    print(fit.certificate())


if __name__ == "__main__":
    main()
