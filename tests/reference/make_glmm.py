"""Make the simulated tables of glmm.R: python make_glmm.py (seeded, written to data/)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Write the tables."""
    write("glmm", families())
    write("glmm_links", links())
    write("mating", mating())


def write(name: str, columns: Mapping[str, Any]) -> None:
    """Write a table as CSV."""
    rows = (",".join(map(str, row)) for row in zip(*(c.tolist() for c in columns.values()), strict=True))
    (DATA / f"{name}.csv").write_text("\n".join([",".join(columns), *rows]) + "\n")


def families() -> dict[str, Any]:
    """Return one design with a response for each family, at its usual link."""
    rng = np.random.default_rng(20261123)
    n = 240
    g, h = rng.integers(0, 24, n), rng.integers(0, 8, n)
    x, z = np.round(rng.normal(size=n), 3), np.round(rng.uniform(-1, 1, n), 3)
    f = rng.choice(["a", "b", "c"], n)
    b = rng.normal(size=(24, 2)) * [0.7, 0.4]
    eta = 0.4 + 0.5 * x - 0.4 * (f == "b") + b[g, 0] + b[g, 1] * x + 0.3 * rng.normal(size=8)[h]
    mu, share = np.exp(eta), 1 / (1 + np.exp(-eta))
    trials = rng.integers(2, 12, n)
    gamma = np.round(mu * rng.gamma(3.0, 1 / 3.0, n), 5) + 1e-5
    return {
        "g": np.char.add("g", g.astype(str)),
        "h": np.char.add("h", h.astype(str)),
        "x": x,
        "z": z,
        "f": f,
        "trials": trials,
        "w": rng.integers(1, 4, n),
        "exposure": np.round(rng.uniform(0.5, 2.0, n), 3),
        "binary": rng.binomial(1, share),
        "hits": rng.binomial(trials, share),
        "overhits": rng.binomial(trials, rng.beta(4 * share, 4 * (1 - share))),
        "count": rng.poisson(mu),
        "over": rng.negative_binomial(1.5, 1.5 / (1.5 + mu)),
        "excess": np.where(rng.random(n) < 0.25, 0, rng.poisson(mu)),
        "amount": gamma,
        "rate": np.round(np.clip(rng.beta(8 * share, 8 * (1 - share)), 1e-4, 1 - 1e-4), 5),
        "rain": np.where(rng.random(n) < np.exp(-mu), 0.0, gamma),
        "real": np.round(eta + np.exp(0.4 * z) * rng.normal(size=n), 5),
        "heavy": np.round(eta + rng.standard_t(4, n), 5),
        "grade": np.digitize(eta + rng.logistic(size=n), [-1.0, 0.5, 2.0]),
    }


