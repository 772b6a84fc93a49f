"""mixwell: linear mixed models with lme4's formulas, a compact core, and a certificate for every fit.

>>> import mixwell as mw
>>> m = mw.fit("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
>>> m.certificate().passed
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixwell import data
    from mixwell.errors import MixwellError, MixwellWarning
    from mixwell.fitted.result import FittedModel
    from mixwell.fitted.values import NamedVector, VarCorr
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.generalized.priors import Prior
    from mixwell.inference.anova import Anova
    from mixwell.inference.certificate import Certificate
    from mixwell.inference.compare import Comparison, compare
    from mixwell.inference.description import RePCA
    from mixwell.inference.influence import Influence
    from mixwell.inference.linear_tests import HypothesisTest
    from mixwell.models import fit, glm, glmer, lm, lmer
    from mixwell.options import Control
    from mixwell.planning.curve import MinimumEffect, PowerCurve, minimum_effect, power_curve
    from mixwell.planning.plan import Plan, crossed, nested
    from mixwell.planning.power import Power, power
    from mixwell.reporting.side_by_side import ModelTable, table
    from mixwell.resampling.bootstrap import Bootstrap
    from mixwell.resampling.permutation import PermutationTest
    from mixwell.saving import load

__all__ = [
    "Anova",
    "Bootstrap",
    "Certificate",
    "Comparison",
    "Control",
    "FittedModel",
    "GeneralizedModel",
    "HypothesisTest",
    "Influence",
    "MinimumEffect",
    "MixwellError",
    "MixwellWarning",
    "ModelTable",
    "NamedVector",
    "PermutationTest",
    "Plan",
    "Power",
    "PowerCurve",
    "Prior",
    "RePCA",
    "VarCorr",
    "__version__",
    "compare",
    "crossed",
    "data",
    "fit",
    "glm",
    "glmer",
    "lm",
    "lmer",
    "load",
    "minimum_effect",
    "nested",
    "power",
    "power_curve",
    "table",
]

# Where each public name lives: importing the package costs nothing until one of them is used.
_HOME = {
    "Anova": "inference.anova",
    "Bootstrap": "resampling.bootstrap",
    "Certificate": "inference.certificate",
    "Comparison": "inference.compare",
    "Control": "options",
    "FittedModel": "fitted.result",
    "GeneralizedModel": "generalized.model",
    "HypothesisTest": "inference.linear_tests",
    "Influence": "inference.influence",
    "MinimumEffect": "planning",
    "MixwellError": "errors",
    "MixwellWarning": "errors",
    "ModelTable": "reporting.side_by_side",
    "NamedVector": "fitted.values",
    "PermutationTest": "resampling.permutation",
    "Plan": "planning",
    "Power": "planning",
    "PowerCurve": "planning",
    "Prior": "generalized.priors",
    "RePCA": "inference.description",
    "VarCorr": "fitted.values",
    "compare": "inference.compare",
    "crossed": "planning",
    "fit": "models",
    "glm": "models",
    "glmer": "models",
    "lm": "models",
    "lmer": "models",
    "load": "saving",
    "minimum_effect": "planning",
    "nested": "planning",
    "power": "planning",
    "power_curve": "planning",
    "table": "reporting.side_by_side",
}


def __getattr__(name: str) -> Any:
    if name == "data":
        return importlib.import_module("mixwell.data")
    if name == "__version__":
        value: Any = importlib.import_module("mixwell._core").version()
    elif name in _HOME:
        value = getattr(importlib.import_module(f"mixwell.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'mixwell' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
