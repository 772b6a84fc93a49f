# Make glm_residuals.json: residuals, deviances, dispersions and hat values by stats, MASS, lme4 and glmmTMB.
# Run inside tests/reference, after glmm.R:  Rscript glm_residuals.R
#
# Of residuals and hat values the first 60 rows. Without a start glm() diverges for log(mu) and variance mu^3.
# Where a definition differs from ours it is not stored: Pearson residuals of beta and beta-binomial models of glmmTMB
# leave the precision out; glmer's gamma models have a dispersion of their own.

suppressMessages({library(MASS); library(lme4); library(glmmTMB); library(jsonlite)})
d <- read.csv("data/glmm.csv", stringsAsFactors = TRUE)
d$share <- d$hits / d$trials
tight <- glm.control(epsilon = 1e-14, maxit = 200)

first <- function(values) head(unname(values), 60)  # rows enough
kinds <- function(fit, which = c("response", "pearson", "deviance", "working"))
  setNames(lapply(which, function(k) first(residuals(fit, type = k))), which)

plain <- function(name, formula, distribution, ours, weights = NULL, start = NULL, ...) {
  d$.w <- if (is.null(weights)) 1 else d[[weights]]
  environment(formula) <- environment()
  fit <- suppressWarnings(glm(formula, distribution, d, weights = .w, control = tight, start = start))
  s <- summary(fit)
  list(name = name, formula = ours, weights_column = weights, ...,
       fixef = unname(coef(fit)), se = unname(s$coefficients[, 2]), statistic = unname(s$coefficients[, 3]),
       p_value = unname(s$coefficients[, 4]), dispersion = s$dispersion, deviance = deviance(fit),
       null_deviance = fit$null.deviance, df_residual = df.residual(fit), hat = first(hatvalues(fit)),
       pearson_chi2 = sum(residuals(fit, "pearson")^2), resid = kinds(fit))
}

B <- "cbind(hits, trials - hits) ~ x + f"
glms <- list(
  plain("binomial", cbind(hits, trials - hits) ~ x + f, binomial, B, family = "binomial"),
  plain("shares", share ~ x, binomial("cloglog"), "share ~ x", "trials", family = "binomial", link = "cloglog"),
  plain("probit", binary ~ x + f, binomial("probit"), "binary ~ x + f", family = "binomial", link = "probit"),
  plain("cauchit", binary ~ x, binomial("cauchit"), "binary ~ x", family = "binomial", link = "cauchit"),
  plain("poisson_offset", count ~ x + offset(log(exposure)), poisson, "count ~ x + offset(log(exposure))", family = "poisson"),
  plain("poisson_weights", count ~ x + f, poisson, "count ~ x + f", "w", family = "poisson"),
  plain("poisson_origin", count ~ 0 + x, poisson, "count ~ 0 + x", family = "poisson"),
  plain("poisson_sqrt", count ~ x, poisson("sqrt"), "count ~ x", family = "poisson", link = "sqrt"),
  plain("gamma", amount ~ z, Gamma, "amount ~ z", family = "gamma"),
  plain("gamma_log", amount ~ x + f, Gamma("log"), "amount ~ x + f", "w", family = "gamma", link = "log"),
  plain("inverse_gaussian", amount ~ x, inverse.gaussian("log"), "amount ~ x", start = c(0.7, 0.2), family = "inverse_gaussian", link = "log"),
  plain("gaussian", real ~ x + f, gaussian, "real ~ x + f", "w", family = "gaussian"),
  plain("gaussian_log", amount ~ x + offset(z), gaussian("log"), "amount ~ x + offset(z)", family = "gaussian", link = "log"),
  plain("quasibinomial", cbind(overhits, trials - overhits) ~ x + f, quasibinomial, "cbind(overhits, trials - overhits) ~ x + f", family = "quasibinomial"),
  plain("quasibinomial_rate", rate ~ x, quasibinomial("probit"), "rate ~ x", family = "quasibinomial", link = "probit"),
  plain("quasipoisson", over ~ x + f + offset(log(exposure)), quasipoisson, "over ~ x + f + offset(log(exposure))", family = "quasipoisson"),
  plain("quasipoisson_amounts", rain ~ x, quasipoisson, "rain ~ x", "w", family = "quasipoisson"),
  plain("quasi", real ~ x, quasi, "real ~ x", family = "quasi"),
  plain("quasi_mu", over ~ x, quasi("log", "mu"), "over ~ x", family = "quasi", link = "log", variance = "mu"),
  plain("quasi_share", rate ~ x + f, quasi("logit", "mu(1-mu)"), "rate ~ x + f", family = "quasi", link = "logit", variance = "mu(1-mu)"),
  plain("quasi_square", amount ~ x, quasi("log", "mu^2"), "amount ~ x", family = "quasi", link = "log", variance = "mu^2"),
  plain("quasi_cube", amount ~ x, quasi("log", "mu^3"), "amount ~ x", start = c(0.7, 0.2), family = "quasi", link = "log", variance = "mu^3")
)

# theta is estimated by maximum likelihood: residuals, leverages and deviances are given theta
nb <- glm.nb(over ~ x + f, d, control = tight)
glms <- c(glms, list(list(name = "nbinom2", formula = "over ~ x + f", family = "nbinom2", theta = nb$theta, fixef = unname(coef(nb)),
  deviance = deviance(nb), null_deviance = nb$null.deviance, df_residual = df.residual(nb), hat = first(hatvalues(nb)),
  pearson_chi2 = sum(residuals(nb, "pearson")^2), resid = kinds(nb))))

mixed_by_lme4 <- function(name, formula, distribution, ours, ...) {
  fit <- glmer(formula, d, distribution, control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13,
    optCtrl = list(rhoend = 1e-10, maxfun = 1e5), check.conv.grad = "ignore"))
  list(name = name, formula = ours, ..., deviance = deviance(fit), resid = kinds(fit))
}
mixed <- list(
  mixed_by_lme4("glmer_binomial", cbind(hits, trials - hits) ~ x + (1 | g), binomial, "cbind(hits, trials - hits) ~ x + (1 | g)", family = "binomial"),
  mixed_by_lme4("glmer_poisson", count ~ x + offset(log(exposure)) + (1 | g), poisson, "count ~ x + offset(log(exposure)) + (1 | g)", family = "poisson")
)
mixed_by_tmb <- function(name, formula, distribution, ours, ziformula = ~0, ...) {
  fit <- glmmTMB(formula, d, distribution, ziformula = ziformula, control = glmmTMBControl(optCtrl = list(rel.tol = 1e-15, x.tol = 1e-12, iter.max = 1e4, eval.max = 1e4)))
  list(name = name, formula = ours, ..., resid = kinds(fit, c("response", "pearson")))
}
mixed <- c(mixed, list(
  mixed_by_tmb("tmb_nbinom2", over ~ x + (1 | g), nbinom2, "over ~ x + (1 | g)", family = "nbinom2"),
  mixed_by_tmb("tmb_nbinom1", over ~ x + (1 | g), nbinom1, "over ~ x + (1 | g)", family = "nbinom1"),
  mixed_by_tmb("tmb_zip", excess ~ x + (1 | g), poisson, "excess ~ x + (1 | g)", ~ z, family = "poisson", zi_formula = "~ z")
))

write_json(list(R = R.version.string, versions = sapply(c("MASS", "lme4", "glmmTMB"), function(p) as.character(packageVersion(p))),
                glm = glms, mixed = mixed), "glm_residuals.json", digits = NA, auto_unbox = TRUE, null = "null")
