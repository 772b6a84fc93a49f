# The reference models: data sets, and one specification per model. Read by generate.R and check_ours.R.
#
# Run inside tests/reference. Data sets that mixwell ships come from lme4 under the same names; the others are written
# to data/ by generate.R, so that the tests need no R.

suppressMessages({
  library(lme4); library(mlmRev); library(nlme); library(MASS); library(splines)
  library(glmmTMB); library(numDeriv); library(jsonlite)
})

# Plain factors (no order, no classes), so that every contrast is one that a model names.
plain <- function(d) {
  d <- as.data.frame(lapply(as.data.frame(d), function(v) {
    if (is.factor(v)) factor(as.character(v), levels = levels(droplevels(factor(v, ordered = FALSE)))) else
      as.vector(v)
  }))
  d
}

shipped <- list(
  sleepstudy = plain(lme4::sleepstudy), dyestuff = plain(lme4::Dyestuff), dyestuff2 = plain(lme4::Dyestuff2),
  penicillin = plain(lme4::Penicillin), pastes = plain(lme4::Pastes), cake = plain(lme4::cake),
  cbpp = plain(lme4::cbpp),
  recognition = read.csv("../../src/mixwell/data/recognition.csv", stringsAsFactors = TRUE)
)

make_extra <- function() {
  set.seed(20)
  sleep <- shipped$sleepstudy
  sleep$w <- round(runif(nrow(sleep), 0.2, 3), 2)
  sleep$known <- round(5 * sin(seq_len(nrow(sleep))), 3)
  sleep$half <- factor(ifelse(sleep$Days < 5, "early", "late"))
  sleep$third <- factor(c("a", "b", "c")[1 + sleep$Days %% 3])
  holes <- droplevels(subset(shipped$cake, !(recipe == "C" & temperature == "225")))
  inst <- lme4::InstEval
  inst <- inst[inst$d %in% sample(levels(inst$d), 60), ]
  inst <- inst[inst$s %in% names(which(table(inst$s) >= 2)), ]
  inst <- inst[seq_len(min(2000, nrow(inst))), c("s", "d", "studage", "lectage", "service", "dept", "y")]
  scots <- mlmRev::ScotsSec
  scots <- scots[sort(sample(nrow(scots), 1500)), ]
  lapply(list(sleep_extra = sleep, cake_holes = holes, insteval = droplevels(inst), scotssec = droplevels(scots),
              oxboys = nlme::Oxboys[c("Subject", "age", "height")], machines = nlme::Machines, oats = nlme::Oats,
              orthodont = nlme::Orthodont, ergostool = nlme::ergoStool, alfalfa = nlme::Alfalfa,
              unbalanced = make_unbalanced()), plain)
}

# Subjects crossed with items, rows missing at random and more often in some cells: no sum of squares is unique.
# `y` has a random slope; `yzero` no variation between items at all; `yline` slopes proportional to intercepts.
make_unbalanced <- function() {
  set.seed(31)
  d <- expand.grid(item = factor(sprintf("i%02d", 1:10)), subject = factor(sprintf("s%02d", 1:22)))
  d$f <- factor(sample(c("a", "b", "c"), nrow(d), TRUE, c(0.5, 0.3, 0.2)))
  d$g <- factor(ifelse(as.integer(d$item) %in% c(1, 2, 5, 9), "one", "two"))      # between items
  d$x <- round(rnorm(nrow(d)) + 0.5 * (d$f == "b"), 2)
  d$w <- round(runif(nrow(d), 0.3, 2.5), 2)
  d <- d[sort(sample(nrow(d), 160, prob = ifelse(d$f == "c" & d$g == "two", 0.3, 1))), ]
  s <- as.integer(d$subject)
  i <- as.integer(d$item)
  mean <- 10 + c(0, 1, -0.5)[d$f] + 0.8 * (d$g == "two") + 0.6 * d$x + 0.7 * (d$f == "b" & d$g == "two")
  error <- rnorm(nrow(d))
  intercept <- rnorm(22)[s]
  slope <- rnorm(22, 0, 0.6)[s]
  d$y <- round(mean + intercept + slope * d$x + rnorm(10, 0, 0.7)[i] + error, 3)
  d$yzero <- round(mean + intercept + slope * d$x + error - ave(error, d$item), 3)
  d$yline <- round(mean + intercept * (1 + 0.4 * d$x) + error, 3)
  d
}