def links() -> dict[str, Any]:
    """Return one design whose linear predictors keep the means of the narrow links inside their range."""
    rng = np.random.default_rng(20261124)
    n, groups = 300, 25
    g = np.repeat(np.arange(groups), n // groups)
    x, z = np.round(rng.uniform(0, 1, n), 3), np.round(rng.uniform(-1, 1, n), 3)
    u = np.clip(rng.normal(size=groups), -2, 2)[g]
    h = rng.integers(0, 10, n)
    v = rng.normal(size=10)[h]
    trials = rng.integers(5, 21, n)

    def positive(mu: Any, shape: float) -> Any:
        return np.round(mu * rng.gamma(shape, 1 / shape, n) + 1e-5, 5)

    def negative(mu: Any, size: Any) -> Any:
        return rng.negative_binomial(size, size / (size + mu))

    def share(mu: Any) -> Any:
        return np.round(np.clip(rng.beta(10 * mu, 10 * (1 - mu)), 1e-4, 1 - 1e-4), 5)

    steep = -0.6 + 1.2 * x + 0.5 * u
    cauchit, loglog = 0.5 + np.arctan(steep) / np.pi, np.exp(-np.exp(-steep))
    cloglog = -np.expm1(-np.exp(steep))
    logit = 1 / (1 + np.exp(-steep))
    low = np.exp(-1.3 + 0.6 * x + 0.15 * u)
    even = 0.35 + 0.25 * x + 0.07 * u
    root, plain, inverse = 1.5 + 0.8 * x + 0.35 * u, 4 + 2 * x + 0.8 * u, 0.8 + 0.6 * x + 0.12 * u
    log = np.exp(0.8 + 0.6 * x + 0.5 * u)
    clustered = rng.beta(5 * logit, 5 * (1 - logit))
    return {
        "g": np.char.add("g", g.astype(str)),
        "h": np.char.add("h", h.astype(str)),
        "x": x,
        "z": z,
        "trials": trials,
        "hits_log": rng.binomial(trials, low),
        "hits_identity": rng.binomial(trials, even),
        "hits_cauchit": rng.binomial(trials, cauchit),
        "hits_loglog": rng.binomial(trials, loglog),
        "overhits": rng.binomial(trials, clustered),
        "share": share(logit),
        "share_cloglog": share(cloglog),
        "share_loglog": share(loglog),
        "share_cauchit": share(cauchit),
        "count_sqrt": rng.poisson(root**2),
        "count_identity": rng.poisson(plain),
        "over_sqrt": negative(root**2, 2.0),
        "over_identity": negative(plain, 3.0),
        "linear_sqrt": negative(root**2, root**2 / 0.8),
        "linear_log": negative(log, log / 1.2),
        "zero_linear": np.where(rng.random(n) < 0.3, 0, negative(log, log / 0.8)),
        "positive_count": 1 + rng.poisson(0.8 * log),
        "amount_inverse": positive(1 / inverse, 6.0),
        "amount_identity": positive(plain, 6.0),
        "amount_dispersed": np.round(log * rng.gamma(np.exp(1 + z), np.exp(-1 - z), n) + 1e-5, 5),
        "dry": np.where(rng.random(n) < 0.3, 0.0, positive(log, 4.0)),
        "wald_log": np.round(rng.wald(log, 1 / 0.1), 5),
        "wald_inverse": np.round(rng.wald(1 / inverse, 1 / 0.15), 5),
        "wald_squared": np.round(rng.wald(1 / np.sqrt(inverse + 0.2 + 0.2 * u), 1 / 0.15), 5),
        "wald_identity": np.round(rng.wald(plain, 1 / 0.02), 5),
        "rain": np.where(rng.random(n) < np.exp(-log), 0.0, positive(log, 2.0)),
        "real_inverse": np.round(1 / inverse + 0.15 * rng.normal(size=n), 5),
        "real_sqrt": np.round(root**2 + 0.8 * rng.normal(size=n), 5),
        "heavy": np.round(1 + x + 0.7 * u + 0.6 * rng.standard_t(3.5, n), 5),
        "heavy_log": np.round(log + 0.6 * rng.standard_t(4, n), 5),
        "grade": np.digitize(1.5 * steep + v + rng.logistic(size=n), [-1.0, 0.3, 1.5]),
        "hits_crossed": rng.binomial(trials, 0.5 + np.arctan(steep + 0.6 * v) / np.pi),
    }


def mating() -> dict[str, Any]:
    """Return a binary response of pairs, in the plan of the salamander experiment.

    Three experiments of 20 females and 20 males, half of each of two kinds; every animal meets three of
    its own kind and three of the other (the plan of McCullagh and Nelder 1989, section 14.5).
    """
    rng = np.random.default_rng(20261125)
    effects = rng.normal(size=(2, 60)) * [[1.1], [1.0]]
    rows = []
    for experiment in range(3):
        for female in range(20):
            for shift in range(6):
                kind = (female // 10 + shift // 3) % 2
                male = 10 * kind + (female + 3 * experiment + shift % 3) % 10
                rows.append((experiment, female, male))
    experiment, female, male = np.array(rows).T
    white = np.array(["rough", "white"])
    f, m = female // 10, male // 10
    eta = 1.0 - 2.9 * f - 0.7 * m + 3.6 * f * m
    female, male = female + 20 * experiment, male + 20 * experiment
    eta = eta + effects[0, female] + effects[1, male]
    return {
        "mated": rng.binomial(1, 1 / (1 + np.exp(-eta))),
        "female_kind": white[f],
        "male_kind": white[m],
        "female": np.char.add("f", female.astype(str)),
        "male": np.char.add("m", male.astype(str)),
        "experiment": np.char.add("e", experiment.astype(str)),
    }


if __name__ == "__main__":
    main()
