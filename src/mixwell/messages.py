"""Every message that mixwell can show, by code: template, hint, and an example that a test renders.

Letters: F formula, D data and design, A arguments, N numerics, P prediction, W warnings and notes,
C certificates. `str.format` fields come from where the error is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the registry: `str.format` templates, and fields with which a test renders it."""

    template: str
    hint: str
    example: Mapping[str, object]


MESSAGES: dict[str, Message] = {}

# --- F: formulas. `text` and `span` draw the caret. ---
MESSAGES |= {
    "MW-F01": Message(
        "a formula must be a string, got {kind}",
        'Write it as text, for example "y ~ x + (x | g)".',
        {"kind": "list"},
    ),
    "MW-F02": Message(
        "the formula is empty{side}",
        "Write the response, '~', then the terms, as in \"y ~ x + (x | g)\". Use '1' for an intercept only.",
        {"side": " to the right of '~'", "text": "y ~ ", "span": (3, 4)},
    ),
    "MW-F03": Message(
        "unknown function '{name}'",
        "A formula may use: {functions}.  {suggestion}",
        {
            "name": "lgo",
            "functions": "exp, log, sqrt",
            "available": ["exp", "log", "sqrt"],
            "text": "y ~ lgo(x)",
            "span": (4, 7),
        },
    ),
    "MW-F04": Message(
        "'{given}' has no meaning in a formula",
        "{advice}",
        {
            "given": "[",
            "advice": "Subscripts are not allowed: make the column first, then name it.",
            "text": "y ~ x[1]",
            "span": (5, 6),
        },
    ),
    "MW-F05": Message(
        "unbalanced parentheses: this '{given}' is never {done}",
        "{advice}",
        {
            "given": "(",
            "done": "closed",
            "advice": "Add the missing ')'.",
            "text": "y ~ x + (1 | g",
            "span": (8, 9),
        },
    ),
    "MW-F06": Message(
        "something is missing {place} '{operator}'",
        "Put a column, a function call or a parenthesis there.",
        {"place": "after", "operator": "+", "text": "y ~ x +", "span": (6, 7)},
    ),
    "MW-F07": Message(
        "an operator is missing before '{given}'",
        "{advice}",
        {
            "given": "z",
            "advice": "Join terms with '+', ':' or '*'. A name with spaces needs backquotes: `x z`.",
            "text": "y ~ x z",
            "span": (6, 7),
        },
    ),
    "MW-F08": Message(
        "the formula has no '~'",
        "Put the response to the left of '~' and the terms to its right, for example \"y ~ x + (x | g)\".",
        {"text": "y + x", "span": (0, 5)},
    ),
    "MW-F09": Message(
        "the formula has more than one '~'",
        "Only one '~' can stand between the response and the terms.",
        {"text": "y ~ x ~ z", "span": (6, 7)},
    ),
    "MW-F10": Message(
        "the bar '{given}' is outside parentheses",
        "Put every random-effects term in parentheses: {advice}.",
        {"given": "|", "advice": "(x | g)", "text": "y ~ x | g", "span": (6, 7)},
    ),
    "MW-F11": Message(
        "'{given}' cannot be a grouping factor",
        "{advice}",
        {
            "given": "log(x)",
            "advice": "To the right of the bar goes a column, factor(column), a:b or a/b.",
            "text": "y ~ x + (1 | log(x))",
            "span": (13, 19),
        },
    ),
    "MW-F12": Message(
        "a random-effects term has nothing {place} the bar",
        "Write it as (columns | grouping factor), for example (1 | g) or (x | g).",
        {"place": "to the right of", "text": "y ~ x + (1 | )", "span": (11, 12)},
    ),
    "MW-F13": Message(
        "the random-effects term {term} has no columns",
        "Use (1 | {group}) for an intercept per level, or name a column: (0 + x | {group}).",
        {"term": "(0 | g)", "group": "g", "text": "y ~ x + (0 | g)", "span": (8, 15)},
    ),
    "MW-F14": Message(
        "the random effects of '{group}' contain {columns} twice: in {first} and in {second}",
        "Two variances of one effect cannot be told apart. {advice}",
        {
            "columns": "the intercept",
            "group": "S",
            "first": "(1 | S)",
            "second": "(Days | S)",
            "advice": "Write (1 + Days | S) alone, or (1 | S) + (0 + Days | S) to leave out the correlation.",
            "text": "y ~ Days + (1 | S) + (Days | S)",
            "span": (21, 31),
        },
    ),
    "MW-F15": Message(
        "unknown covariance structure '{name}'",
        "Structures available: {available}.  {suggestion}",
        {
            "name": "toep",
            "available": ["us", "diag", "cs", "ar1", "homdiag", "homcs", "hetar1"],
            "text": "y ~ toep(0 + t | g)",
            "span": (4, 8),
        },
    ),
    "MW-F16": Message(
        "{structure}() cannot take '{given}'",
        "{advice}",
        {
            "structure": "cs",
            "given": "hom = 3",
            "advice": "After the bar it takes hom = TRUE (one variance) or hom = FALSE (one per column).",
            "text": "y ~ cs(x | g, hom = 3)",
            "span": (14, 21),
        },
    ),
    "MW-F17": Message(
        "the power '{given}' is not a positive whole number",
        "(a + b)^2 means all interactions up to order 2. For squared values write I(x^2) or poly(x, 2).",
        {"given": "0.5", "text": "y ~ x^0.5", "span": (6, 9)},
    ),
    "MW-F18": Message(
        "'{given}' is not a term",
        "{advice}",
        {
            "given": "2",
            "advice": "Only 0 and 1 may stand alone, for leaving out or keeping the intercept.",
            "text": "y ~ x + 2",
            "span": (8, 9),
        },
    ),
    "MW-F19": Message(
        "the response '{name}' is also to the right of '~'",
        "A response cannot explain itself: remove it from the right-hand side.",
        {"name": "y", "text": "y ~ y + x", "span": (4, 5)},
    ),
    "MW-F20": Message(
        "unknown column '{name}'",
        "Columns available: {available}.  {suggestion}",
        {
            "name": "subjct",
            "available": ["Reaction", "Days", "Subject"],
            "text": "Reaction ~ Days + (Days | subjct)",
            "span": (26, 32),
        },
    ),
    "MW-F21": Message(
        "{function}() has no argument '{name}'",
        "Its arguments: {available}.  {suggestion}",
        {
            "function": "poly",
            "name": "degre",
            "available": ["degree", "raw"],
            "text": "y ~ poly(x, degre = 2)",
            "span": (12, 17),
        },
    ),
    "MW-F22": Message(
        "{function}() takes {expected}, got {given}",
        "For example: {advice}.",
        {
            "function": "log",
            "expected": "1 or 2 arguments",
            "given": 0,
            "advice": "log(x)",
            "text": "y ~ log()",
            "span": (4, 9),
        },
    ),
    "MW-F23": Message(
        "{given} makes no sense here",
        "{advice}",
        {
            "given": "'\"x\"'",
            "advice": "Columns are written without quotes; names with spaces in backquotes: `my column`.",
            "text": 'y ~ "x"',
            "span": (4, 7),
        },
    ),
    "MW-F24": Message(
        "'.' cannot be used here",
        "{advice}",
        {
            "advice": "It stands for all columns but the response, as a term of its own in the fixed part.",
            "text": "y ~ x + (. | g)",
            "span": (9, 10),
        },
    ),
    "MW-F25": Message(
        "the {what} '{given}' can only be added with '+'",
        "{advice}",
        {
            "what": "random-effects term",
            "given": "(1 | g)",
            "advice": "Interactions belong inside: (x | g) varies the effect of x, (1 | g:f) groups by both.",
            "text": "y ~ x * (1 | g)",
            "span": (8, 15),
        },
    ),
    "MW-F26": Message(
        "'{given}' is refused: a formula is data, not code",
        "Only columns and the functions in mixwell.formula.FUNCTIONS are read; compute the rest beforehand.",
        {"given": "__import__", "text": "y ~ __import__('os')", "span": (4, 14)},
    ),
    "MW-F27": Message(
        "the formula is too complicated: {reason}",
        "Compute the columns beforehand, or write the wanted terms out.",
        {"reason": "it expands to more than 20000 terms", "text": "y ~ (a + b)^9", "span": (4, 13)},
    ),
    "MW-F28": Message(
        "there is no {what} {given} to remove",
        "The formula has: {available}.",
        {
            "what": "random-effects term",
            "given": "(1 | h)",
            "available": ["(1 + x | g)"],
            "text": "~ . - (1 | h)",
            "span": (6, 13),
        },
    ),
    "MW-F29": Message(
        "this {quote} is never closed",
        "Add the closing {quote}.",
        {"quote": "backquote", "text": "y ~ `my column", "span": (4, 5)},
    ),
    "MW-F30": Message(
        "{what} '{given}' reads no column",
        "Name at least one column of the table in it.",
        {"what": "the response", "given": "1", "text": "1 ~ x", "span": (0, 1)},
    ),
    "MW-F31": Message(
        "{structure}() is a covariance structure and needs one bar inside",
        "Write {structure}(columns | grouping factor), for example {structure}(1 + x | g).",
        {"structure": "diag", "text": "y ~ diag(x)", "span": (4, 11)},
    ),
    "MW-F32": Message(
        "'{given}' cannot be used here",
        "{advice}",
        {
            "given": "<",
            "advice": "Between terms go + - * : / ^ and %in%. For a comparison of values write I(a < b).",
            "text": "y ~ a < b",
            "span": (6, 7),
        },
    ),
    "MW-F33": Message(
        "two bars in one random-effects term",
        "One term has one bar: (x | g). For several grouping factors add terms: (1 | a) + (1 | b).",
        {"text": "y ~ (1 | a | b)", "span": (11, 12)},
    ),
    "MW-F34": Message(
        "the argument {given} of {function}() must be a constant",
        "Write a number, a quoted string, TRUE, FALSE or c(...) of these.",
        {"given": "df = k", "function": "bs", "text": "y ~ bs(x, df = k)", "span": (15, 16)},
    ),
    "MW-F35": Message(
        "unknown contrast '{name}'",
        "Contrasts available: {available}.  {suggestion}",
        {
            "name": "helmet",
            "available": ["treatment", "sum", "helmert", "poly", "diff"],
            "text": "y ~ C(f, helmet)",
            "span": (9, 15),
        },
    ),
    "MW-F36": Message(
        "a further predictor is a one-sided formula of fixed effects",
        "Write it as in ziformula='~ x + f': no response, no random effects, no offset.",
        {"text": "y ~ (1 | g)", "span": (0, 11)},
    ),
}

