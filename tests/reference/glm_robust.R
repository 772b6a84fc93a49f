# Make glm_robust.json: robust covariances of generalised models. Run inside tests/reference:
#
#     Rscript glm_robust.R                  # or: Rscript glm_robust.R poisson   (prints, writes nothing)
#
# Generalised linear models: clubSandwich (CR), sandwich (HC). Others and mixed models: the sandwich by definition, in all
# parameters, with scores and Hessian by glmmTMB's own objective. The log-likelihood of a cluster is that of the table in
# which the rows of all others have weight zero: their random effects integrate to one.

suppressMessages({library(glmmTMB); library(ordinal); library(clubSandwich); library(jsonlite)})
only <- commandArgs(trailingOnly = TRUE)
read <- function(file) read.csv(file.path("data", paste0(file, ".csv")), stringsAsFactors = TRUE)
data_sets <- list(glmm = transform(read("glmm"), id = factor(seq_len(240)), doubled = 2 * x), glmm_links = read("glmm_links"),
                  cbpp = transform(read("cbpp"), herd = factor(herd), period = factor(period)), wine = read("wine"))
wanted <- function(name) !length(only) || name %in% only

# --- generalised linear models --------------------------------------------------------------------------------------------

linear <- function(name, formula, family, ours, link = NULL, data = "glmm", cluster = "g", weights = NULL, ...) {
  if (!wanted(name)) return(NULL)
  d <- data_sets[[data]]
  call <- list(quote(glm), as.formula(formula, env = globalenv()), family = family, data = quote(d),
               control = list(epsilon = 1e-12, maxit = 200), ...)
  if (!is.null(weights)) call$weights <- as.name(weights)
  assign("d", d, globalenv())
  fit <- suppressWarnings(eval(as.call(call), globalenv()))
  # R keeps the weights of the last step but one, and scoring converges slowly: begin again where it ended.
  for (i in 1:12) {
    call$start <- unname(ifelse(is.na(coef(fit)), 0, coef(fit)))
    fit <- suppressWarnings(eval(as.call(call), globalenv()))
  }
  p <- sum(!is.na(coef(fit)))
  L <- list(diag(p)[-1, , drop = FALSE], rbind(seq_len(p) %% 3 - 1, c(rep(0, p - 2), 2, 1)))
  kinds <- lapply(setNames(nm = c("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")), function(kind) {
    V <- vcovCR(fit, d[[cluster]], kind)
    tests <- coef_test(fit, V, test = "Satterthwaite")
    joint <- if (anyNA(coef(fit))) list() else lapply(L, function(l) {  # Wald_test loses count of dropped columns
      w <- Wald_test(fit, l, V, test = "HTZ")
      list(statistic = w$Fstat, num_df = w$df_num, den_df = w$df_denom, p_value = w$p_val)
    })
    list(vcov = unname(as.matrix(V)), df = I(tests$df_Satt), p_value = I(tests$p_Satt), joint = joint)
  })
  hc <- lapply(setNames(nm = c("HC0", "HC1", "HC2", "HC3")), function(kind) unname(sandwich::vcovHC(fit, type = kind)))
  cat(sprintf("%-22s df %s\n", name, paste(round(kinds$CR2$df, 3), collapse = " ")))
  list(name = name, source = "clubSandwich", data = data, formula = formula, family = ours, link = link, weights = weights, cluster = cluster,
       beta = I(unname(coef(fit)[!is.na(coef(fit))])), hypotheses = L, kinds = kinds, rows = hc)
}