write_extra <- function() {
  dir.create("data", showWarnings = FALSE)
  extra <- make_extra()
  for (name in names(extra))
    write.csv(format.data.frame(extra[[name]], digits = 15, trim = TRUE, drop0trailing = TRUE),
              file.path("data", paste0(name, ".csv")), row.names = FALSE, quote = FALSE)
  writeLines(toJSON(lapply(extra, function(d) lapply(d, function(v) if (is.factor(v)) levels(v) else list())),
                    pretty = FALSE), "data/columns.json")
}

read_extra <- function() {
  types <- fromJSON("data/columns.json")
  sapply(names(types), function(name) {
    d <- read.csv(file.path("data", paste0(name, ".csv")), colClasses = "character")
    for (v in names(d)) {
      levels <- types[[name]][[v]]
      d[[v]] <- if (length(levels)) factor(d[[v]], levels = levels) else as.numeric(d[[v]])
    }
    d
  }, simplify = FALSE)
}

# id, data, formula as mixwell reads it; r: as lme4 reads it when that differs.
model <- function(id, data, formula, reml = TRUE, r = formula, ...)
  list(id = id, data = data, formula = formula, reml = reml, r = r, ...)

# A structured model: lme4 1.1 does not fit it. `fixed`, and terms of (columns, group, structure, homogeneous);
# `tmb` is glmmTMB's formula, `lme4` an equivalent model for lme4, either gives the value to agree with.
structured <- function(id, data, formula, fixed, terms, reml = TRUE, tmb = NULL, lme4 = NULL)
  list(id = id, data = data, formula = formula, reml = reml, fixed = fixed, terms = terms, tmb = tmb, lme4 = lme4)
term <- function(columns, group, structure, homogeneous = FALSE)
  list(columns = columns, group = group, structure = structure, homogeneous = homogeneous)