# --- A: arguments of the public functions ---
MESSAGES |= {
    "MW-A01": Message(
        "{owner} has no argument '{name}'",
        "Its arguments: {available}.  {suggestion}",
        {
            "owner": "fit()",
            "name": "metod",
            "available": ["family", "method", "weights", "offset", "control"],
        },
    ),
    "MW-A02": Message(
        "{option} cannot be {given!r}",
        "Choose one of: {allowed}.",
        {"option": "method", "given": "reml", "allowed": ["'REML'", "'ML'"]},
    ),
    "MW-A04": Message(
        "REML criteria of models with different fixed effects cannot be compared",
        "{models} differ in their fixed part. Refit them with method='ML', or compare models that differ "
        "only in the random part.",
        {"models": ["y ~ 1 + (1 | g)", "y ~ x + (1 | g)"]},
    ),
}

# --- A05 on: doors, options, fits and comparisons ---
MESSAGES |= {
    "MW-A05": Message(
        "lm() fits models without random effects, but the formula has {terms}",
        "Use lmer() or fit(), or leave the term out.",
        {"terms": ["(1 + Days | Subject)"]},
    ),
    "MW-A06": Message(
        "lmer() needs a random-effects term, but '{formula}' has none",
        "Add one, for example (1 | g), or use lm() or fit().",
        {"formula": "Reaction ~ 1 + Days"},
    ),
    "MW-A07": Message(
        "{option} must be {expected}, got {given!r}",
        "",
        {"option": "max_evaluations", "expected": "a positive whole number", "given": 0},
    ),
    "MW-A08": Message(
        "{what} must be {expected} finite numbers, got {given}",
        "Its order is that of m.theta: term after term in the formula.",
        {"what": "theta", "expected": 3, "given": [1.0, 0.0]},
    ),
    "MW-A09": Message(
        "the response cannot be replaced: {reason}",
        "refit() takes one finite number per row used. For missing values use m.update(data=...).",
        {"reason": "its shape is (179,) but 180 rows were used"},
    ),
    "MW-A17": Message(
        "{owner} has no argument 'REML' (given: {given})",
        "Write method='REML', which is the default, or method='ML'.",
        {"owner": "lmer()", "given": False},
    ),
    "MW-A10": Message(
        "the models were not fitted to the same rows",
        "{models}. Missing values in a column that only one of them uses are the usual reason: drop these rows first.",
        {"models": ["y ~ 1 + (1 | g) (180 rows)", "y ~ x + (1 | g) (178 rows)"]},
    ),
    "MW-A11": Message(
        "the models do not have the same response and weights",
        "{models}. Likelihoods of different data cannot be compared.",
        {"models": ["y ~ 1 + (1 | g) (180 rows)", "log(y) ~ 1 + (1 | g) (180 rows)"]},
    ),
    "MW-A12": Message(
        "a REML fit and an ML fit cannot be compared",
        "{models}. Refit them with the same method.",
        {"models": ["y ~ 1 + (1 | g) (REML)", "y ~ x + (1 | g) (ML)"]},
    ),
    "MW-A13": Message(
        "REML criteria depend on how the fixed effects are coded, and these models differ in that alone",
        "{models} have the same fit; their restricted log-likelihoods differ by a constant. Use the same contrasts, or "
        "method='ML'.",
        {"models": ["angle ~ recipe + (1 | g)", "angle ~ C(recipe, sum) + (1 | g)"]},
    ),
    "MW-A14": Message("compare() needs two models or more, got {given}", "", {"given": 1}),
    "MW-A18": Message(
        "compare() takes fitted models, got {kind}",
        "Pass them one by one: compare(m1, m2).",
        {"kind": "list"},
    ),
    "MW-A20": Message(
        "Kenward-Roger needs a REML fit; '{formula}' was fitted by ML",
        'Fit with method="REML" (m.update(method="REML")), or use ddf="satterthwaite".',
        {"formula": "y ~ x + (1 | g)"},
    ),
    "MW-A21": Message(
        "Kenward-Roger needs all pairs of {q} connected random effects at once, which is too many",
        'Use ddf="satterthwaite": with so many levels the two agree.',
        {"q": 50_000},
    ),
    "MW-A25": Message(
        "cannot read the hypothesis: {reason}",
        'Write it as "condB = condC" or "x + 2 * z = 1". Names that look like arithmetic go in backquotes.',
        {"reason": "unexpected '<'", "text": "x < 1", "span": (2, 3)},
    ),
    "MW-A26": Message(
        "there is no coefficient '{name}'",
        "Coefficients: {available}.  {suggestion}",
        {
            "name": "conB",
            "available": ["(Intercept)", "condB", "condC"],
            "text": "conB = condC",
            "span": (0, 4),
        },
    ),
    "MW-A27": Message(
        "not a linear hypothesis about the coefficients: {reason}",
        "{advice}",
        {
            "reason": "a product of coefficients",
            "advice": "Only sums, differences and multiples by numbers can be tested.",
            "text": "x * z = 1",
            "span": (0, 5),
        },
    ),
    "MW-A28": Message(
        "'{hypothesis}' is not estimable: {columns} is a combination of other columns, so it was dropped",
        "The rows do not determine the coefficient. m.anova() tests what they do determine.",
        {"hypothesis": "a2:b2 = 0", "columns": "a2:b2"},
    ),
    "MW-A29": Message(
        "the hypotheses contradict each other, so they cannot be tested together",
        "{hypotheses}. Use joint=False to test them one by one.",
        {"hypotheses": ["x = 1", "x = 2"]},
    ),
    "MW-A30": Message(
        "a hypothesis matrix needs one number per coefficient: {reason}",
        "The {p} coefficients are: {names}.",
        {"reason": "its shape is (1, 2)", "p": 3, "names": ["(Intercept)", "x", "z"]},
    ),
    "MW-A31": Message(
        "{option} does not go with {other}",
        "{advice}",
        {
            "option": "ddf='kenward-roger'",
            "other": "test='chisq'",
            "advice": "The chi-square test has no denominator degrees of freedom: leave ddf out.",
        },
    ),
    "MW-A32": Message(
        "test() got {given} where it needs hypotheses",
        'Pass texts, "x = z", a dict such as dict(x=1, z=-1), or a matrix with a column per coefficient.',
        {"given": "nothing"},
    ),
    "MW-A33": Message(
        "{kind} needs clusters, and a model without random effects has none of its own",
        'Name a column, cluster="school", or pass one value per row; a different value for every row guards against '
        "unequal variances alone.",
        {"kind": "CR2"},
    ),
    "MW-A34": Message(
        "the clusters ({cluster}) cannot be used: {reason}",
        "Clusters are a grouping factor, a column of the data, or one value per row; two of them or more.",
        {"cluster": "school", "reason": "there is only one"},
    ),
    "MW-A35": Message(
        "random effects of {groups} reach across the clusters ({cluster}), which are then not independent",
        "{advice}",
        {
            "groups": ["item"],
            "cluster": "subject",
            "advice": "Take clusters that hold each level as a whole.",
        },
    ),
    "MW-A36": Message(
        "CR1p divides by clusters less coefficients, but there are {clusters} clusters and {p} coefficients",
        'Use "CR2".',
        {"clusters": 4, "p": 5},
    ),
    "MW-A37": Message(
        "there is no grouping factor or column '{name}' to cluster by",
        "Available: {available}.  {suggestion}",
        {"name": "Subjct", "available": ["Subject", "Reaction", "Days"]},
    ),
    "MW-A38": Message(
        "the table has changed since the fit: '{column}' no longer gives the columns that were fitted",
        "Fit again (m.update()), or keep the table as it was.",
        {"column": "cond"},
    ),
    "MW-A42": Message(
        "the models are not nested, so there is no likelihood-ratio test: {reason}",
        "{models}. compare(..., test='auto') leaves such tests out and compares AIC and BIC.",
        {
            "models": ["y ~ x + (1 | g)", "y ~ z + (1 | g)"],
            "reason": "the fixed part of one does not hold 'x' of the other",
        },
    ),
    "MW-A43": Message(
        "ranova() tests random effects, but '{formula}' has none",
        "anova() tests fixed effects.",
        {"formula": "y ~ 1 + x"},
    ),
    "MW-A48": Message(
        "no parameter is called '{name}'",
        "Parameters: {available}.  {suggestion}",
        {"name": "sd_Days", "available": ["(Intercept)", "Days", "sd_Days|Subject", "sigma"]},
    ),
    "MW-A49": Message(
        "level must be between 0 and 1, got {given!r}",
        "Write 0.95 for 95 %.",
        {"given": 95},
    ),
    "MW-A53": Message(
        "{purpose} needs clusters that are independent of one another, but the grouping factors are crossed: {groups}",
        "{advice}",
        {
            "purpose": "kind='case'",
            "groups": ["subject", "item"],
            "advice": "Choose the clusters, as in group='subject', or use kind='parametric'.",
        },
    ),
    "MW-A54": Message(
        "'{name}' does not cut the rows into clusters: {reason}",
        "Grouping factors and columns: {available}.  {suggestion}",
        {"name": "Subjct", "reason": "there is no such column", "available": ["Subject", "Days"]},
    ),
    "MW-A55": Message(
        "the statistic cannot be used: {reason}",
        "Let it return a number, a flat sequence of numbers, a dict of them or a NamedVector, the same for every fit.",
        {"reason": "it returned str"},
    ),
    "MW-A56": Message(
        "none of the {n} replicates of the {kind} bootstrap could be fitted",
        "The design leaves too few rows or levels in each sample; kind='parametric' keeps all rows.",
        {"n": 100, "kind": "case"},
    ),
    "MW-A57": Message(
        "kind='{kind}' resamples every grouping factor, so group='{group}' has no meaning",
        "Leave it out, or use kind='case' or kind='wild', which resample one kind of cluster.",
        {"kind": "parametric", "group": "subject"},
    ),
    "MW-A58": Message(
        "'{name}' is no term of the model",
        "Terms: {available}.  {suggestion}",
        {"name": "Dasy", "available": ["Days", "(Days | Subject)"]},
    ),
    "MW-A59": Message(
        "'{term}' cannot be tested while the model has '{containing}', of which it is a part",
        "Test '{containing}', or leave it out first with m.update('~ . - {containing}').",
        {"term": "x", "containing": "x:z"},
    ),
    "MW-A60": Message(
        "nothing is exchangeable under the hypothesis that '{term}' has no effect: {reason}",
        "{advice}",
        {
            "term": "x",
            "reason": "it has random slopes over the crossed factors subject and item",
            "advice": "Use m.anova(ddf='kenward-roger') or m.bootstrap().",
        },
    ),
    "MW-A61": Message(
        "{owner} describes random effects, but '{formula}' has none",
        "r2() and variance_partition() serve models without random effects, too.",
        {"owner": "icc()", "formula": "y ~ 1 + x"},
    ),
    "MW-A67": Message(
        "there is no {what} '{name}'",
        "There are: {available}.  {suggestion}",
        {"what": "coefficient", "name": "condB", "available": ["(Intercept)", "condb"]},
    ),
    "MW-A68": Message(
        "the number of units of {name} must be a positive whole number, got {given}",
        "Write it as a number, for example subject=30.",
        {"name": "'subject'", "given": "2.5"},
    ),
    "MW-A69": Message(
        "cannot read the predictor '{name}' of the plan: {reason}",
        'Write within=dict(cond=["a", "b"]) and between=dict(group=("subject", ["a", "b"])).',
        {"name": "cond", "reason": "its values must be a list"},
    ),
    "MW-A70": Message(
        "{what} does not say: {missing}",
        "Nothing is assumed silently: write a number for each, zero too, as in {example}.",
        {"what": "effects", "missing": ["condb"], "example": "'condb': 0.0"},
    ),
    "MW-A71": Message(
        "{what} cannot be used: {reason}",
        "Standard deviations are zero or positive, correlations lie between -1 and 1 and fit together.",
        {"what": "sd['subject']", "reason": "it must be at least zero"},
    ),
    "MW-A72": Message(
        "a level or a power must be between 0 and 1, got {given!r}",
        "Write alpha=0.05, power=0.8 (more than alpha).",
        {"given": 80},
    ),
    "MW-A73": Message(
        "a curve needs a plan that can be made larger, got {given}",
        "Make the design with mw.crossed(subject=30, ...) or mw.nested(school=20, ...).",
        {"given": "DataFrame"},
    ),
    "MW-A74": Message(
        "no effect reaches a power of {power}: only {share} of the simulated experiments have a fit",
        "Plan more units, or simplify the random effects.",
        {"power": "0.8", "share": "70.0%"},
    ),
    "MW-A76": Message(
        "unknown family {name!r}",
        "Families: {available}.  {suggestion}",
        {"name": "binomal", "available": ["binomial", "poisson", "gamma"]},
    ),
    "MW-A77": Message(
        "family {family} has no link {name!r}",
        "Its links: {available}.  {suggestion}",
        {"name": "probt", "family": "binomial", "available": ["logit", "probit"]},
    ),
    "MW-A78": Message(
        "family {family} has no extra zeros",
        "ziformula goes with counts and amounts: poisson, nbinom1, nbinom2, truncated ones, tweedie, gamma.",
        {"family": "binomial"},
    ),
    "MW-A79": Message(
        "{what} needs a family with a dispersion, and {family} has none",
        "Leave dispformula out, or use nbinom2, betabinomial, gamma, ...",
        {"what": "dispformula", "family": "poisson"},
    ),
    "MW-A80": Message(
        "{what} is for linear models; this one has family {family}",
        "{advice}",
        {"what": "method='REML'", "family": "binomial", "advice": "Leave it out."},
    ),
    "MW-A81": Message(
        "quadrature (nagq > 1) needs one grouping factor with up to three effects a level: '{formula}'",
        "Leave nagq out: the Laplace approximation has no such limits.",
        {"formula": "y ~ x + (1 | g) + (1 | h)"},
    ),
    "MW-A89": Message(
        "no fit: with the {link} link some means of the {family} family would leave their range",
        "The best coefficients lie at the edge of what the family allows. Use its usual link, or leave terms out.",
        {"family": "binomial", "link": "identity"},
    ),
    "MW-A82": Message(
        "a prior's {what} must be a positive number, or None, got {given!r}",
        "Standard deviations and degrees of freedom are positive: mw.Prior(fixef=2.5).",
        {"what": "fixef", "given": -1.0},
    ),
    "MW-A83": Message(
        "the prior names a {what} that the model does not have: {given!r}",
        "It has: {available}.  {suggestion}",
        {"what": "coefficient", "given": "z", "available": ("(Intercept)", "x")},
    ),
    "MW-A84": Message(
        "fits with a prior have no likelihoods to compare: '{formula}'",
        "Fit the models without prior=, or compare their predictions.",
        {"formula": "y ~ x"},
    ),
    "MW-A90": Message(
        "deviances of family {family} are not defined with extra zeros or for categories",
        "Use the log-likelihood, or resid('pearson').",
        {"family": "poisson"},
    ),
    "MW-A91": Message(
        "{what} needs a likelihood, and {family} has only a mean and a variance",
        "Use a distribution instead: betabinomial for shares, nbinom1 or nbinom2 for counts, gamma or tweedie for amounts.",
        {"what": "a simulated response", "family": "quasipoisson"},
    ),
    "MW-A92": Message(
        "{what} is not defined for this model of family {family}",
        "{advice}",
        {"what": "resid('working')", "family": "poisson", "advice": "Use resid('pearson')."},
    ),
    "MW-A93": Message(
        "variance={given!r} does not go with family {family}",
        "family='quasi' takes variance= one of {available}; other families have their own.",
        {"given": "mu^4", "family": "quasi", "available": ["constant", "mu", "mu^2"]},
    ),
    "MW-A94": Message(
        "{family} has no likelihood, which random effects and further formulas need: '{formula}'",
        "Use betabinomial, nbinom1 or nbinom2, or an observation-level random effect: a column with a number for each row, + (1 | row).",
        {"family": "quasipoisson", "formula": "y ~ x + (1 | g)"},
    ),
    "MW-A95": Message(
        "tests of {simulations} simulated data sets of {rows} rows each do not fit into memory",
        "Use at most {most} simulations, re='conditional', which need not hold them, or by= a grouping factor.",
        {"rows": 2_000_000, "simulations": 1000, "most": 124},
    ),
    "MW-A96": Message(
        "'{name}' does not cut the residuals into groups: {reason}",
        "Use a grouping factor or another column.  {suggestion}",
        {"name": "Subjct", "reason": "there is no such column", "available": ["Subject", "Days"]},
    ),
    "MW-A97": Message(
        "residuals cannot be compared with '{name}': {reason}",
        "Use a numeric column of the data.  {suggestion}",
        {"name": "dys", "reason": "there is no such column", "available": ["Subject", "days"]},
    ),
    "MW-A100": Message(
        "{what} is not defined for family {family} with link {link}",
        "{advice}",
        {
            "what": "r2()",
            "family": "binomial",
            "link": "cauchit",
            "advice": "There is no latent response with a variance behind this link; use approximation='delta'.",
        },
    ),
    "MW-A101": Message(
        "the model without fixed effects, which shares of variance compare with, could not be fitted: '{formula}'",
        "Fit it with glmer() to see why: the formula with 1 in place of the fixed effects.",
        {"formula": "y ~ x + (1 | g)"},
    ),
    "MW-A102": Message(
        "approximation={given!r} does not go with this model of family {family} with link {link}",
        "{advice}",
        {
            "given": "trigamma",
            "family": "binomial",
            "link": "logit",
            "advice": "Leave it out, or use 'delta'.",
        },
    ),
    "MW-A126": Message(
        "plots need matplotlib, which is not installed",
        "Install it: pip install mixwell[plots].",
        {},
    ),
    "MW-A127": Message(
        "{plot} cannot be drawn: {reason}",
        "{advice}",
        {
            "plot": "shrinkage",
            "reason": "the model has no random effects",
            "advice": "Fit one with a term like (1 | group).",
        },
    ),
    "MW-A128": Message(
        "{plot} has no {what} '{name}'",
        "It has {available}.  {suggestion}",
        {"plot": "fitted", "what": "column", "name": "days", "available": ["Days", "Subject"]},
    ),
    "MW-A129": Message(
        "profile_pairs draws two to {most} parameters, not {count}",
        "Name them, for example parameters=['sigma', ...] or parameters='random'. There are: {available}.",
        {"count": 1, "most": 8, "available": ["(Intercept)", "sigma"]},
    ),
    "MW-A131": Message(
        "this needs great-tables, and polars or pandas",
        "Install them: pip install mixwell[tables] polars.",
        {},
    ),
    "MW-A132": Message(
        "table() wants fitted models, got {given}",
        "Pass them one by one: mw.table(m1, m2, names=['small', 'large']).",
        {"given": "list"},
    ),
    "MW-A133": Message(
        "{option} has {given} entries for {count} models",
        "Give one a model.",
        {"option": "names", "given": 2, "count": 3},
    ),
    "MW-A134": Message(
        "no model has coefficients that exponentiate to ratios: links {links}",
        "Leave exponentiate out, or say which models to exponentiate all the same: exponentiate=[True, False].",
        {"links": ["identity"]},
    ),
    "MW-A135": Message(
        "no model has a coefficient '{name}' to rename",
        "Coefficients: {names}.  {suggestion}",
        {"name": "days", "names": ["(Intercept)", "Days"], "suggestion": "Did you mean 'Days'?"},
    ),
    "MW-A113": Message(
        "the contrast {name!r} has {given} coefficients for {count} means",
        "Give one for each of {means}.",
        {"name": "a against the rest", "given": 2, "count": 3, "means": ["a", "b", "c"]},
    ),
    "MW-A114": Message(
        "there is no mean {given!r} to compare with",
        "Means: {available}.  {suggestion}",
        {"given": "d", "available": ["a", "b", "c"]},
    ),
    "MW-A115": Message(
        "'{name}' is no variable of the fixed effects",
        "Variables: {available}.  {suggestion}",
        {"name": "recpie", "available": ["recipe", "temperature"]},
    ),
    "MW-A116": Message(
        "marginal means of an ordinal model are on the latent scale",
        "Leave type='response' out; m.predict(type='probs') has probabilities of categories.",
        {},
    ),
    "MW-A117": Message(
        "Tukey's method is for all pairs of means, not for {what}",
        "adjust='sidak' and 'mvt' are for any family.",
        {"what": "'eff'"},
    ),
    "MW-A118": Message(
        "means of {response} cannot be transformed back",
        "Known are log, log2, log10, log1p and sqrt of a column in a linear model. Leave type='response' out.",
        {"response": "exp(y)"},
    ),
    "MW-A136": Message(
        "the fit cannot be saved: its {what} holds values of type {kind}",
        "Give numbers, text, or the name of a column (categories of other kinds: .cat.rename_categories(str)), and fit again.",
        {"what": "weights", "kind": "object"},
    ),
    "MW-A137": Message(
        "cannot load '{path}': {reason}",
        "Files are written by m.save(path).",
        {"path": "fit.mixwell", "reason": "it is not a saved fit, or is damaged"},
    ),
    "MW-A138": Message(
        "'{path}' was written by a later version of mixwell ({version})",
        "Update it: pip install --upgrade mixwell.",
        {"path": "fit.mixwell", "version": "2.0.0"},
    ),
    "MW-A139": Message(
        "the table is not the one that was fitted: its columns have another fingerprint ({rows} rows, {stored} then)",
        "Pass the table as it was, or fit again.",
        {"rows": 170, "stored": 180},
    ),
    "MW-A140": Message(
        "the file has no data: it was saved with data=False",
        "Pass the table: mw.load(path, data=table).",
        {},
    ),
    "MW-A141": Message(
        "the stored optimum does not belong to the stored data: the criterion is {found}, and was {stored}",
        "The file was changed, or this version reads the formula otherwise. Fit again.",
        {"stored": "1743.6283", "found": "1799.0"},
    ),
    "MW-A142": Message(
        "the fit cannot be saved to '{path}': {reason}",
        "Give the path of a file that may be written.",
        {"path": "results/fit.mixwell", "reason": "No such file or directory"},
    ),
    "MW-A146": Message(
        "there is no file '{path}'",
        "Give the path of a table; mixwell data sleepstudy --out sleep.csv writes one to begin with.",
        {"path": "rows.csv"},
    ),
    "MW-A147": Message(
        "cannot read '{path}': {reason}",
        "Tables are .csv, .tsv, .parquet, .arrow and .feather files; '-' is CSV from standard input.",
        {"path": "rows.xlsx", "reason": "'.xlsx' is none of these"},
    ),
    "MW-A148": Message(
        "reading '{path}' needs {packages}",
        "Install one: pip install pyarrow.",
        {"path": "rows.parquet", "packages": "pyarrow or polars"},
    ),
    "MW-A15": Message(
        "this fit has no REML criterion: it was fitted by ML",
        "Use m.deviance, or m.update(method='REML').",
        {"formula": "y ~ x + (1 | g)"},
    ),
    "MW-A16": Message(
        "there is no grouping factor '{name}'",
        "Grouping factors: {available}.  {suggestion}",
        {"name": "subject", "available": ["Subject", "Item"]},
    ),
}