glms <- list(
  linear("logit", "binary ~ x + f", binomial, "binomial"),
  linear("probit", "binary ~ x", binomial("probit"), "binomial", "probit"),
  linear("cloglog", "cbind(hits, trials - hits) ~ x + f", binomial("cloglog"), "binomial", "cloglog"),
  linear("cauchit", "cbind(hits, trials - hits) ~ x", binomial("cauchit"), "binomial", "cauchit"),
  linear("poisson", "count ~ x + f", poisson, "poisson"),
  linear("poisson_offset", "count ~ x + offset(log(exposure))", poisson, "poisson"),
  linear("poisson_weighted", "count ~ x + f", poisson, "poisson", weights = "w"),
  linear("poisson_between", "count ~ x + z + f", poisson, "poisson", cluster = "h"),
  linear("poisson_dropped", "count ~ x + doubled + f", poisson, "poisson"),
  linear("poisson_sqrt", "count_sqrt ~ x", poisson("sqrt"), "poisson", "sqrt", data = "glmm_links"),
  linear("poisson_identity", "count_identity ~ x", poisson("identity"), "poisson", "identity", data = "glmm_links", start = quote(c(3, 0))),
  linear("quasipoisson", "over ~ x + f", quasipoisson, "quasipoisson"),
  linear("gamma_inverse", "amount ~ f + x", Gamma, "gamma"),
  linear("gamma_log", "amount ~ x + f", Gamma("log"), "gamma", "log"),
  linear("gamma_weighted", "amount ~ x + f", Gamma("log"), "gamma", "log", weights = "w"),
  linear("inverse_gaussian", "wald_log ~ x + z", inverse.gaussian("log"), "inverse_gaussian", "log", data = "glmm_links"),
  linear("gaussian", "real ~ x + f", gaussian, "gaussian"),
  linear("gaussian_log", "amount ~ x", gaussian("log"), "gaussian", "log", start = quote(c(0, 0))),
  linear("cbpp", "cbind(incidence, size - incidence) ~ period", binomial, "binomial", data = "cbpp", cluster = "herd")
)

# --- scores of all parameters ---------------------------------------------------------------------------------------------

central <- function(f, par, step) sapply(seq_along(par), function(i) {
  e <- replace(numeric(length(par)), i, step[i])
  (8 * (f(par + e) - f(par - e)) - (f(par + 2 * e) - f(par - 2 * e))) / (12 * step[i])
})

general <- function(name, formula, family, ours, link = NULL, data = "glmm", cluster = "g", weights = NULL, zi = NULL, disp = NULL) {
  if (!wanted(name)) return(NULL)
  d <- data_sets[[data]]
  d$.w <- if (is.null(weights)) rep(1, nrow(d)) else d[[weights]]
  fit <- suppressWarnings(glmmTMB(as.formula(formula), d, family = family, weights = .w,
    ziformula = as.formula(if (is.null(zi)) "~ 0" else zi), dispformula = as.formula(if (is.null(disp)) "~ 1" else disp)))
  make <- function(w) {
    env <- fit$obj$env
    given <- env$data
    given$weights <- w
    obj <- TMB::MakeADFun(given, env$parameters, map = env$map, random = if (length(env$random)) "b", DLL = "glmmTMB", silent = TRUE)
    obj$env$inner.control$tol <- 1e-13
    obj$env$inner.control$tol10 <- 0
    obj
  }
  full <- fit$obj$env$data$weights
  obj <- make(full)
  par <- fit$fit$par
  gr <- function(p) as.vector(obj$gr(p))
  for (i in 1:6) {
    H <- central(gr, par, pmax(abs(par), 0.1) * 1e-3)
    H <- (H + t(H)) / 2
    par <- par - solve(H, gr(par))
  }
  C <- solve(H)
  s <- sapply(levels(factor(d[[cluster]])), function(j) -as.vector(make(ifelse(d[[cluster]] == j, full, 0))$gr(par)))
  stopifnot(max(abs(rowSums(s)) * sqrt(diag(C))) < 1e-5)
  i <- names(par) == "beta"
  V <- (C %*% s %*% t(s) %*% C)[i, i, drop = FALSE]
  cat(sprintf("%-22s ratio of se %s\n", name, paste(round(sqrt(diag(V) / diag(C)[i]), 3), collapse = " ")))
  list(name = name, source = "glmmTMB", data = data, formula = formula, family = ours, link = link, weights = weights, cluster = cluster,
       zi_formula = zi, disp_formula = disp, beta = I(unname(par[i])), CR0 = unname(V), model = unname(C[i, i, drop = FALSE]))
}

