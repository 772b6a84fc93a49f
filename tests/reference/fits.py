"""Read the reference models and fit them with mixwell: shared by the tests and by write_ours.py."""

from __future__ import annotations

import csv
import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mixwell as mw

HERE = Path(__file__).parent


@cache
def models() -> dict[str, dict[str, Any]]:
    """Return the models of models.json by their id."""
    return {model["id"]: model for model in json.loads((HERE / "models.json").read_text())["models"]}


@cache
def table(name: str) -> pd.DataFrame:
    """Return a data set with its factors as categoricals, levels in R's order."""
    if name in mw.data.available():
        return mw.data.load(name, backend="pandas")
    levels = json.loads((HERE / "data" / "columns.json").read_text())[name]
    with (HERE / "data" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for column in rows[0]:
        texts = [row[column] for row in rows]
        columns[column] = pd.Categorical(texts, levels[column]) if levels[column] else np.array(texts, float)
    return pd.DataFrame(columns)


@cache
def fit(model_id: str) -> Any:
    """Fit a reference model with mixwell."""
    return fit_as(models()[model_id])


def fit_as(model: dict[str, Any]) -> Any:
    """Fit what a stored model says: formula, data, method, weights, offset, contrasts."""
    options = {
        key: model[key] for key in ("weights", "offset", "contrasts", "method") if model.get(key) is not None
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MW-C02")  # dropped columns: their names are compared instead
        return mw.fit(model["formula"], table(model["data"]), **options)