# --- A119 to A125: slopes, predictions, comparisons, explore() ---
MESSAGES |= {
    "MW-A119": Message(
        "{option} names '{name}', which is not there",
        "Variables: {available}.  {suggestion}",
        {"option": "at", "name": "days", "available": ["Days", "Subject"]},
    ),
    "MW-A120": Message(
        "'{variable}' has no level '{name}'",
        "Levels: {available}.  {suggestion}",
        {"variable": "dose", "name": "hgih", "available": ["low", "high"]},
    ),
    "MW-A121": Message(
        "a grid has no values of '{name}', which is no variable of the fixed effects",
        "Give them in at=, or pass a table.",
        {"name": "Subject"},
    ),
    "MW-A122": Message(
        "a hypothesis about {count} estimates needs a text, a word, or a matrix with {count} columns, got shape {given}",
        'For example "b1 = b2" or "pairwise".',
        {"count": 3, "given": "(2, 2)"},
    ),
    "MW-A123": Message(
        "'{variable}' cannot change by {given}",
        "Changes: {others}, or {allowed}.",
        {
            "variable": "x",
            "given": "'pairwise'",
            "others": "a number, (from, to)",
            "allowed": ["'sd'", "'iqr'"],
        },
    ),
    "MW-A124": Message(
        "there is nothing to compute: {what}",
        "Slopes and elasticities are of numbers, comparisons of factors and numbers.",
        {"what": "no 'eyex' of the factor 'f'"},
    ),
    "MW-A125": Message(
        "the question cannot be read: {reason}",
        "{advice}",
        {
            "reason": "'mean' or 'observed' is expected here, not '5'",
            "advice": "@mean is the default.",
            "text": "Drug ~ @5",
            "span": (8, 9),
        },
    ),
}

