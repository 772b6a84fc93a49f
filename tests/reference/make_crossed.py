"""Simulate `recognition`, the wide crossed example shipped in `mixwell/data/recognition.csv`.

56 subjects judge the same 32 items as old or new. Each item is shown once to each subject, in one of the 2 x
2 x 2 conditions of prime, load and noise; a Latin square rotates the conditions over subjects. Three trials
are lost. Effects and their correlated variation between subjects and items are of the size usual for response
times. The higher interactions hardly vary, so the full model asks for more than the data hold.

Run from anywhere: `python tests/reference/make_crossed.py` rewrites the file, always with the same content.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

N_SUBJECTS, N_ITEMS, SEED = 56, 32, 20_061
TARGET = Path(__file__).parents[2] / "src" / "mixwell" / "data" / "recognition.csv"

# ms per unit of 1, prime, load, noise, prime:load, prime:noise, load:noise, prime:load:noise.
MEANS = np.array([1184.0, -36.0, 48.0, 71.0, 6.0, -11.0, 14.0, -2.0])
SUBJECT_SD = np.array([236.0, 24.0, 39.0, 45.0, 9.0, 12.0, 14.0, 0.0])
ITEM_SD = np.array([128.0, 31.0, 0.0, 52.0, 0.0, 15.0, 8.0, 0.0])
RESIDUAL_SD, SKEW = 244.0, 0.5


def deviations(rng: np.random.Generator, n_levels: int, sds: np.ndarray, slow_is_larger: float) -> np.ndarray:
    """Draw deviations, shape (n_levels, 8); a common factor makes slow levels show larger effects."""
    loadings = slow_is_larger * np.sign(MEANS)
    loadings[0] = 1.0
    common = rng.standard_normal((n_levels, 1))
    own = rng.standard_normal((n_levels, sds.size))
    return sds * (common * loadings + own * np.sqrt(1.0 - loadings**2))


def simulate() -> list[tuple[str, str, int, int, int, int]]:
    """Return the rows (subject, item, prime, load, noise, rt)."""
    rng = np.random.default_rng(SEED)
    conditions = np.array(list(product((-1, 1), repeat=3)))
    subject_effects = deviations(rng, N_SUBJECTS, SUBJECT_SD, 0.55)
    item_effects = deviations(rng, N_ITEMS, ITEM_SD, 0.35)
    lost = set(rng.choice(N_SUBJECTS * N_ITEMS, size=3, replace=False).tolist())
    # Response times have a long right tail: a log-normal error, centred and scaled.
    errors = np.exp(SKEW * rng.standard_normal(N_SUBJECTS * N_ITEMS))
    errors = RESIDUAL_SD * (errors - np.exp(SKEW**2 / 2)) / np.sqrt(np.exp(SKEW**2) * np.expm1(SKEW**2))
    rows = []
    for trial, (subject, item) in enumerate(product(range(N_SUBJECTS), range(N_ITEMS))):
        prime, load, noise = conditions[(subject + item) % len(conditions)]
        row = np.array(
            [1, prime, load, noise, prime * load, prime * noise, load * noise, prime * load * noise]
        )
        mean = row @ (MEANS + subject_effects[subject] + item_effects[item])
        rt = round(mean + errors[trial])
        if trial not in lost:
            rows.append((f"S{subject + 1:02d}", f"I{item + 1:02d}", int(prime), int(load), int(noise), rt))
    return rows


if __name__ == "__main__":
    lines = ["subject,item,prime,load,noise,rt", *(",".join(map(str, row)) for row in simulate())]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines) - 1} rows in {TARGET.name}")
