# Make inference.json: tests, degrees of freedom and profile intervals by R. Run inside tests/reference:
#
#     Rscript inference.R                      # or: Rscript inference.R sleep_slope   (prints, writes nothing)
#
# Every model is first taken to an optimum with more digits than its optimiser leaves (optimum.R) and then handed to
# lmerTest, pbkrtest and car without further search. What still limits them is stored with each model: `digits` holds
# the relative change of the results when the numerical steps of R's packages are changed.

source("models.R")
source("optimum.R")
suppressMessages({library(lmerTest); library(pbkrtest); library(car)})
data_sets <- c(shipped, read_extra())

# `white`: the same model with every row multiplied by the root of its weight, because pbkrtest, and lme4's profiles of
# fixed effects, forget the weights.
# `kr_reduced`: the model without the term whose variance is zero.
inference_model <- function(id, data, formula, reml = TRUE, r = formula, profile = FALSE, ...)
  list(id = id, data = data, formula = formula, reml = reml, r = r, profile = profile, ...)

inference_models <- list(
  inference_model("sleep_slope", "sleepstudy", "Reaction ~ Days + (Days | Subject)", profile = TRUE),
  inference_model("sleep_slope_ml", "sleepstudy", "Reaction ~ Days + (Days | Subject)", FALSE),
  inference_model("sleep_intercept", "sleepstudy", "Reaction ~ Days + (1 | Subject)", profile = TRUE),
  inference_model("sleep_uncorrelated", "sleepstudy", "Reaction ~ Days + (Days || Subject)", profile = TRUE),
  inference_model("sleep_poly", "sleepstudy", "Reaction ~ poly(Days, 2) + (Days | Subject)"),
  inference_model("sleep_thirds", "sleep_extra", "Reaction ~ 0 + third + half + (1 | Subject)"),
  inference_model("sleep_weights", "sleep_extra", "Reaction ~ Days + (Days | Subject)", weights = "w", profile = TRUE,
    white = paste("I(sqrt(w) * Reaction) ~ 0 + I(sqrt(w)) + I(sqrt(w) * Days) +",
                     "(0 + I(sqrt(w)) + I(sqrt(w) * Days) | Subject)")),
  inference_model("sleep_offset", "sleep_extra", "Reaction ~ Days + half + (1 | Subject)", offset = "known",
                  profile = TRUE),
  inference_model("dyestuff", "dyestuff", "Yield ~ 1 + (1 | Batch)", profile = TRUE),
  inference_model("dyestuff2", "dyestuff2", "Yield ~ 1 + (1 | Batch)", profile = TRUE),
  inference_model("penicillin", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", profile = TRUE),
  inference_model("pastes", "pastes", "strength ~ 1 + (1 | batch / cask)", profile = TRUE),
  inference_model("cake", "cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
  inference_model("cake_sum", "cake", "angle ~ recipe * temperature + (1 | recipe:replicate)",
                  contrasts = list(recipe = "sum", temperature = "sum")),
  inference_model("cake_missing_cell", "cake_holes", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
  inference_model("machines", "machines", "score ~ Machine + (1 | Worker / Machine)", profile = TRUE),
  inference_model("machines_slopes", "machines", "score ~ Machine + (0 + Machine | Worker)"),
  inference_model("oats", "oats", "yield ~ nitro * Variety + (1 | Block / Variety)"),
  inference_model("alfalfa", "alfalfa", "Yield ~ Date * Variety + (1 | Block / Variety)"),
  inference_model("ergostool_sum", "ergostool", "effort ~ Type + (1 | Subject)", contrasts = list(Type = "sum")),
  inference_model("orthodont", "orthodont", "distance ~ age * Sex + (age | Subject)"),
  inference_model("orthodont_ml", "orthodont", "distance ~ age * Sex + (age | Subject)", FALSE),
  inference_model("unbalanced_slope", "unbalanced", "y ~ f * g + f * x + (x | subject) + (1 | item)", profile = TRUE),
  inference_model("unbalanced_slope_ml", "unbalanced", "y ~ f * g + f * x + (x | subject) + (1 | item)", FALSE),
  inference_model("unbalanced_helmert", "unbalanced", "y ~ f * g + f * x + (x | subject) + (1 | item)",
                  contrasts = list(f = "helmert", g = "sum")),
  inference_model("unbalanced_order", "unbalanced", "y ~ x + g + f + f:g + (x || subject) + (1 | item)"),
  inference_model("unbalanced_zero", "unbalanced", "yzero ~ f * g + x + (x | subject) + (1 | item)", profile = TRUE,
                  kr_reduced = "yzero ~ f * g + x + (x | subject)"),
  inference_model("unbalanced_line", "unbalanced", "yline ~ f * g + f * x + (x | subject)"),
  inference_model("unbalanced_factor", "unbalanced", "y ~ f * g + x + (0 + f | subject)"),
  inference_model("unbalanced_weights", "unbalanced", "y ~ f + g + x + (1 | subject) + (1 | item)", weights = "w",
    white = paste("I(sqrt(w) * y) ~ 0 + I(sqrt(w)) + I(sqrt(w) * (f == 'b')) + I(sqrt(w) * (f == 'c')) +",
                     "I(sqrt(w) * (g == 'two')) + I(sqrt(w) * x) + (0 + I(sqrt(w)) | subject) +",
                     "(0 + I(sqrt(w)) | item)"))
)

plain_models <- list(
  list(id = "lm_unbalanced", data = "unbalanced", formula = "y ~ f * g"),
  list(id = "lm_unbalanced_sum", data = "unbalanced", formula = "y ~ f * g + x",
       contrasts = list(f = "sum", g = "sum")),
  list(id = "lm_weights", data = "unbalanced", formula = "y ~ x + f + g + f:x", weights = "w"),
  list(id = "lm_cake", data = "cake", formula = "angle ~ recipe * temp + replicate"),
  list(id = "lm_missing_cell", data = "cake_holes", formula = "angle ~ recipe * temperature")
)

# ---- fits -----------------------------------------------------------------------------------------------------

# A call that the packages can evaluate again: the data are the global `d`, weights and offset names within it.
fit_call <- function(m, formula, theta, reml = m$reml, control = still) {
  args <- list(quote(lme4::lmer), as.formula(formula, env = globalenv()), data = quote(d), REML = reml,
               start = theta, control = control)
  if (!is.null(m$weights)) args$weights <- as.name(m$weights)
  if (!is.null(m$offset)) args$offset <- as.name(m$offset)
  if (!is.null(m$contrasts)) args$contrasts <- lapply(m$contrasts, function(name) paste0("contr.", name))
  as.call(args)
}
still <- c(optimizer = list(NULL), silent[setdiff(names(silent), "optimizer")])
class(still) <- class(silent)
still$calc.derivs <- FALSE

at_optimum <- function(m, data, formula = m$r, reml = m$reml) {
  problem <- lme4_problem(replace(m, c("r", "reml"), list(formula, reml)), data)
  found <- best_of(problem$devfun, problem$start, problem$lower)
  assign("d", data, envir = globalenv())
  fit <- eval(fit_call(m, formula, found$par, reml), globalenv())
  stopifnot(identical(unname(getME(fit, "theta")), unname(found$par)))
  list(fit = fit, theta = found$par, gradient = found$gradient, problem = problem)
}

table_of <- function(t) {
  if (is.null(t)) return(NULL)
  names(t) <- c("Sum Sq" = "sum_sq", "Mean Sq" = "mean_sq", NumDF = "num_df", DenDF = "den_df", Df = "num_df",
                "F value" = "statistic", F = "statistic", "Pr(>F)" = "p_value", "Pr(>|t|)" = "p_value",
                Chisq = "statistic", "Pr(>Chisq)" = "p_value", Df.res = "den_df", Estimate = "estimate",
                "Std. Error" = "se", df = "df", "t value" = "statistic")[names(t)]
  t <- as.list(as.data.frame(t))
  lapply(t, I)
}
with_terms <- function(t) if (is.null(t)) NULL else c(list(term = I(rownames(t))), table_of(t))
try_null <- function(expr) tryCatch(suppressWarnings(suppressMessages(expr)), error = function(e) NULL)

# Joint hypotheses: every coefficient but the intercept (both, when there are two), and two combinations.
hypotheses <- function(p, intercept) {
  all <- diag(p)
  if (p > 2 && intercept) all <- all[-1, , drop = FALSE]
  if (p < 3) return(list(all))
  list(all, rbind(seq_len(p) %% 3 - 1, c(rep(0, p - 2), 2, 1)))
}

# lmerTest's covariance of (theta, sigma) and Jacobian, with other numerical steps.
finer <- function(fit, devfun) {
  steps <- list(d = 0.02, eps = 1e-3, r = 6)
  at <- c(fit@theta, fit@sigma)
  e <- eigen(numDeriv::hessian(lmerTest:::devfun_vp, at, method.args = steps, devfun = devfun,
                               reml = getME(fit, "is_REML")), symmetric = TRUE)
  keep <- e$values > 1e-8
  V <- e$vectors[, keep, drop = FALSE]
  fit@vcov_varpar <- 2 * V %*% (t(V) / e$values[keep])
  jac <- numDeriv::jacobian(lmerTest:::get_covbeta, at, method.args = steps, devfun = devfun)
  fit@Jac_list <- lapply(seq_len(ncol(jac)), function(i) matrix(jac[, i], length(fit@beta)))
  fit
}

satterthwaite <- function(fit, L) {
  p <- length(fixef(fit))
  separate <- do.call(rbind, lapply(seq_len(p), function(j) contest1D(fit, diag(p)[j, ])))
  list(separate = table_of(separate), joint = lapply(L, function(l) table_of(contestMD(fit, l))))
}

kenward_roger <- function(fit, L) {
  p <- length(fixef(fit))
  adjusted <- vcovAdj(fit)
  phi <- as.matrix(vcov(fit))
  df <- vapply(seq_len(p), function(j) Lb_ddf(diag(p)[j, ], phi, adjusted), 0)
  list(vcov = unname(as.matrix(adjusted)), se = I(sqrt(diag(as.matrix(adjusted)))), df = I(df),
       joint = lapply(L, function(l) {
         t <- KRmodcomp(fit, l)$test
         list(statistic = t["Ftest", "stat"], num_df = t["Ftest", "ndf"], den_df = t["Ftest", "ddf"],
              scaling = t["Ftest", "F.scaling"], p_value = t["Ftest", "p.value"])
       }))
}

# lme4's profile with small steps; it profiles the ML deviance, also of a REML fit.
profiled <- function(m, data, names) {
  if (!is.null(m$white)) m <- replace(m[c("id", "reml", "white")], "r", m$white)
  ml <- at_optimum(m, data, reml = FALSE)
  tight <- silent
  tight$optimizer <- "bobyqa"
  tight$optCtrl <- list(rhobeg = 0.05, rhoend = 1e-10, maxfun = 20000)
  fit <- eval(fit_call(m, m$r, ml$theta, FALSE, tight), globalenv())
  stopifnot(identical(unname(getME(fit, "theta")) == 0, unname(ml$theta) == 0))
  k <- length(getME(fit, "theta")) + 1 + length(fixef(fit))
  run <- function(delta) suppressWarnings(profile(fit, alphamax = pchisq(2.4^2, k, lower.tail = FALSE), delta = delta,
                                                  maxpts = 400, devtol = 1e-6, signames = FALSE))
  coarse <- confint(run(0.1), level = 0.95)
  pr <- run(0.05)
  limits <- confint(pr, level = 0.95)
  half <- confint(pr, level = 0.5)
  points <- lapply(rownames(limits), function(name) {
    rows <- as.data.frame(pr)[pr$.par == name, c(name, ".zeta")]
    rows <- rows[is.finite(rows$.zeta), ]
    at <- vapply(c(-2, -1, 1, 2), function(z) which.min(abs(rows$.zeta - z)), 0L)
    rows <- rows[unique(at), ]
    list(value = I(rows[[1]]), zeta = I(rows$.zeta))
  })
  width <- limits[, 2] - limits[, 1]
  list(names = I(names), lower = I(unname(limits[, 1])), upper = I(unname(limits[, 2])),
       lower_50 = I(unname(half[, 1])), upper_50 = I(unname(half[, 2])), points = points,
       theta = I(unname(getME(fit, "theta"))), moved = max(abs(getME(fit, "theta") - ml$theta)),
       digits = max(abs(limits - coarse) / width, na.rm = TRUE))
}

relative_change <- function(a, b) max(abs(unlist(a) / unlist(b) - 1))

describe <- function(m) {
  data <- data_sets[[m$data]]
  at <- at_optimum(m, data)
  lme <- at$fit
  fit <- suppressWarnings(as_lmerModLmerTest(lme))
  b <- fixef(fit)
  L <- hypotheses(length(b), names(b)[1] == "(Intercept)")
  found <- satterthwaite(fit, L)
  fine <- satterthwaite(finer(fit, at$problem$devfun), L)
  anovas <- function(ddf) lapply(c("1" = "1", "2" = "2", "3" = "3"), function(type)
    try_null(with_terms(anova(fit, type = type, ddf = ddf))))
  out <- list(
    id = m$id, data = m$data, formula = m$formula, r_formula = m$r, method = if (m$reml) "REML" else "ML",
    weights = m$weights, offset = m$offset, contrasts = m$contrasts, criterion = -2 * as.numeric(logLik(lme)),
    gradient = at$gradient, names = I(names(b)), fixef = I(unname(b)), vcov = unname(as.matrix(vcov(lme))),
    theta = I(unname(at$theta)), sigma = sigma(lme), L = lapply(L, unname), satterthwaite = found,
    digits = list(satterthwaite = relative_change(
      c(list(found$separate$df), lapply(found$joint, `[[`, "den_df")),
      c(list(fine$separate$df), lapply(fine$joint, `[[`, "den_df")))),
    anova = list(satterthwaite = anovas("Satterthwaite")),
    car = list(chisq_2 = try_null(with_terms(Anova(lme, type = 2))))
  )
  orthogonal <- length(m$contrasts) && all(unlist(m$contrasts) %in% c("sum", "helmert"))
  if (orthogonal) out$car$chisq_3 <- try_null(with_terms(Anova(lme, type = 3)))
  if (m$reml && is.null(m$white)) {
    out$kenward_roger <- kenward_roger(lme, L)
    out$anova$kenward_roger <- anovas("Kenward-Roger")
    out$car$F_2 <- try_null(with_terms(Anova(lme, type = 2, test.statistic = "F")))
    if (orthogonal) out$car$F_3 <- try_null(with_terms(Anova(lme, type = 3, test.statistic = "F")))
  }
  if (!is.null(m$white)) {
    white <- at_optimum(m[c("id", "data", "reml")], data, m$white)
    stopifnot(max(abs(fixef(white$fit) - b)) < 1e-6 * max(abs(b)))
    out$kenward_roger <- kenward_roger(white$fit, L)
  }
  if (!is.null(m$kr_reduced)) out$kenward_roger_reduced <- kenward_roger(at_optimum(m, data, m$kr_reduced)$fit, L)
  if (m$profile) out$profile <- profiled(m, data, c(lme4:::profnames(lme, TRUE, signames = FALSE), names(b)))
  out
}

describe_plain <- function(m) {
  assign("d", data_sets[[m$data]], envir = globalenv())
  args <- list(quote(lm), as.formula(m$formula, env = globalenv()), data = quote(d))
  if (!is.null(m$weights)) args$weights <- as.name(m$weights)
  if (!is.null(m$contrasts)) args$contrasts <- lapply(m$contrasts, function(name) paste0("contr.", name))
  fit <- eval(as.call(args), globalenv())
  s <- summary(fit)
  orthogonal <- length(m$contrasts) && all(unlist(m$contrasts) %in% c("sum", "helmert"))
  limits <- confint(fit)[!is.na(coef(fit)), ]
  list(id = m$id, data = m$data, formula = m$formula, weights = m$weights, contrasts = m$contrasts,
       names = I(rownames(s$coefficients)), coefficients = table_of(as.data.frame(s$coefficients)),
       lower = I(unname(limits[, 1])), upper = I(unname(limits[, 2])), sigma = s$sigma, df = s$df[2],
       r_squared = s$r.squared, F = I(unname(s$fstatistic)), anova = with_terms(anova(fit)),
       car_2 = try_null(with_terms(Anova(fit, type = 2))),
       car_3 = if (orthogonal) with_terms(Anova(fit, type = 3)))
}

only <- commandArgs(TRUE)
chosen <- function(models) if (length(only)) Filter(function(m) m$id %in% only, models) else models
fits <- lapply(chosen(inference_models), function(m) {
  started <- Sys.time()
  fit <- describe(m)
  cat(sprintf("%-20s |g| %.0e  satterthwaite %.0e  profile %s  %2.0f s  df %s\n", m$id, fit$gradient,
              fit$digits$satterthwaite,
              if (m$profile) sprintf("%.0e moved %.0e", fit$profile$digits, fit$profile$moved) else "-",
              as.numeric(Sys.time() - started, units = "secs"),
              paste(round(fit$satterthwaite$separate$df, 3), collapse = " ")))
  fit
})
plain_fits <- lapply(chosen(plain_models), describe_plain)

if (!length(only)) {
  packages <- c("lme4", "lmerTest", "pbkrtest", "car", "numDeriv", "minqa", "nloptr")
  header <- list(made_by = "tests/reference/inference.R", R = R.version.string,
                 packages = as.list(sapply(packages, function(p) as.character(packageVersion(p)))))
  text <- function(x) toJSON(x, digits = I(17), auto_unbox = TRUE, null = "null", na = "null")
  lines <- function(models) {
    models <- vapply(models, text, "")                           # one model per line: readable differences
    paste0(models, c(rep(",", length(models) - 1), ""))
  }
  writeLines(c(sub("}$", ',"models":[', text(header)), lines(fits), '],"lm":[', lines(plain_fits), "]}"),
             "inference.json")
}