# --- A40: the data sets that come along ---
MESSAGES |= {
    "MW-A40": Message(
        "there is no data set '{name}'",
        "Data sets: {available}.  {suggestion}",
        {"name": "sleepstudies", "available": ["sleepstudy", "dyestuff", "penicillin"]},
    ),
    "MW-A41": Message(
        "a data set cannot be loaded as a {backend} table: the package '{module}' is not installed",
        "Install it, or choose another backend; backend='dict' needs nothing but NumPy.",
        {"backend": "polars", "module": "polars"},
    ),
    "MW-A103": Message(
        "{kind} needs the scores of the likelihood that was maximised, and the fast stage maximises none",
        "Fit with nagq=1, the Laplace approximation, or more nodes.",
        {"kind": "CR2"},
    ),
    "MW-A104": Message(
        "{kind} takes rows as independent, and random effects make them dependent",
        "Use {instead!r}, with the outermost grouping factor as clusters.",
        {"kind": "HC2", "instead": "CR2"},
    ),
    "MW-A107": Message(
        "kind='{kind}' resamples residuals, and responses of family {family} are no sums of a mean and a residual",
        "Use kind='parametric', which draws responses from the fit, or kind='case', which draws whole clusters.",
        {"kind": "residual", "family": "binomial"},
    ),
    "MW-A108": Message(
        "no fit was found under a hypothesis about '{formula}'",
        "Means leave the range that the link allows: use test='chisq', or another link.",
        {"formula": "y ~ x + f"},
    ),
}

