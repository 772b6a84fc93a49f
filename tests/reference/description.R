# Make description.json: R2, intraclass correlations, principal components and influence by R. Run inside
# tests/reference:
#
#     Rscript description.R
#
# Every model is first taken to an optimum with more digits than its optimiser leaves (optimum.R). Clusters are left
# out by refitting from scratch to such an optimum, because lme4's influence() stops where its optimiser stops; that
# lme4's own cooks.distance() and dfbetas() follow from these refits is checked here.

source("models.R")
source("optimum.R")
suppressMessages({library(performance)})
data_sets <- c(shipped, read_extra())

described <- function(id, data, formula, groups = NULL, reml = TRUE, performance = TRUE, r = formula, ...)
  list(id = id, data = data, formula = formula, groups = groups, reml = reml, performance = performance, r = r, ...)

models <- list(
  described("sleep_slope", "sleepstudy", "Reaction ~ Days + (Days | Subject)", "Subject"),
  described("sleep_slope_ml", "sleepstudy", "Reaction ~ Days + (Days | Subject)", "Subject", FALSE),
  described("sleep_intercept", "sleepstudy", "Reaction ~ Days + (1 | Subject)", "Subject"),
  described("sleep_weights", "sleep_extra", "Reaction ~ Days + (Days | Subject)", "Subject", weights = "w"),
  described("sleep_offset", "sleep_extra", "Reaction ~ Days + half + (1 | Subject)", offset = "known",
            performance = FALSE),
  # Uncorrelated slopes, slopes without a fixed one, slopes of a factor: performance counts some of these wrongly.
  described("sleep_uncorrelated", "sleepstudy", "Reaction ~ Days + (Days || Subject)", performance = FALSE),
  described("sleep_no_fixed_slope", "sleepstudy", "Reaction ~ 1 + (Days | Subject)", performance = FALSE),
  described("machines_slopes", "machines", "score ~ Machine + (0 + Machine | Worker)", "Worker", performance = FALSE),
  described("machines", "machines", "score ~ Machine + (1 | Worker / Machine)"),
  described("dyestuff", "dyestuff", "Yield ~ 1 + (1 | Batch)", c("Batch", ".row")),
  described("penicillin", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", c("plate", "sample")),
  described("pastes", "pastes", "strength ~ 1 + (1 | batch / cask)", "batch"),
  described("orthodont", "orthodont", "distance ~ age * Sex + (age | Subject)", "Subject"),
  described("cake", "cake", "angle ~ recipe * temperature + (1 | recipe:replicate)", "replicate"),
  described("unbalanced", "unbalanced", "y ~ f * g + x + (x | subject) + (1 | item)", c("subject", "item")),
  described("unbalanced_weights", "unbalanced", "y ~ f + g + x + (1 | subject) + (1 | item)", weights = "w")
)

plain_models <- list(
  list(id = "lm_cake", data = "cake", formula = "angle ~ recipe + temp"),
  list(id = "lm_weights", data = "unbalanced", formula = "y ~ x + f * g", weights = "w"),
  list(id = "lm_no_intercept", data = "sleepstudy", formula = "Reaction ~ 0 + Days"),
  # R's R2 counts the offset as explained, but not in the total: here the offset is subtracted from the response.
  list(id = "lm_offset", data = "sleep_extra", formula = "Reaction ~ Days + offset(known)",
       r = "I(Reaction - known) ~ Days"),
  list(id = "lm_offset_weights", data = "sleep_extra", formula = "Reaction ~ Days + half", weights = "w",
       offset = "known", r = "I(Reaction - known) ~ Days + half")
)

still <- c(optimizer = list(NULL), silent[setdiff(names(silent), "optimizer")])
class(still) <- class(silent)
still$calc.derivs <- FALSE

fitted_at_optimum <- function(m, data, formula = m$r) {
  problem <- lme4_problem(replace(m, "r", formula), data)
  found <- best_of(problem$devfun, problem$start, problem$lower)
  args <- list(quote(lme4::lmer), as.formula(formula, env = globalenv()), data = quote(d), REML = m$reml,
               start = found$par, control = still)
  for (name in c("weights", "offset")) if (!is.null(m[[name]])) args[[name]] <- as.name(m[[name]])
  assign("d", data, envir = globalenv())
  eval(as.call(args), globalenv())
}

# Mean over the rows of diag(Z Sigma Z'), by grouping factor.
mean_variances <- function(fit) {
  LZ <- getME(fit, "Lambdat") %*% getME(fit, "Zt")
  per_effect <- Matrix::rowSums(LZ^2) / nobs(fit) * sigma(fit)^2
  term <- rep(seq_along(getME(fit, "cnms")), diff(getME(fit, "Gp")))
  group <- names(getME(fit, "cnms"))[term]
  tapply(per_effect, factor(group, unique(group)), sum)
}

describe <- function(m, data) {
  fit <- fitted_at_optimum(m, data)
  random <- mean_variances(fit)
  fixed <- var(drop(getME(fit, "X") %*% fixef(fit)))
  out <- list(groups = I(names(random)), random = I(as.vector(random)), fixed = fixed, residual = sigma(fit)^2)
  if (m$performance) {
    quiet <- function(e) suppressWarnings(suppressMessages(e))
    r2 <- quiet(performance::r2_nakagawa(fit))
    icc <- quiet(performance::icc(fit))
    out$r2 <- c(r2$R2_marginal, r2$R2_conditional)
    out$icc <- c(icc$ICC_adjusted, icc$ICC_unadjusted)
    if (all(unlist(getME(fit, "cnms")) == "(Intercept)")) {
      by <- quiet(performance::icc(fit, by_group = TRUE))
      out$icc_by_group <- list(group = I(by$Group), value = I(by$ICC))
      # performance's null model stops where lmer stops: the same definition at the optimum.
      null <- fitted_at_optimum(m, data, paste(deparse(formula(fit)[[2]]), "~ 1 +",
        paste(sprintf("(%s)", sapply(lme4::findbars(formula(fit)), deparse)), collapse = " + ")))
      reduction <- 1 - c(sigma(fit)^2, mean_variances(fit)) / c(sigma(null)^2, mean_variances(null)[names(random)])
      search_again <- update(fit, start = NULL, control = lmerControl())
      theirs <- tryCatch(quiet(performance::r2_nakagawa(search_again, by_group = TRUE)),
                         error = function(e) NULL)
      expected <- theirs$R2[match(c("Level 1", names(random)), theirs$Level)]
      stopifnot(length(expected) == 0 || anyNA(expected) ||  # it cannot name nested factors
                  max(abs(expected - reduction)) < 1e-3)
      out$r2_by_group <- I(as.vector(reduction))
    }
  }
  pca <- rePCA(fit)
  out$pca <- lapply(names(pca), function(g) list(group = g, sd = I(pca[[g]]$sdev),
                                                 loadings = unname(as.matrix(pca[[g]]$rotation))))
  out$hat <- unname(hatvalues(fit))
  out$cooks <- unname(cooks.distance(fit))
  list(fit = fit, out = out)
}

standard_deviations <- function(fit) {
  v <- as.data.frame(VarCorr(fit))
  v$sdcor[is.na(v$var2)]
}

delete <- function(m, data, fit, group) {
  data$.row <- as.character(seq_len(nrow(data)))
  labels <- unique(as.character(data[[group]]))
  fits <- lapply(labels, function(label) fitted_at_optimum(m, droplevels(data[as.character(data[[group]]) != label, ])))
  b <- t(sapply(fits, fixef))
  if (length(fixef(fit)) == 1) b <- t(b)
  V <- as.matrix(vcov(fit))
  Vs <- lapply(fits, function(f) as.matrix(vcov(f)))
  d <- sweep(-b, 2, fixef(fit), "+")
  p <- ncol(d)
  se <- t(sapply(Vs, function(v) sqrt(diag(v))))
  if (p == 1) se <- t(se)
  # The same by lme4's methods, from an object as its influence() makes it.
  if (group != ".row") {
    as_lme4 <- structure(list(fixef(fit), b, V, Vs, length(labels)), names = c("fixed.effects",
      paste0("fixed.effects[-", group, "]"), "vcov", paste0("vcov[-", group, "]"), "groups"))
    J <- length(labels)
    factor <- if (J > p) (J - p) / J else NA
    theirs <- suppressWarnings(stats::influence(fit, groups = group, data = data))
    close <- function(a, b) max(abs(a - b)) < 0.02 * (1 + max(abs(b)))
    ours <- diag(d %*% solve(V, t(d))) / p
    if (!is.na(factor)) stopifnot(close(unname(cooks.distance(theirs)), ours * factor))
    if (p > 1) stopifnot(close(unname(dfbetas(theirs)), -unname(d / se)))  # lme4 fails for one coefficient
  }
  list(group = group, labels = I(labels), beta = I(unname(b)), dfbetas = I(unname(d / se)),
       cooks = I(diag(d %*% solve(V, t(d))) / p),
       mdffits = I(sapply(seq_along(Vs), function(i) drop(d[i, ] %*% solve(Vs[[i]], d[i, ])) / p)),
       covratio = I(sapply(Vs, function(v) det(v) / det(V))),
       covtrace = I(sapply(Vs, function(v) abs(sum(diag(solve(V) %*% v)) - p))),
       sds = I(unname(t(sapply(fits, standard_deviations)))), criterion = I(sapply(fits, function(f)
         if (m$reml) REMLcrit(f) else deviance(f))))
}

plain <- function(m, data) {
  assign("d", data, envir = globalenv())
  args <- list(quote(lm), as.formula(if (is.null(m$r)) m$formula else m$r, env = globalenv()), data = quote(d))
  if (!is.null(m$weights)) args$weights <- as.name(m$weights)
  fit <- eval(as.call(args), globalenv())
  s <- summary(fit)
  i <- suppressWarnings(influence.measures(fit))$infmat
  p <- length(coef(fit))
  c(m, list(method = "REML", r2 = c(s$r.squared, s$adj.r.squared), hat = unname(i[, "hat"]),
            cooks = unname(i[, "cook.d"]), covratio = unname(i[, "cov.r"]), dffits = unname(i[, "dffit"]),
            rstudent = unname(rstudent(fit)), dfbetas = unname(dfbetas(fit)), sigma = unname(lm.influence(fit)$sigma)))
}

done <- lapply(models, function(m) {
  data <- data_sets[[m$data]]
  made <- describe(m, data)
  cat(m$id, "\n")
  deletions <- lapply(m$groups, function(g) delete(m, data, made$fit, g))
  c(list(id = m$id, data = m$data, formula = m$formula, method = if (m$reml) "REML" else "ML", weights = m$weights,
         offset = m$offset), made$out, list(deletions = deletions))
})
stored <- list(
  versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
                  performance = as.character(packageVersion("performance"))),
  models = done, lm = lapply(plain_models, function(m) plain(m, data_sets[[m$data]])))
write(toJSON(stored, auto_unbox = TRUE, digits = I(15), null = "null", na = "null"), "description.json")