others <- list(
  general("nbinom2_glm", "over ~ x + f", nbinom2, "nbinom2"),
  general("nbinom1_glm", "over ~ x", nbinom1, "nbinom1"),
  general("beta_glm", "rate ~ x", beta_family, "beta"),
  general("betabinomial_glm", "cbind(overhits, trials - overhits) ~ x", betabinomial, "betabinomial"),
  general("zip_glm", "excess ~ x", poisson, "poisson", zi = "~ z"),
  general("hurdle_glm", "excess ~ x", truncated_poisson, "truncated_poisson", zi = "~ 1"),
  general("gamma_dispersion_glm", "amount ~ x", Gamma("log"), "gamma", link = "log", disp = "~ z"),
  general("tweedie_glm", "rain ~ x", tweedie, "tweedie"),
  general("student_glm", "heavy ~ x", t_family, "t"),
  general("logit_mixed", "binary ~ x + f + (1 | g)", binomial, "binomial"),
  general("cbpp_mixed", "cbind(incidence, size - incidence) ~ period + (1 | herd)", binomial, "binomial", data = "cbpp", cluster = "herd"),
  general("cloglog_mixed", "binary ~ x + (1 | g)", binomial("cloglog"), "binomial", link = "cloglog"),
  general("slopes_mixed", "cbind(hits, trials - hits) ~ x + (x | g)", binomial, "binomial"),
  general("weighted_mixed", "count ~ x + (1 | g)", poisson, "poisson", weights = "w"),
  general("nested_mixed", "count ~ x + offset(log(exposure)) + (1 | g / h)", poisson, "poisson"),
  general("observation_level", "count ~ x + (1 | g) + (1 | id)", poisson, "poisson"),
  general("nbinom2_mixed", "over ~ x + (1 | g)", nbinom2, "nbinom2"),
  general("zinb_mixed", "excess ~ x + (1 | g)", nbinom2, "nbinom2", zi = "~ z"),
  general("hurdle_mixed", "excess ~ x + (1 | g)", truncated_poisson, "truncated_poisson", zi = "~ z"),
  general("gamma_mixed", "amount ~ x + f + (1 | g)", Gamma("log"), "gamma", link = "log"),
  general("beta_mixed", "rate ~ x + (1 | g)", beta_family, "beta"),
  general("gaussian_log_mixed", "amount ~ x + (1 | g)", gaussian("log"), "gaussian", link = "log")
)

# --- ordinal models -------------------------------------------------------------------------------------------------------

ordinal_model <- function(name, formula, link, data, cluster) {
  if (!wanted(name)) return(NULL)
  d <- data_sets[[data]]
  d$rating <- factor(d$rating)
  fit <- clm(as.formula(formula), data = d, link = link, control = clm.control(gradTol = 1e-10, maxIter = 500))
  V <- sandwich::vcovCL(fit, d[[cluster]], type = "HC0", cadjust = FALSE)
  i <- names(fit$beta)
  list(name = name, source = "ordinal", data = data, formula = formula, family = "cumulative", link = link, cluster = cluster,
       beta = I(unname(fit$beta)), CR0 = unname(V[i, i, drop = FALSE]), model = unname(vcov(fit)[i, i, drop = FALSE]))
}
others <- c(others, list(ordinal_model("clm", "rating ~ temp + contact", "logit", "wine", "judge"),
                         ordinal_model("clm_probit", "rating ~ temp * contact", "probit", "wine", "judge")))

models <- Filter(Negate(is.null), c(glms, others))
if (!length(only)) {
  text <- function(x) toJSON(x, digits = I(17), auto_unbox = TRUE, null = "null", na = "null")
  lines <- vapply(models, text, "")  # one model per line: readable differences
  writeLines(c("[", paste0(lines, c(rep(",", length(lines) - 1), "")), "]"), "glm_robust.json")
}