# --- D: the table and the design. Rows are counted from 0. ---
MESSAGES |= {
    "MW-D01": Message(
        "the data must be a table, got {kind}",
        "Pass a pandas, polars or pyarrow table, a dict of columns, or anything else that narwhals reads.",
        {"kind": "list"},
    ),
    "MW-D02": Message(
        "the columns have different lengths: {lengths}",
        "Every column needs one value per row.",
        {"lengths": ["y 180", "x 179"]},
    ),
    "MW-D03": Message("the table has no rows", "Check the filters that made it.", {}),
    "MW-D04": Message(
        "the table has {count} columns named '{column}'",
        "Rename them, so that the formula can say which one it means.",
        {"column": "x", "count": 2},
    ),
    "MW-D05": Message(
        "the column '{column}' cannot be read: {reason}",
        "A column holds one number, text, category, truth value or date per row.",
        {"column": "x", "reason": "it has shape (180, 2), not one value per row"},
    ),
    "MW-D06": Message(
        "no rows are left: each of the {n} rows has a missing value ({counts})",
        "Leave out the columns with many missing values, or fill them in.",
        {"n": 180, "counts": "Days: 180"},
    ),
    "MW-D07": Message(
        "{dropped} of {n} rows have missing values ({counts})",
        "Remove or fill them, or use na_action='drop' to leave these rows out.",
        {"dropped": 3, "n": 180, "counts": "Days: 2, Reaction: 1"},
    ),
    "MW-D08": Message(
        "{what} is {value} in row {row}{where}",
        "Rows are counted from 0. Correct the value, or make it missing so that the row is left out.",
        {
            "what": "'log(x)'",
            "value": "minus infinity",
            "row": 3,
            "where": " (x = 0)",
            "text": "y ~ log(x)",
            "span": (4, 10),
        },
    ),
    "MW-D09": Message(
        "{what} is {kind} where numbers are needed",
        "{advice}",
        {"what": "the response 'y'", "kind": "text", "advice": "The response must be numeric."},
    ),
    "MW-D11": Message(
        "the response '{response}' is constant; nothing to estimate",
        "All {n} rows used have the value {value}. Check how the column was made.",
        {"response": "y", "value": 1.0, "n": 180},
    ),
    "MW-D12": Message(
        "{argument} has {given}, but the table has {n} rows",
        "Pass the name of a column, or one number per row of the table (before any rows are left out).",
        {"argument": "weights", "given": "179 values", "n": 180},
    ),
    "MW-D13": Message(
        "weights must not be negative: '{weights}' is {value} in row {row}",
        "Rows are counted from 0. A weight multiplies the information of its row; 0 leaves the row out.",
        {"weights": "w", "value": -1.0, "row": 5},
    ),
    "MW-D14": Message(
        "all weights in '{weights}' are zero",
        "Rows of weight zero are left out, so none would be left.",
        {"weights": "w"},
    ),
    "MW-D15": Message(
        "the grouping factor '{group}' has only one level ('{level}')",
        "A variance between levels needs at least two, better many. Leave {term} out, or check the column.",
        {"group": "site", "level": "A", "term": "(1 | site)"},
    ),
    "MW-D16": Message(
        "the grouping factor '{group}' has {levels} levels for {n} rows",
        "There must be fewer levels than rows: with one row per level, the variance between levels and the residual "
        "variance cannot be told apart. Leave {term} out, or group more coarsely.",
        {"group": "id", "levels": 180, "n": 180, "term": "(1 | id)"},
    ),
    "MW-D17": Message(
        "{term} has {q} random effects for {n} rows ({levels} levels of '{group}' times {k} columns)",
        "There must be fewer random effects than rows: their variances and the residual variance are probably "
        "unidentifiable. {advice}",
        {
            "term": "(Days | Subject)",
            "q": 36,
            "n": 36,
            "levels": 18,
            "group": "Subject",
            "k": 2,
            "advice": "Use fewer columns to the left of the bar.",
        },
    ),
    "MW-D18": Message(
        "the factor '{column}' has only one level ('{level}')",
        "A factor in a term needs at least two levels among the rows used. Leave it out.",
        {"column": "f", "level": "a", "text": "y ~ f", "span": (4, 5)},
    ),
    "MW-D19": Message(
        "'{group}' is both fixed and random: its variance cannot be estimated",
        "The fixed term {fixed} has a coefficient for every effect that {term} describes. Keep one of the two.",
        {"group": "Subject", "fixed": "Subject", "term": "(1 | Subject)"},
    ),
    "MW-D20": Message(
        "{structure}() needs at least two columns, {term} has one",
        "A correlation is between columns. Use (1 | {group}) for a single one, or add columns: for repeated measures "
        "{structure}(0 + time | {group}) with time a factor.",
        {"structure": "ar1", "term": "ar1(1 | g)", "group": "g"},
    ),
    "MW-D21": Message(
        "the contrasts of '{column}' do not fit: {reason}",
        "A contrast matrix has one row per level and one column per coefficient.",
        {"column": "f", "reason": "the matrix has 2 rows for 3 levels"},
    ),
    "MW-D22": Message(
        "contrasts names '{name}', which codes no factor of this formula",
        "Factors here: {available}.  Numbers become a factor inside factor().  {suggestion}",
        {"name": "recipee", "available": ["recipe", "temperature"]},
    ),
    "MW-D23": Message(
        "the reference level '{name}' of '{column}' does not exist",
        "Its levels: {available}.  base counts them from 1, reference names one.  {suggestion}",
        {"name": "placebos", "column": "treatment", "available": ["drug", "placebo"]},
    ),
    "MW-D24": Message(
        "{function} cannot be computed: {reason}",
        "Change its arguments, or make the column beforehand.",
        {
            "function": "poly(x, 4)",
            "reason": "degree 4 needs more than 4 distinct values",
            "text": "y ~ poly(x, 4)",
            "span": (4, 14),
        },
    ),
    "MW-D25": Message(
        "{argument} names an unknown column '{name}'",
        "Columns available: {available}.  {suggestion}",
        {"argument": "weights", "name": "wieght", "available": ["y", "x", "weight"]},
    ),
    "MW-D28": Message(
        "{what} must be {expected}; row {row} (counted from 0) has {value:g}",
        "{advice}",
        {
            "what": "the response 'y'",
            "expected": "a whole number from 0 on",
            "row": 3,
            "value": 1.5,
            "advice": "Round it.",
        },
    ),
    "MW-D29": Message(
        "the response '{response}' has {count} levels; this family needs {expected}",
        "For more than two ordered levels use family='cumulative'.",
        {"response": "y", "count": 3, "expected": "2", "text": "y ~ x", "span": (0, 1)},
    ),
    "MW-D30": Message(
        "cbind(successes, failures) is a response of binomial models, not of family {family}",
        "Use family='binomial' or 'betabinomial'.",
        {"family": "poisson", "text": "cbind(a, b) ~ x", "span": (0, 11)},
    ),
    "MW-D31": Message(
        "the response '{response}' has shares strictly between 0 and 1 (row {row}, counted from 0: {value:g}) but no "
        "numbers of trials",
        "A share of 10 trials says less than one of 1000. Pass weights= with the numbers of trials, or write "
        "cbind(successes, failures); for shares that are not of trials use family='beta' or 'quasibinomial'.",
        {"response": "share", "value": 0.25, "row": 3, "text": "share ~ x", "span": (0, 5)},
    ),
    "MW-D27": Message(
        "two columns of the fixed part are called '{name}'",
        "A level of a factor and another column have the same name: rename one, or the level.",
        {"name": "fb"},
    ),
    "MW-D26": Message(
        "'{second}' groups the rows exactly as '{first}' does",
        "Two variances of one effect cannot be told apart. Leave out {term}.",
        {"first": "Subject", "second": "code", "term": "(1 | code)"},
    ),
}

