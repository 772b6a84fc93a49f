"""Make the simulated tables of glmm.R: python make_glmm.py (seeded, written to data/)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Write glmm.csv: one design with a response for each family."""
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
    columns = {
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
    header = ",".join(columns)
    rows = (",".join(map(str, row)) for row in zip(*(c.tolist() for c in columns.values()), strict=True))
    (DATA / "glmm.csv").write_text("\n".join([header, *rows]) + "\n")


if __name__ == "__main__":
    main()
