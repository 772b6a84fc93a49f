"""Write marginal_effects.json: slopes, predictions and comparisons by the package marginaleffects.

Run with an interpreter that has marginaleffects (0.6), polars (before 2), statsmodels and pandas; mixwell is
not needed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import marginaleffects as me
import numpy as np
import pandas as pd
import polars as pl
import statsmodels.api as sm
import statsmodels.formula.api as smf

warnings.simplefilter("ignore")
HERE = Path(__file__).parent
STEP = 5e-3  # of their differences: smaller ones leave rounding in their standard errors


def data() -> pd.DataFrame:
    rng = np.random.default_rng(20)
    n = 60
    x, z = rng.normal(1.0, 1.5, n).round(3), rng.uniform(0.5, 4, n).round(3)
    f = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    g = np.array(["no", "yes"])[rng.integers(0, 2, n)]
    eta = 0.4 + 0.3 * x - 0.2 * z + 0.5 * (f == "b") - 0.3 * (f == "c") * x + 0.4 * (g == "yes")
    return pd.DataFrame(
        {
            "y": (eta + rng.normal(0, 0.7, n)).round(3),
            "hit": (rng.uniform(size=n) < 1 / (1 + np.exp(-1.5 * eta))).astype(int),
            "count": rng.poisson(np.exp(0.6 * eta + 0.5)),
            "x": x,
            "z": z,
            "f": pd.Categorical(f),
            "g": pd.Categorical(g),
        }
    )


def plain(found: object, *keys: str) -> dict[str, list]:
    table = found.data if hasattr(found, "data") else found
    names = [n for n in (*keys, "term", "contrast") if n in table.columns]
    names += [n for n in ("estimate", "std_error", "conf_low", "conf_high") if n in table.columns]
    return {name: [short(v) for v in table[name].to_list()] for name in dict.fromkeys(names)}


def short(value: object) -> object:
    return float(f"{value:.10g}") if isinstance(value, float) else value


def more(x: pl.Series) -> pl.DataFrame:
    """One more than observed, as in R; in Python the package centres, "sd" around each row, too."""
    return pl.DataFrame({"low": x, "high": x + 1})


def main() -> None:
    d = data()
    fits = {
        "lm": smf.ols("y ~ x * f + z + g", d).fit(),
        "lm_poly": smf.ols("y ~ x + I(x**2) + np.log(z) + f", d).fit(),
        "logit": smf.glm("hit ~ x * g + f + z", d, family=sm.families.Binomial()).fit(),
        "poisson": smf.glm("count ~ x * f + z", d, family=sm.families.Poisson()).fit(),
    }
    out: dict[str, object] = {"data": {k: d[k].to_list() for k in d}, "models": {}}
    mean, sd = d["x"].mean(), d["x"].std()
    for name, m in fits.items():
        no = {"g": ["no"]} if name in ("lm", "logit") else {}
        own: dict[str, object] = {
            "fixef": dict(m.params),
            "slopes_x": plain(me.slopes(m, variables="x", eps=STEP)),
            "avg_slopes_x": plain(me.avg_slopes(m, variables="x", eps=STEP)),
            "avg_slopes_x_by_f": plain(me.avg_slopes(m, variables="x", by="f", eps=STEP), "f"),
            "avg_slopes_z": plain(me.avg_slopes(m, variables="z", eps=STEP)),
            "avg_slopes_f": plain(me.avg_slopes(m, variables="f")),
            "eyex": plain(me.avg_slopes(m, variables="x", slope="eyex", eps=STEP)),
            "eydx": plain(me.avg_slopes(m, variables="x", slope="eydx", eps=STEP)),
            "dyex": plain(me.avg_slopes(m, variables="z", slope="dyex", eps=STEP)),
            "predictions": plain(me.predictions(m)),
            "avg_predictions": plain(me.avg_predictions(m)),
            "avg_predictions_by": plain(me.avg_predictions(m, by=["f", "g"]), "f", "g"),
            "counterfactual": plain(me.avg_predictions(m, variables={"x": [0.0, 2.0]}, by="x"), "x"),
            "grid": plain(
                me.predictions(m, newdata=me.datagrid(model=m, x=[0.0, 1.0], f=["a", "c"], **no)), "x", "f"
            ),
            "slopes_grid": plain(
                me.slopes(
                    m, variables="x", newdata=me.datagrid(model=m, x=[0.0, 1.0], f=["a", "c"], **no), eps=STEP
                ),
                "x",
                "f",
            ),
            "comparisons_x": plain(me.comparisons(m, variables={"x": more})),
            "avg_x1": plain(me.avg_comparisons(m, variables={"x": more})),
            "avg_x_sd": plain(me.avg_comparisons(m, variables={"x": [mean - sd / 2, mean + sd / 2]})),
            "avg_x_2sd": plain(me.avg_comparisons(m, variables={"x": [mean - sd, mean + sd]})),
            "avg_x_iqr": plain(me.avg_comparisons(m, variables={"x": "iqr"})),
            "avg_x_minmax": plain(me.avg_comparisons(m, variables={"x": "minmax"})),
            "avg_x_pair": plain(me.avg_comparisons(m, variables={"x": [0.0, 2.0]})),
            "avg_f_pairwise": plain(me.avg_comparisons(m, variables={"f": "pairwise"})),
            "avg_f_sequential": plain(me.avg_comparisons(m, variables={"f": "sequential"})),
            "avg_f_by_g": plain(me.avg_comparisons(m, variables="f", by="g"), "g"),
        }
        if not name.startswith("lm"):
            for kind in ("ratio", "lnratio", "lift", *(["lnor"] if name == "logit" else [])):
                own[f"unit_{kind}"] = plain(me.comparisons(m, variables="f", comparison=kind))
                two = {"f": ["a", "b"]}
                own[f"avg_{kind}"] = plain(me.avg_comparisons(m, variables=two, comparison=f"{kind}avg"))
        out["models"][name] = own
    # a number that is 0 or 1 goes from 0 to 1
    m = smf.glm("count ~ x * hit + f", d, family=sm.families.Poisson()).fit()
    out["zero_one"] = {
        "comparisons": plain(me.avg_comparisons(m, variables="hit")),
        "slopes": plain(me.avg_slopes(m, variables="hit")),
    }
    with (HERE / "marginal_effects.json").open("w") as file:
        json.dump(out, file)
        file.write("\n")


if __name__ == "__main__":
    main()
