"""Write our optimum of every reference model, for check_ours.R to evaluate R's criterion there.

Run inside tests/reference: python write_ours.py ours.json && Rscript check_ours.R ours.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fits import fit, models  # the path must be set first


def main(target: str) -> None:
    """Write criterion, theta, and per term the grouping columns and lambda."""
    out = {}
    for model_id in models():
        m = fit(model_id)
        out[model_id] = {
            "criterion": -2 * m.loglik,
            "theta": m.theta.tolist(),
            "terms": [
                {"parts": list(term.factor_names), "lambda": factor.tolist()}
                for term, factor in zip(m.design.random, m.lambdas, strict=True)
            ],
        }
    Path(target).write_text(json.dumps(out), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