# --- P: prediction ---
MESSAGES |= {
    "MW-P01": Message(
        "level '{name}' of {factor} was not in the training data ({available})",
        "There is no coefficient for it (row {row}, counted from 0). Refit with such rows, or leave them out.  "
        "{suggestion}",
        {"name": "7", "factor": "f", "available": ["0", "1", "2"], "row": 4},
    ),
    "MW-P02": Message(
        "the new data have no column '{column}'",
        "The model needs it. Columns given: {available}.  {suggestion}",
        {"column": "Days", "available": ["days", "Subject"]},
    ),
}

# --- P10 on: levels and offsets of new data ---
MESSAGES |= {
    "MW-P10": Message(
        "new level '{name}' of the grouping factor '{group}' (row {row}, counted from 0)",
        "It is none of the {n_levels} levels that were fitted. To predict it without random effects use "
        "new_levels='population'.  {suggestion}",
        {"name": "380", "group": "Subject", "row": 3, "n_levels": 3, "available": ["308", "309", "330"]},
    ),
    "MW-P11": Message(
        "this model was fitted with an offset that is an array, which new rows do not have",
        "Make it a column of the table, and fit with offset='column' or offset(column) in the formula.",
        {},
    ),
    "MW-P12": Message(
        "'{column}' of the grouping factor '{group}' is missing in row {row} (counted from 0)",
        "To predict such rows without random effects use new_levels='population'.",
        {"column": "Subject", "group": "Subject", "row": 3},
    ),
    "MW-P13": Message(
        "{count} of {n} rows cannot be predicted and are NaN (the first is row {row}, counted from 0)",
        "They need a coefficient of '{column}', which the fitted data could not tell from other columns.",
        {"count": 2, "n": 10, "row": 3, "column": "f2:g3"},
    ),
    "MW-P14": Message(
        "re names '{name}', which is no random-effects term of this model",
        "Terms and grouping factors: {available}.  {suggestion}",
        {"name": "subject", "available": ["Subject", "(1 + Days | Subject)"]},
    ),
    "MW-P15": Message(
        "fixed=True needs joint=True",
        "With the fixed effects taken as known there is no covariance with them.",
        {},
    ),
    "MW-P16": Message(
        "weights of rows to predict must be positive: '{weights}' is {value} in row {row} (counted from 0)",
        "The residual variance of a row is sigma^2 over its weight.",
        {"weights": "w", "value": 0.0, "row": 3},
    ),
    "MW-P17": Message(
        "the fit has weights, the new rows have none: their residual variance is that of weight one",
        "To use weights, fit with weights='column' and put this column into the new data.",
        {},
    ),
    "MW-P18": Message(
        "{option} was given, but nothing that needs it",
        "It belongs to interval='confidence' or 'prediction' (include also to se=True).",
        {"option": "include"},
    ),
    "MW-P20": Message(
        "new_levels={given!r} needs re='conditional'",
        "With re='new' the random effects of every level are drawn, fitted or not.",
        {"given": "sample"},
    ),
    "MW-P25": Message(
        "predict(type={type!r}) is not defined for this model (family '{family}')",
        "{advice}",
        {"type": "zprob", "family": "poisson", "advice": "There are no extra zeros without ziformula."},
    ),
    "MW-P26": Message(
        "the numbers of trials of the new rows are not known: there is no column '{column}'",
        "Give trials=, a column, a number or one number per row, or put the column into the new data.",
        {"column": "size"},
    ),
    "MW-P27": Message(
        "with the link '{link}' the mean over normal random effects does not exist",
        "Use re='population' for a typical level, or fit with link='log'.",
        {"link": "inverse"},
    ),
    "MW-P28": Message(
        "there is no {interval!r} for predict(type={type!r})",
        "{advice}",
        {"interval": "prediction", "type": "link", "advice": "It is for type='response'."},
    ),
    "MW-P29": Message(
        "{option} was given, but nothing that needs it",
        "It belongs to interval='prediction' (trials also to a binomial response).",
        {"option": "seed"},
    ),
    "MW-P19": Message(
        "Kenward-Roger is for intervals of fixed effects, not for uncertainty from {sources}",
        "Use ddf='satterthwaite', or re='population' with interval='confidence'.",
        {"sources": ["fixed", "random"]},
    ),
}