models <- list(
  # random intercepts, slopes, correlated or not
  model("sleep_slope_reml", "sleepstudy", "Reaction ~ Days + (Days | Subject)"),
  model("sleep_slope_ml", "sleepstudy", "Reaction ~ Days + (Days | Subject)", FALSE),
  model("sleep_intercept_ml", "sleepstudy", "Reaction ~ Days + (1 | Subject)", FALSE),
  model("sleep_uncorrelated", "sleepstudy", "Reaction ~ Days + (Days || Subject)", merge = TRUE),
  model("sleep_slope_only", "sleepstudy", "Reaction ~ 1 + Days + (0 + Days | Subject)"),
  model("sleep_two_terms_ml", "sleepstudy", "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", FALSE),
  model("oxboys_slope", "oxboys", "height ~ age + (age | Subject)"),
  model("oxboys_quadratic_ml", "oxboys", "height ~ age + I(age^2) + (age + I(age^2) | Subject)", FALSE),
  model("orthodont_sex", "orthodont", "distance ~ age * Sex + (age | Subject)", FALSE),
  # transforms, in the fixed part and inside terms
  model("sleep_poly", "sleepstudy", "Reaction ~ poly(Days, 2) + (poly(Days, 2) | Subject)"),
  model("sleep_scale", "sleepstudy", "Reaction ~ scale(Days) + (scale(Days) | Subject)"),
  model("sleep_center", "sleepstudy", "Reaction ~ center(Days) + us(center(Days) | Subject)", FALSE,
        r = "Reaction ~ scale(Days, scale = FALSE) + (scale(Days, scale = FALSE) | Subject)"),
  model("sleep_log", "sleepstudy", "log(Reaction) ~ Days + I(Days^2) + (I(Days / 10) | Subject)"),
  model("sleep_sqrt", "sleepstudy", "sqrt(Reaction) ~ log(Days + 1) + exp(-Days) + (1 | Subject)", FALSE),
  model("sleep_bs", "sleepstudy", "Reaction ~ bs(Days, df = 5) + (1 | Subject)", FALSE),
  model("sleep_ns", "sleepstudy", "Reaction ~ ns(Days, df = 3) + (ns(Days, df = 2) | Subject)"),
  model("sleep_raw_poly", "sleepstudy", "Reaction ~ poly(Days, 2, raw = TRUE) + (Days | Subject)"),
  model("sleep_factor", "sleepstudy", "Reaction ~ 0 + factor(Days) + (1 | Subject)"),
  # weights and offsets
  model("sleep_weights", "sleep_extra", "Reaction ~ Days + (Days | Subject)", weights = "w"),
  model("sleep_weights_ml", "sleep_extra", "Reaction ~ Days + (1 | Subject)", FALSE, weights = "w"),
  model("sleep_offset", "sleep_extra", "Reaction ~ Days + offset(known) + (Days | Subject)"),
  model("sleep_offset_weights", "sleep_extra", "Reaction ~ half + (Days || Subject)", FALSE, weights = "w",
        offset = "known", merge = TRUE),
  model("cbpp_proportion", "cbpp", "incidence / size ~ period + (1 | herd)", weights = "size"),
  # rank-deficient fixed effects
  model("sleep_collinear", "sleepstudy", "Reaction ~ Days + I(2 * Days + 3) + (Days | Subject)"),
  model("cake_empty_cell", "cake_holes", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
  # one-way, crossed, nested
  model("dyestuff_reml", "dyestuff", "Yield ~ 1 + (1 | Batch)"),
  model("dyestuff_ml", "dyestuff", "Yield ~ 1 + (1 | Batch)", FALSE),
  model("penicillin_reml", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
  model("penicillin_ml", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", FALSE),
  model("pastes_nested", "pastes", "strength ~ 1 + (1 | batch / cask)"),
  model("pastes_nested_ml", "pastes", "strength ~ 1 + (1 | sample) + (1 | batch)", FALSE),
  model("pastes_interaction", "pastes", "strength ~ 1 + (1 | batch:cask)"),
  model("oats_split_plot", "oats", "yield ~ nitro + Variety + (1 | Block / Variety)"),
  model("oats_nested_slope", "oats", "yield ~ nitro * Variety + (nitro | Block / Variety)"),
  model("alfalfa_nested", "alfalfa", "Yield ~ Date * Variety + (1 | Block / Variety)", FALSE),
  model("insteval_crossed", "insteval", "y ~ service + lectage + (1 | s) + (1 | d) + (1 | dept:service)"),
  model("scotssec_crossed", "scotssec", "attain ~ verbal * sex + (1 | primary) + (1 | second)"),
  model("scotssec_slopes_ml", "scotssec",
        "attain ~ verbal + sex + social + (verbal | primary) + (1 | second) + (0 + social | second)", FALSE),
  model("recognition_ml", "recognition",
        "rt ~ (prime + load + noise)^2 + (prime + load | subject) + (1 + noise | item)", FALSE),
  model("recognition_reml", "recognition",
        "rt ~ prime * load * noise + (load + noise | subject) + (prime + noise | item)"),
  # factor slopes
  model("machines_slopes", "machines", "score ~ Machine + (Machine | Worker)"),
  model("machines_cells", "machines", "score ~ Machine + (0 + Machine | Worker)", FALSE),
  model("machines_nested", "machines", "score ~ Machine + (1 | Worker / Machine)"),
  model("machines_diag", "machines", "score ~ Machine + (0 + Machine || Worker)",
        r = paste("score ~ Machine + (0 + as.numeric(Machine == 'A') | Worker) +",
                  "(0 + as.numeric(Machine == 'B') | Worker) + (0 + as.numeric(Machine == 'C') | Worker)"),
        merge = TRUE),
  model("machines_double_bar", "machines", "score ~ Machine + (Machine || Worker)",
        r = paste("score ~ Machine + (1 | Worker) + (0 + as.numeric(Machine == 'B') | Worker) +",
                  "(0 + as.numeric(Machine == 'C') | Worker)"), merge = TRUE),
  # contrasts
  model("cake_poly", "cake", "angle ~ recipe * C(temperature, poly) + (1 | recipe:replicate)",
        r = "angle ~ recipe * C(temperature, contr.poly) + (1 | recipe:replicate)"),
  model("cake_sum", "cake", "angle ~ C(recipe, sum) * temp + (1 | replicate / recipe)",
        r = "angle ~ C(recipe, contr.sum) * temp + (1 | replicate / recipe)"),
  model("cake_helmert", "cake", "angle ~ C(recipe, helmert) + temp + (C(recipe, helmert) | replicate)",
        r = "angle ~ C(recipe, contr.helmert) + temp + (C(recipe, contr.helmert) | replicate)"),
  model("cake_diff", "cake", "angle ~ C(recipe, diff) + C(temperature, diff) + (1 | recipe:replicate)", FALSE,
        r = "angle ~ C(recipe, contr.sdif) + C(temperature, contr.sdif) + (1 | recipe:replicate)"),
  model("ergostool_contrasts", "ergostool", "effort ~ Type + (1 | Subject)", contrasts = list(Type = "sum")),
  # operators
  model("cake_slash", "cake", "angle ~ recipe / temp + (1 | replicate)"),
  model("oats_in", "oats", "yield ~ Variety + nitro %in% Variety + (1 | Block)", FALSE),
  model("cake_minus", "cake", "angle ~ recipe * temp - recipe - 1 + (1 | replicate:recipe)"),
  # singular: the optimum is on the boundary
  model("dyestuff2_reml", "dyestuff2", "Yield ~ 1 + (1 | Batch)"),
  model("dyestuff2_ml", "dyestuff2", "Yield ~ 1 + (1 | Batch)", FALSE),
  model("sleep_overfitted", "sleepstudy", "Reaction ~ Days + (poly(Days, 3) | Subject)", FALSE),
  model("sleep_overfitted_spline", "sleepstudy", "Reaction ~ Days + (bs(Days, df = 5) | Subject)"),
  model("sleep_singular_factor", "sleep_extra", "Reaction ~ Days + (third | Subject)"),
  # structures, from glmmTMB, or from an equivalent model of lme4
  structured("machines_cs", "machines", "score ~ Machine + cs(0 + Machine | Worker)", "score ~ Machine",
             list(term("0 + Machine", "Worker", "cs")), tmb = "score ~ Machine + cs(0 + Machine | Worker)"),
  structured("machines_cs_ml", "machines", "score ~ Machine + cs(0 + Machine | Worker)", "score ~ Machine",
             list(term("0 + Machine", "Worker", "cs")), FALSE, tmb = "score ~ Machine + cs(0 + Machine | Worker)"),
  structured("machines_homcs", "machines", "score ~ Machine + cs(0 + Machine | Worker, hom = TRUE)",
             "score ~ Machine", list(term("0 + Machine", "Worker", "cs", TRUE)),
             lme4 = "score ~ Machine + (1 | Worker / Machine)"),
  structured("machines_structure_diag", "machines", "score ~ Machine + diag(0 + Machine | Worker)",
             "score ~ Machine", list(term("0 + Machine", "Worker", "diag")),
             tmb = "score ~ Machine + diag(0 + Machine | Worker)"),
  structured("machines_homdiag_ml", "machines", "score ~ Machine + diag(0 + Machine | Worker, hom = TRUE)",
             "score ~ Machine", list(term("0 + Machine", "Worker", "diag", TRUE)), FALSE,
             lme4 = "score ~ Machine + (1 | Worker:Machine)"),
  structured("sleep_cs_ml", "sleepstudy", "Reaction ~ Days + cs(Days | Subject)", "Reaction ~ Days",
             list(term("Days", "Subject", "cs")), FALSE, tmb = "Reaction ~ Days + cs(Days | Subject)"),
  structured("orthodont_ar1", "orthodont", "distance ~ age + ar1(0 + factor(age) | Subject)", "distance ~ age",
             list(term("0 + factor(age)", "Subject", "ar1", TRUE)),
             tmb = "distance ~ age + ar1(0 + factor(age) | Subject)"),
  structured("sleep_ar1_ml", "sleepstudy", "Reaction ~ Days + ar1(0 + factor(Days) | Subject)", "Reaction ~ Days",
             list(term("0 + factor(Days)", "Subject", "ar1", TRUE)), FALSE,
             tmb = "Reaction ~ Days + ar1(0 + factor(Days) | Subject)"),
  structured("cake_cs", "cake", "angle ~ recipe + temp + cs(0 + recipe | replicate)", "angle ~ recipe + temp",
             list(term("0 + recipe", "replicate", "cs")), tmb = "angle ~ recipe + temp + cs(0 + recipe | replicate)"),
  structured("alfalfa_cs_and_us", "alfalfa", "Yield ~ Date + Variety + cs(0 + Variety | Block) + (1 | Block:Date)",
             "Yield ~ Date + Variety", list(term("0 + Variety", "Block", "cs"), term("1", "Block:Date", "diag")),
             tmb = "Yield ~ Date + Variety + cs(0 + Variety | Block) + (1 | Block:Date)"),
  structured("sleep_ar1_and_slope", "sleepstudy",
             "Reaction ~ Days + ar1(0 + factor(Days) | Subject) + (0 + Days | Subject)", "Reaction ~ Days",
             list(term("0 + factor(Days)", "Subject", "ar1", TRUE), term("0 + Days", "Subject", "diag")),
             tmb = "Reaction ~ Days + ar1(0 + factor(Days) | Subject) + (0 + Days | Subject)")
)

# ---- lme4 -----------------------------------------------------------------------------------------------------

silent <- lmerControl(
  check.rankX = "silent.drop.cols", check.scaleX = "ignore", check.nobs.vs.nRE = "ignore",
  check.nobs.vs.rankZ = "ignore", check.conv.singular = "ignore"
)

# Returns lme4's criterion as a function of theta, and what is needed to build its fit.
lme4_problem <- function(m, data) {
  # Named arguments only reach lFormula by value: its own evaluation would look for the names elsewhere.
  args <- list(formula = as.formula(m$r, env = globalenv()), data = data, REML = m$reml, control = silent)
  if (!is.null(m$weights)) args$weights <- data[[m$weights]]
  if (!is.null(m$offset)) args$offset <- data[[m$offset]]
  if (!is.null(m$contrasts)) args$contrasts <- lapply(m$contrasts, function(name) paste0("contr.", name))
  parsed <- do.call(lFormula, args)
  devfun <- do.call(mkLmerDevfun, c(parsed[c("fr", "X", "reTrms", "REML")], list(control = silent)))
  list(parsed = parsed, devfun = devfun, lower = parsed$reTrms$lower, start = parsed$reTrms$theta)
}

# Lambda of each term of lme4, from theta: list of (group, parts of its name, names, lambda).
lme4_terms <- function(re, theta) {
  counts <- lengths(re$cnms)
  split_theta <- split(theta, rep(seq_along(counts), counts * (counts + 1) / 2))
  groups <- names(re$flist)[attr(re$flist, "assign")]
  lapply(seq_along(counts), function(t) {
    lambda <- matrix(0, counts[t], counts[t])
    lambda[lower.tri(lambda, diag = TRUE)] <- split_theta[[t]]
    list(group = groups[t], parts = strsplit(groups[t], ":", fixed = TRUE)[[1]], names = re$cnms[[t]],
         lambda = lambda)
  })
}

# ---- the same likelihood for any structure, dense -------------------------------------------------------------

dense_problem <- function(m, data) {
  fixed <- as.formula(m$fixed)
  X <- model.matrix(fixed, data)
  y <- model.response(model.frame(fixed, data))
  n <- length(y); p <- ncol(X)
  nu <- if (m$reml) n - p else n
  terms <- lapply(m$terms, function(t) {
    parts <- strsplit(t$group, ":", fixed = TRUE)[[1]]
    g <- droplevels(interaction(data[parts], lex.order = TRUE))
    columns <- model.matrix(as.formula(paste("~", t$columns)), data)
    k <- ncol(columns)
    Z <- matrix(0, n, nlevels(g) * k)
    for (j in seq_len(k)) Z[cbind(seq_len(n), (as.integer(g) - 1) * k + j)] <- columns[, j]
    sds <- if (t$homogeneous) 1 else k
    c(t, list(parts = parts, g = g, names = colnames(columns), k = k, Z = Z, sds = sds,
              size = sds + (t$structure %in% c("cs", "ar1"))))
  })
  cut <- rep(seq_along(terms), vapply(terms, `[[`, 0, "size"))
  relative <- function(t, theta) {
    sd <- rep_len(theta[seq_len(t$sds)], t$k)
    lag <- abs(outer(seq_len(t$k), seq_len(t$k), "-"))
    rho <- if (t$size > t$sds) theta[t$size] else 0
    R <- if (t$structure == "ar1") rho^lag else ifelse(lag == 0, 1, rho)
    sd * t(sd * t(R))
  }
  solve_at <- function(theta) {
    parts <- split(theta, cut)
    V <- diag(n)
    for (i in seq_along(terms))
      V <- V + terms[[i]]$Z %*% kronecker(diag(nlevels(terms[[i]]$g)), relative(terms[[i]], parts[[i]])) %*%
        t(terms[[i]]$Z)
    R <- chol(V)
    Xs <- backsolve(R, X, transpose = TRUE)
    ys <- backsolve(R, y, transpose = TRUE)
    S <- crossprod(Xs)
    beta <- drop(solve(S, crossprod(Xs, ys)))
    r2 <- sum((ys - Xs %*% beta)^2)
    value <- 2 * sum(log(diag(R))) + nu * (1 + log(2 * pi * r2 / nu)) +
      if (m$reml) as.numeric(determinant(S)$modulus) else 0
    list(value = value, beta = beta, S = S, sigma2 = r2 / nu,
         residual = backsolve(R, ys - Xs %*% beta), parts = parts)
  }
  list(terms = terms, relative = relative, solve_at = solve_at, X = X,
       devfun = function(theta) solve_at(theta)$value,
       lower = unlist(lapply(terms, function(t) c(rep(0, t$sds), rep(-0.99, t$size - t$sds)))),
       start = unlist(lapply(terms, function(t) c(rep(1, t$sds), rep(0.3, t$size - t$sds)))))
}
