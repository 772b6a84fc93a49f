"""Commands, their options and exit codes: results on standard output, everything else on standard error."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mixwell.errors import MixwellError

__all__ = ["main"]

FINE, REFUSED, USAGE, NOT_CERTIFIED = 0, 1, 2, 3

_CODES = """exit codes:
  0  fine        1  the model or the data are refused: the message says why
  2  usage       3  a fit is not certified (it is printed all the same)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments
        As on the command line; those of the process if None.

    Returns
    -------
    int
        The exit code: 0, 1 for a MixwellError, 2 for wrong usage, 3 for a fit without certificate.

    Examples
    --------
    >>> main(["data", "--names"])
    sleepstudy
    dyestuff
    dyestuff2
    penicillin
    pastes
    cake
    cbpp
    recognition
    0
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _to_stderr
            code: int = options.run(options)
            sys.stdout.flush()
            return code
    except MixwellError as refusal:
        print(f"mixwell: {refusal}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:  # the reader has seen enough: say nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE


def _to_stderr(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"mixwell: warning: {message}", file=sys.stderr)


# --- commands ----------------------------------------------------------------------------------------------


def _fitted(options: argparse.Namespace, formula: str, table: Any) -> Any:
    import mixwell as mw  # noqa: PLC0415

    given = {
        name: getattr(options, name)
        for name in ("link", "method", "ziformula", "dispformula", "weights", "offset")
        if getattr(options, name) is not None
    }
    if options.nagq is not None:
        given["nagq"] = options.nagq if options.nagq == "auto" else int(options.nagq)
    return mw.fit(formula, table, family=options.family, **given)


def _fit(options: argparse.Namespace) -> int:
    from mixwell.cli.reading import read  # noqa: PLC0415

    m = _fitted(options, options.formula, read(options.data))
    ddf = options.ddf
    print(m.summary() if ddf is None else m.summary(ddf=ddf))
    if options.json:
        from mixwell.cli.results import as_json  # noqa: PLC0415

        _write(options.json, json.dumps(as_json(m), indent=1, allow_nan=False) + "\n")
    if options.report:
        m.report(options.report, ddf=ddf)
    return FINE if m.certificate().passed else NOT_CERTIFIED


def _compare(options: argparse.Namespace) -> int:
    import mixwell as mw  # noqa: PLC0415
    from mixwell.cli.reading import read  # noqa: PLC0415

    table = read(options.data)
    models = [_fitted(options, formula, table) for formula in options.formulas]
    print(mw.compare(*models))
    return FINE if all(m.certificate().passed for m in models) else NOT_CERTIFIED


def _emmeans(options: argparse.Namespace) -> int:
    from mixwell.cli.reading import read  # noqa: PLC0415

    m = _fitted(options, options.formula, read(options.data))
    at = {name: [_number(value) for value in values] for name, *values in options.at}
    wanted = {"by": options.by, "at": at or None, "weights": options.weights_of_means, "ddf": options.ddf}
    adjust = {} if options.contrast or options.adjust is None else {"adjust": options.adjust}
    means = m.emmeans(options.specs, type=options.type, **wanted, **adjust)
    print(means)
    if options.contrast:
        print()
        print(means.contrast(options.contrast, adjust=options.adjust))
    return FINE if m.certificate().passed else NOT_CERTIFIED


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _power(options: argparse.Namespace) -> int:
    from mixwell.cli.reading import read  # noqa: PLC0415

    m = _fitted(options, options.formula, read(options.data))
    extend = {name: int(count) for name, count in options.extend}
    effects = {name: float(value) for name, value in options.effect}
    print(m.power(effects=effects, extend=extend, n_sim=options.n_sim, seed=options.seed, progress=False))
    return FINE


def _data(options: argparse.Namespace) -> int:
    import mixwell as mw  # noqa: PLC0415

    if options.name is None:
        print("\n".join(mw.data.available()) if options.names else mw.data.__doc__)
        return FINE
    table = mw.data.load(options.name, "dict")
    rows = zip(*(column.tolist() for column in table.values()), strict=True)
    lines = [",".join(table), *(",".join(map(str, row)) for row in rows)]
    _write(options.out or "-", "\n".join(lines) + "\n")
    return FINE


def _demo(options: argparse.Namespace) -> int:
    from mixwell import demo  # noqa: PLC0415

    demo.main()
    return FINE


def _write(path: str, text: str) -> None:
    if path == "-":
        print(text, end="")
    else:
        Path(path).write_text(text, encoding="utf-8")


# --- options -----------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mixwell",
        description="Linear and generalised linear mixed models with lme4's formulas and certified fits.",
        epilog="Start with:  mixwell demo\n       then:  mixwell fit --help\n\n" + _CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    fit = _command(
        commands,
        "fit",
        _fit,
        "fit a model and print its summary",
        """examples:
  mixwell data sleepstudy --out sleep.csv
  mixwell fit "Reaction ~ Days + (Days | Subject)" sleep.csv
  mixwell fit "cbind(incidence, size - incidence) ~ period + (1 | herd)" cbpp.csv --family binomial
  mixwell fit "y ~ x + (1 | g)" rows.parquet --json fit.json --report fit.html
  cat rows.csv | mixwell fit "y ~ x" -

formulas:  (1 | g)  an intercept for each level of g;  (x | g)  and a slope;  (1 | a/b)  b within a;
           a * b  with interaction;  log(y), poly(x, 2), factor(k)""",
    )
    fit.add_argument("formula", help='as in lme4: "y ~ x + (x | g)"')
    fit.add_argument("data", help="a .csv, .tsv, .parquet, .arrow or .feather file, or - for CSV from a pipe")
    _model_options(fit)
    fit.add_argument("--ddf", help="degrees of freedom: satterthwaite, kenward-roger, residual, normal")
    fit.add_argument("--json", metavar="FILE", help="write the results as JSON (- for standard output)")
    fit.add_argument("--report", metavar="FILE", help="write a self-contained HTML report")

    compare = _command(
        commands,
        "compare",
        _compare,
        "compare models of the same rows: AIC, BIC, likelihood-ratio tests",
        """example:
  mixwell compare "Reaction ~ Days + (1 | Subject)" "Reaction ~ Days + (Days | Subject)" sleep.csv""",
    )
    compare.add_argument("formulas", nargs="+", metavar="formula", help="two or more formulas")
    compare.add_argument("data", help="a file, as for fit")
    _model_options(compare)

    means = _command(
        commands,
        "emmeans",
        _emmeans,
        "estimated marginal means and contrasts",
        """example:
  mixwell data cake --out cake.csv
  mixwell emmeans "angle ~ recipe * temperature + (1 | recipe:replicate)" cake.csv \\
      --specs recipe --contrast pairwise""",
    )
    means.add_argument("formula")
    means.add_argument("data", help="a file, as for fit")
    means.add_argument("--specs", nargs="+", required=True, metavar="FACTOR", help="means of these factors")
    means.add_argument("--by", nargs="+", metavar="FACTOR", help="separately for these")
    means.add_argument(
        "--at",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="values of a variable, for example --at Days 0 5; numbers are otherwise at their mean",
    )
    means.add_argument(
        "--over",
        dest="weights_of_means",
        default="equal",
        choices=("equal", "proportional", "outer", "cells", "flat"),
        help="weights of the levels that are averaged over",
    )
    means.add_argument("--ddf", help="degrees of freedom: satterthwaite, kenward-roger, residual, normal")
    means.add_argument("--type", default="link", choices=("link", "response"), help="scale of the means")
    means.add_argument("--contrast", metavar="METHOD", help="pairwise, trt.vs.ctrl, consec, poly, eff, ...")
    means.add_argument(
        "--adjust",
        metavar="METHOD",
        help="of the contrasts, else of the means: tukey, mvt, sidak, holm, bonferroni, none",
    )
    _model_options(means)

    power = _command(
        commands,
        "power",
        _power,
        "power of an experiment like the one in the data, by simulation",
        """example:
  mixwell power "Reaction ~ Days + (Days | Subject)" sleep.csv --effect Days 3 --extend Subject 40""",
    )
    power.add_argument("formula")
    power.add_argument("data", help="a file, as for fit")
    power.add_argument(
        "--effect",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="assume a coefficient",
    )
    power.add_argument(
        "--extend", nargs=2, action="append", default=[], metavar=("GROUP", "LEVELS"), help="so many levels"
    )
    power.add_argument("--n-sim", type=int, default=1000, help="simulated experiments (default 1000)")
    power.add_argument("--seed", type=int, help="a whole number, for the same simulation again")
    _model_options(power)

    data = _command(
        commands,
        "data",
        _data,
        "list the data sets that come along, or write one as CSV",
        """examples:
  mixwell data
  mixwell data sleepstudy --out sleep.csv""",
    )
    data.add_argument("name", nargs="?", help="which one")
    data.add_argument("--out", metavar="FILE", help="where to write it; standard output if left out")
    data.add_argument("--names", action="store_true", help="only the names")

    _command(commands, "demo", _demo, "fit the sleepstudy data and show what comes out", "")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], what: str, examples: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=f"{examples}\n\n{_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--family", default="gaussian", help="binomial, poisson, nbinom2, gamma, beta, ...")
    group.add_argument("--link", help="one of the family's links; the usual one if left out")
    group.add_argument("--method", choices=("REML", "ML"), help="of linear models; REML if left out")
    group.add_argument("--nagq", help="nodes of quadrature of generalised models, or auto")
    group.add_argument("--ziformula", help='extra zeros: "~ 1", "~ x"')
    group.add_argument("--dispformula", help='logarithm of the dispersion: "~ x"')
    group.add_argument("--weights", metavar="COLUMN", help="prior weights, or numbers of trials")
    group.add_argument("--offset", metavar="COLUMN", help="a known part of the linear predictor")


class _Version(argparse.Action):
    """Print the version; the package is imported only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import mixwell as mw  # noqa: PLC0415

        print(f"mixwell {mw.__version__}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