# --- W: notes and warnings ---
MESSAGES |= {
    "MW-W01": Message(
        "dropped {dropped} of {n} {rows} with missing values ({counts})",
        "",
        {"dropped": 3, "n": 180, "rows": "rows", "counts": "Days: 2, Reaction: 1"},
    ),
    "MW-W02": Message(
        "left out {count} rows of weight zero ('{weights}')", "", {"count": 10, "weights": "w"}
    ),
    "MW-W03": Message(
        "the grouping factor '{group}' holds numbers that are not whole (such as {value}).",
        "Each distinct number is a level.",
        {"group": "g", "value": 0.5},
    ),
    "MW-W04": Message(
        "the grouping factor '{group}' has 2 levels: the variance is poorly determined.",
        "Consider it as a fixed effect.",
        {"group": "g"},
    ),
    "MW-W05": Message(
        "every '{inner}' ({labels}) occurs in every '{outer}'.",
        "Are these the same ones each time? If every '{outer}' has its own, write (1 | {outer}/{inner}).",
        {"outer": "batch", "inner": "cask", "labels": ["a", "b", "c"]},
    ),
    "MW-W06": Message(
        "{term} groups by '{group}', which looks like a measurement.",
        "Is it the wrong way round? ({group} | {column}) lets the effect of '{group}' vary over '{column}'.",
        {"term": "(1 + Subject | Days)", "group": "Days", "column": "Subject"},
    ),
    "MW-W20": Message(
        "the profile of '{name}' found a better fit at {value}: -2 log-likelihood lower by {gain}",
        "The fit is not the optimum; intervals from this profile are not to be trusted.",
        {"name": "sigma", "value": "25.1", "gain": "0.3"},
    ),
    "MW-W21": Message(
        "'{name}' is not identified by these data: no value in its range is rejected",
        "Report that the data say nothing about it, or fit a simpler random-effects term.",
        {"name": "cor_Days.(Intercept)|Subject"},
    ),
    "MW-W22": Message(
        "{estimator} was fitted without groups: the model has no random effects",
        "Pass fit(X, y, groups=...), or use a formula that names them; scikit-learn's cross-validation passes groups "
        "on only with metadata routing. random=None says that no groups are meant.",
        {"estimator": "MixedRegressor"},
    ),
    "MW-W11": Message(
        "the model is for the probability of {response} = '{level}' (and not '{other}')",
        "",
        {"response": "answer", "level": "yes", "other": "no"},
    ),
    "MW-W13": Message(
        "{kind} separation: {because}. No finite estimate: {columns}",
        "Estimates and standard errors of these are where the search stopped, and Wald tests of them mean nothing. "
        "m.confint('{name}') has the limit that the data give; prior=mw.Prior() keeps estimates finite.",
        {
            "kind": "quasi-complete",
            "because": "all 6 rows with f = c have y = 0",
            "columns": ["'fc' (-inf)"],
            "name": "fc",
        },
    ),
    "MW-W16": Message(
        "the standard deviation of '{name}' over '{group}' is {sd}: {count} of {n_levels} levels have responses that "
        "are all at one end ({levels})",
        "How far such levels are from the others is hardly in the data, and the Laplace approximation is poor there. "
        "Compare nagq=25, or use prior=mw.Prior(sd=2.0).",
        {
            "name": "(Intercept)",
            "group": "g",
            "sd": "58.4",
            "count": 18,
            "n_levels": 20,
            "levels": ["a", "b"],
        },
    ),
    "MW-W14": Message(
        "the Laplace approximation: {said}",
        "",
        {"said": "accurate enough, 9 nodes change -2 log-likelihood by 0.002."},
    ),
    "MW-W30": Message(
        "fast stage (nagq=0): coefficients by penalised least squares, standard errors given the covariances",
        "Leave nagq out for the Laplace approximation, which is more accurate.",
        {},
    ),
    "MW-W32": Message(
        "fitted means are at the edge of what the {family} family allows: the {link} link goes beyond",
        "The estimates lie on that edge and have no valid standard errors. Use the family's usual link.",
        {"family": "binomial", "link": "identity"},
    ),
    "MW-W31": Message(
        "the {name} is on its way to {to}: the data have {left}",
        "Its estimate is where the search stopped; the simpler model has the same likelihood and one parameter less.",
        {"name": "size", "to": "infinity", "left": "no more variation than family='poisson' has"},
    ),
    "MW-W07": Message(
        "'{group}' is numeric: as a fixed effect it is one slope, as a grouping factor each value is a level.",
        "Write factor({group}) if the fixed effect should have a coefficient per value.",
        {"group": "year"},
    ),
    "MW-W08": Message(
        "No likelihood-ratio test of {models}: {reason}.",
        "",
        {
            "models": ["y ~ x + (1 | g)", "y ~ z + (1 | g)"],
            "reason": "the fixed part of one does not hold 'x' of the other",
        },
    ),
    "MW-W10": Message(
        "{large} has a lower likelihood than {small}, which is a special case of it (by {lower} in -2 log)",
        "Its search ended in a local optimum: look at its certificate, or refit it with another "
        "Control(start=...). The test counts the difference as zero.",
        {"large": "y ~ x + (x | g)", "small": "y ~ x + (1 | g)", "lower": "1.2"},
    ),
    "MW-W09": Message(
        "Fitted by REML and refitted by ML for this comparison: {models}; {reason}.",
        "",
        {
            "models": ["y ~ x + (1 | g)"],
            "reason": "the fixed effects differ, and REML criteria are then of different data",
        },
    ),
    "MW-W15": Message(
        "One cluster ({cluster}) alone determines {columns}, so there is no robust variance of it.",
        "Its robust standard error is zero and means nothing; tests and intervals of it are missing. Use the model's "
        "own standard error.",
        {"columns": ["'schoolB'"], "cluster": "school"},
    ),
}

