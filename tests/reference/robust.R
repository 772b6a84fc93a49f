# Make robust.json: cluster-robust covariances and their tests by clubSandwich. Run inside tests/reference:
#
#     Rscript robust.R                      # or: Rscript robust.R sleep_slope   (prints, writes nothing)
#
# Mixed models are taken to an optimum with more digits than lme4's optimiser leaves (optimum.R).
#
# clubSandwich takes no lmer fit with prior weights, and forgets the offset of one. Such a model is given to its
# functions as an object of class "working", which holds V of each cluster, X and the residuals. For a weighted lm its
# default is that variances are equal and weights arbitrary; `target` says that variances are inverse to the weights.

source("models.R")
source("optimum.R")
suppressMessages(library(clubSandwich))
data_sets <- c(shipped, read_extra())
kinds <- c("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")

robust_model <- function(id, data, formula, cluster = NULL, reml = TRUE, r = formula, ...)
  list(id = id, data = data, formula = formula, cluster = cluster, reml = reml, r = r, ...)

thirds <- function(d) as.integer(d$Subject) %/% 3
robust_models <- list(
  robust_model("lm_sleep", "sleepstudy", "Reaction ~ Days", "Subject"),
  robust_model("lm_unbalanced", "unbalanced", "y ~ f * g + x", "subject"),
  robust_model("lm_items", "unbalanced", "y ~ f + x", "item"),
  robust_model("lm_weights", "unbalanced", "y ~ x + f + g + f:x", "subject", weights = "w"),
  robust_model("lm_fixed_effects", "unbalanced", "y ~ x + f + subject", "subject"),
  robust_model("lm_missing_cell", "cake_holes", "angle ~ recipe * temperature", "replicate"),
  robust_model("sleep_intercept", "sleepstudy", "Reaction ~ Days + (1 | Subject)"),
  robust_model("sleep_slope", "sleepstudy", "Reaction ~ Days + (Days | Subject)"),
  robust_model("sleep_slope_ml", "sleepstudy", "Reaction ~ Days + (Days | Subject)", reml = FALSE),
  robust_model("sleep_uncorrelated", "sleep_extra", "Reaction ~ Days + third + (Days || Subject)"),
  robust_model("sleep_coarse", "sleepstudy", "Reaction ~ Days + (Days | Subject)", thirds),
  robust_model("sleep_weights", "sleep_extra", "Reaction ~ Days + (Days | Subject)", weights = "w"),
  robust_model("sleep_offset", "sleep_extra", "Reaction ~ Days + half + (1 | Subject)", offset = "known"),
  robust_model("dyestuff2", "dyestuff2", "Yield ~ 1 + (1 | Batch)"),
  robust_model("pastes", "pastes", "strength ~ 1 + (1 | batch / cask)"),
  robust_model("oats", "oats", "yield ~ nitro * Variety + (1 | Block / Variety)"),
  robust_model("machines_slopes", "machines", "score ~ Machine + (0 + Machine | Worker)"),
  robust_model("orthodont", "orthodont", "distance ~ age * Sex + (age | Subject)"),
  robust_model("cake_missing_cell", "cake_holes", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
  robust_model("unbalanced_slope", "unbalanced", "y ~ f * g + x + (x | subject)"),
  robust_model("unbalanced_weights", "unbalanced", "y ~ f + g + x + (1 | subject)", weights = "w"),
  robust_model("unbalanced_nested", "unbalanced", "y ~ f + x + g + (1 | subject / g)")
)

# ---- clubSandwich on a working model -------------------------------------------------------------------------

working <- function(fit, data, m) {
  stopifnot(is(fit, "merMod"))
  weights <- if (is.null(m$weights)) rep(1, nrow(data)) else data[[m$weights]]
  offset <- if (is.null(m$offset)) rep(0, nrow(data)) else data[[m$offset]]
  Zl <- as.matrix(getME(fit, "Z") %*% getME(fit, "Lambda"))
  X <- getME(fit, "X")
  structure(list(V = tcrossprod(Zl) + diag(1 / weights), X = X, beta = fixef(fit),
                 residuals = as.numeric(getME(fit, "y") - offset - X %*% fixef(fit)),
                 M = as.matrix(vcov(fit)) / sigma(fit)^2), class = "working")
}
register <- function(generic, f, package = "clubSandwich")
  registerS3method(generic, "working", f, envir = asNamespace(package))
register("targetVariance", function(obj, cluster) lapply(split(seq_along(cluster), cluster),
                                                         function(i) obj$V[i, i, drop = FALSE]))
register("weightMatrix", function(obj, cluster) lapply(targetVariance(obj, cluster), function(v) chol2inv(chol(v))))
register("v_scale", function(obj) 1)
register("coef_CS", function(obj) obj$beta)
register("residuals_CS", function(obj) obj$residuals)
register("model_matrix", function(obj) obj$X)
register("bread", function(x, ...) x$M, "sandwich")
targetVariance <- clubSandwich:::targetVariance
vcovCR.working <- function(obj, cluster, type) clubSandwich:::vcov_CR(obj, cluster, type, inverse_var = TRUE)

# ---- fits ----------------------------------------------------------------------------------------------------

hypotheses <- function(p) {
  all <- diag(p)
  if (p > 2) all <- all[-1, , drop = FALSE]
  if (p < 3) return(list(all))
  list(all, rbind(seq_len(p) %% 3 - 1, c(rep(0, p - 2), 2, 1)))
}

fitted_model <- function(m, data) {
  assign("d", data, envir = globalenv())
  if (!grepl("|", m$r, fixed = TRUE)) {
    call <- list(quote(lm), as.formula(m$r, env = globalenv()), data = quote(d))
    if (!is.null(m$weights)) call$weights <- as.name(m$weights)
    return(list(fit = eval(as.call(call), globalenv()), theta = NULL))
  }
  problem <- lme4_problem(m, data)
  found <- best_of(problem$devfun, problem$start, problem$lower)
  still <- c(optimizer = list(NULL), silent[setdiff(names(silent), "optimizer")])
  class(still) <- class(silent)
  still$calc.derivs <- FALSE
  call <- list(quote(lme4::lmer), as.formula(m$r, env = globalenv()), data = quote(d), REML = m$reml,
               start = found$par, control = still)
  if (!is.null(m$weights)) call$weights <- as.name(m$weights)
  if (!is.null(m$offset)) call$offset <- as.name(m$offset)
  fit <- eval(as.call(call), globalenv())
  stopifnot(identical(unname(getME(fit, "theta")), unname(found$par)))
  list(fit = fit, theta = found$par)
}

describe <- function(m) {
  data <- data_sets[[m$data]]
  made <- fitted_model(m, data)
  fit <- made$fit
  mixed <- !is.null(made$theta)
  cluster <- if (is.function(m$cluster)) m$cluster(data) else if (!is.null(m$cluster)) data[[m$cluster]] else
    clubSandwich:::get_outer_group(fit)
  robust <- function(kind) {
    if (!mixed && is.null(m$weights)) return(vcovCR(fit, cluster, kind))
    if (!mixed) return(vcovCR(fit, cluster, kind, target = mean(data[[m$weights]]) / data[[m$weights]],
                              inverse_var = TRUE))
    hand <- vcovCR.working(working(fit, data, m), cluster, kind)
    if (is.null(m$weights) && is.null(m$offset))            # the two ways to call clubSandwich agree
      stopifnot(all.equal(as.matrix(vcovCR(fit, cluster, kind)), as.matrix(hand), tolerance = 1e-10))
    hand
  }
  object <- if (mixed) working(fit, data, m) else fit
  beta <- if (mixed) fixef(fit) else coef(fit)[!is.na(coef(fit))]
  L <- hypotheses(length(beta))
  results <- lapply(setNames(kinds, kinds), function(kind) {
    V <- tryCatch(suppressWarnings(robust(kind)), error = function(e) NULL)
    if (is.null(V) || !all(is.finite(V))) return(NULL)
    tests <- coef_test(object, V, test = "Satterthwaite")
    joint <- lapply(L, function(l) tryCatch({
      w <- Wald_test(object, l, V, test = "HTZ")
      list(statistic = w$Fstat, num_df = w$df_num, den_df = w$df_denom, p_value = w$p_val)
    }, error = function(e) NULL))
    list(vcov = unname(as.matrix(V)), df = I(tests$df_Satt), p_value = I(tests$p_Satt), joint = joint)
  })
  list(id = m$id, data = m$data, formula = m$formula, method = if (m$reml) "REML" else "ML",
       weights = m$weights, offset = m$offset,
       cluster = if (is.function(m$cluster)) I(cluster) else m$cluster, names = I(names(beta)),
       beta = I(unname(beta)), sigma = sigma(fit), theta = if (mixed) I(unname(made$theta)),
       hypotheses = L, kinds = results)
}

only <- commandArgs(TRUE)
chosen <- if (length(only)) Filter(function(m) m$id %in% only, robust_models) else robust_models
fits <- lapply(chosen, function(m) {
  fit <- describe(m)
  cat(sprintf("%-20s df %s%s\n", m$id, paste(round(fit$kinds$CR2$df, 3), collapse = " "),
              paste(c("", names(Filter(is.null, fit$kinds[kinds]))), collapse = " no ")))
  fit
})

if (!length(only)) {
  packages <- c("lme4", "clubSandwich", "minqa", "nloptr")
  header <- list(made_by = "tests/reference/robust.R", R = R.version.string,
                 packages = as.list(sapply(packages, function(p) as.character(packageVersion(p)))))
  text <- function(x) toJSON(x, digits = I(17), auto_unbox = TRUE, null = "null", na = "null")
  lines <- vapply(fits, text, "")                                # one model per line: readable differences
  writeLines(c(sub("}$", ',"models":[', text(header)), paste0(lines, c(rep(",", length(lines) - 1), "")), "]}"),
             "robust.json")
}