# --- C: what a certificate says ---
MESSAGES |= {
    "MW-C01": Message(
        "the fit is not certified: {reason}",
        "Do not rely on it. m.certificate() shows what failed; raise Control(max_evaluations=...), or simplify the "
        "random effects.",
        {"reason": "the search stopped after 500 evaluations with something left to gain"},
    ),
    "MW-C02": Message(
        "coefficients that are not estimable were left out: {columns}.",
        "",
        {"columns": "'z' is a combination of (Intercept), Days; 'f2:g3' is zero in every row used"},
    ),
    "MW-C03": Message(
        "nearly dependent columns: {columns} (condition number {condition}).",
        "Their coefficients can be large, of opposite signs, and hardly mean anything one by one.",
        {"columns": ["x", "z"], "condition": "2e+04"},
    ),
    "MW-C04": Message(
        "The variance of '{group}' is estimated as zero: the data show no more variation between its levels than "
        "within them.",
        "The fit is valid; {term} adds nothing.",
        {"group": "Batch", "term": "(1 | Batch)"},
    ),
    "MW-C05": Message(
        "The variance of {columns} over '{group}' is estimated as zero.",
        "The fit is valid. {advice}",
        {
            "columns": ["'Days'"],
            "group": "Subject",
            "advice": "(1 | Subject) in place of (1 + Days || Subject) gives the same fit.",
        },
    ),
    "MW-C06": Message(
        "The {k} random effects of {term} vary in only {rank} {directions}: {detail}.",
        "The fit is valid; the data do not support a covariance matrix of full rank.",
        {
            "term": "(1 + Days | Subject)",
            "k": 2,
            "rank": 1,
            "directions": "direction",
            "detail": "their correlation is estimated as +1",
        },
    ),
}

# --- N: numerics, raised by the core ---
MESSAGES |= {
    "MW-N06": Message(
        "column {column} of the random-effects term {term} is zero, or a combination of the columns before it",
        "Its variance would be arbitrary. Leave the column out of the term.",
        {"term": "(1 + z | Subject)", "column": "'z'"},
    ),
    "MW-N01": Message(
        "the arrays of the model do not fit together: {detail}",
        "This is a mistake inside mixwell; please report it with the formula and the size of the table.",
        {"detail": "codes: expected 180, found 179"},
    ),
    "MW-N02": Message(
        "{what} is not finite",
        "The numbers are too large or too small for double precision: divide the response or the columns by a "
        "suitable constant.",
        {"what": "the cross-product of the rows"},
    ),
    "MW-N03": Message(
        "the factorisation failed: {block} is not positive definite",
        "Columns may be copies of each other up to rounding, or columns, weights, the response or starting values are "
        "absurdly large or small. Remove or rescale them.",
        {"block": "the fixed-effects block"},
    ),
    "MW-N04": Message(
        "the model reproduces the response exactly: there is no residual variance to estimate",
        "Is the response computed from columns of the formula, or is there a coefficient for every row?",
        {},
    ),
    "MW-N05": Message(
        "{n} observations cannot estimate {p} coefficients and a residual variance",
        "Leave out terms, or use more rows.",
        {"n": 5, "p": 6},
    ),
}

# --- A156 to A162: scikit-learn ---
MESSAGES |= {
    "MW-A155": Message(
        "there is no window to show a plot in (matplotlib's backend is {backend})",
        "Write it to a file with plot.save(path); a notebook shows a plot that ends a cell.",
        {"backend": "agg"},
    ),
    "MW-A156": Message(
        "mixwell.sklearn needs scikit-learn 1.6 or later",
        "Install it: pip install mixwell[sklearn].",
        {},
    ),
    "MW-A157": Message(
        "the response must be one column here, got '{formula}'",
        "Transform it before, or put the estimator into sklearn.compose.TransformedTargetRegressor.",
        {"formula": "log(y) ~ 1 + x + (1 | g)"},
    ),
    "MW-A158": Message(
        "{option}= cannot be used",
        "{advice}",
        {"option": "groups", "advice": "The formula names them: put them into X."},
    ),
    "MW-A159": Message(
        "random= names '{name}', which is no column of X",
        "Columns: {available}.  {suggestion}",
        {"name": "days", "available": ["Days", "Age"]},
    ),
    "MW-A160": Message(
        "Only binary classification is supported. The type of the target is {kind}",
        "For ordered categories use mixwell.glmer(family='cumulative').",
        {"kind": "multiclass"},
    ),
    "MW-A161": Message(
        "a classifier needs two classes in the rows with a weight, got: {classes}",
        "",
        {"classes": ["'yes'"]},
    ),
    "MW-A163": Message(
        "this needs the package {package}, which is not installed",
        "Install it: pip install {package}.",
        {"package": "arviz"},
    ),
    "MW-A164": Message(
        "means of the family {family} are not the inverse link alone, which is what the adapter passes on",
        "Use m.predictions(), m.comparisons() and m.slopes(), or m.to_marginaleffects(type='link').",
        {"family": "zero-inflated poisson (log)"},
    ),
    "MW-A166": Message(
        "marginaleffects {own} does not work with polars {polars}",
        "Install an earlier polars beside it (pip install 'polars<2'), or use m.slopes() and m.comparisons().",
        {"own": "0.6.0", "polars": "2.1.0"},
    ),
    "MW-A165": Message(
        "none of the {n} replicates has a fit",
        "Look at .failed, and at the certificate of the model that was resampled.",
        {"n": 100},
    ),
    "MW-A162": Message(
        "{estimator} requires y to be passed, but the target y is None",
        "Pass y, or put the column '{column}' into X.",
        {"estimator": "MixedRegressor", "column": "Reaction"},
    ),
}

# --- A151 to A153: the report ---
MESSAGES |= {
    "MW-A151": Message(
        "the report cannot be written: there is no directory '{directory}'",
        "Make it first, or give another path.",
        {"path": "results/fit.html", "directory": "results"},
    ),
    "MW-A152": Message(
        "the report cannot be written to '{path}': {reason}",
        "Give the path of a file that may be written.",
        {"path": "fit.html", "reason": "Permission denied"},
    ),
    "MW-A153": Message(
        "the report is an HTML file, got the path '{path}'",
        "Let it end in .html; a browser prints it to PDF.",
        {"path": "fit.pdf"},
    ),
}
