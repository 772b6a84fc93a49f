# Make glmm.json: generalised models by glmmTMB, ordinal and stats. Run inside tests/reference:  Rscript glmm.R
#
# glmmTMB stops at its optimiser's tolerance, so Newton steps on its own objective and gradient follow, until the gradient
# is below 1e-8. `gradient` is what is left of it.

suppressMessages({library(glmmTMB); library(lme4); library(ordinal); library(jsonlite)})
d <- read.csv("data/glmm.csv", stringsAsFactors = TRUE)
d$id <- factor(seq_len(nrow(d)))
cbpp <- transform(lme4::cbpp, proportion = incidence / size)
data_sets <- list(glmm = d, cbpp = cbpp, grouseticks = lme4::grouseticks)

write.csv(cbpp, "data/cbpp.csv", row.names = FALSE, quote = FALSE)
write.csv(lme4::grouseticks[, c("INDEX", "TICKS", "BROOD", "HEIGHT", "YEAR", "LOCATION")], "data/grouseticks.csv",
          row.names = FALSE, quote = FALSE)

polish <- function(fit) {
  obj <- fit$obj
  par <- fit$fit$par
  value <- obj$fn(par)
  for (i in 1:20) {
    g <- as.vector(obj$gr(par))
    if (max(abs(g)) < 1e-8) break
    H <- optimHess(par, obj$fn, obj$gr)
    e <- eigen(H, symmetric = TRUE)
    step <- -e$vectors %*% (crossprod(e$vectors, g) / pmax(abs(e$values), 1e-6 * max(abs(e$values))))
    new <- par + as.vector(step)
    reached <- obj$fn(new)
    if (!is.finite(reached) || reached > value + 1e-9) { obj$fn(par); break }
    par <- new; value <- reached
  }
  list(par = par, value = value, gradient = max(abs(obj$gr(par))), report = TMB::sdreport(obj, par.fixed = par, hessian.fixed = numDeriv::jacobian(obj$gr, par)))
}

tmb <- function(formula, data, distribution, ours, name, ziformula = ~0, dispformula = ~1, weights = NULL, ...) {
  d <- data_sets[[data]]
  if (!is.null(weights)) d$.w <- d[[weights]] else d$.w <- rep(1, nrow(d))
  fit <- suppressWarnings(glmmTMB(formula, d, family = distribution, ziformula = ziformula, dispformula = dispformula, weights = .w,
    control = glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4))))
  p <- polish(fit)
  s <- summary(p$report, "fixed")
  pick <- function(what) { i <- rownames(s) == what; list(estimate = unname(s[i, 1]), se = unname(s[i, 2])) }
  vc <- VarCorr(fit)$cond
  # thetaf are log standard deviations, then the scaled Cholesky factor of the correlations
  list(name = name, data = data, formula = ours, loglik = -p$value, gradient = p$gradient,
       fixef = c(list(names = names(fixef(fit)$cond)), pick("beta")), zi = pick("betazi"), disp = pick("betad"),
       theta = pick("theta")$estimate, blocks = unname(sapply(vc, nrow)), groups = names(vc), ...)
}

B <- "binomial"
models <- list(
  tmb(cbind(incidence, size - incidence) ~ period + (1 | herd), "cbpp", binomial, "cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", family = B),
  tmb(proportion ~ period + (1 | herd), "cbpp", binomial, "proportion ~ period + (1 | herd)", "cbpp_shares", weights = "size", family = B, weights_column = "size"),
  tmb(TICKS ~ YEAR + HEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION), "grouseticks", poisson, "TICKS ~ YEAR + HEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", "grouseticks", family = "poisson"),
  tmb(binary ~ x + f + (1 | g), "glmm", binomial, "binary ~ x + f + (1 | g)", "logit", family = B),
  tmb(binary ~ x + (1 | g) + (1 | h), "glmm", binomial("probit"), "binary ~ x + (1 | g) + (1 | h)", "probit_crossed", family = B, link = "probit"),
  tmb(binary ~ x + (1 | g), "glmm", binomial("cloglog"), "binary ~ x + (1 | g)", "cloglog", family = B, link = "cloglog"),
  tmb(cbind(hits, trials - hits) ~ x + (x | g), "glmm", binomial, "cbind(hits, trials - hits) ~ x + (x | g)", "slopes", family = B),
  tmb(cbind(hits, trials - hits) ~ x + (1 | g) + (0 + x | g), "glmm", binomial, "cbind(hits, trials - hits) ~ x + (x || g)", "diagonal", family = B),
  tmb(binary ~ x + (1 | g), "glmm", binomial, "binary ~ x + (1 | g)", "weighted", weights = "w", family = B, weights_column = "w"),
  tmb(count ~ x + f + (x | g) + (1 | h), "glmm", poisson, "count ~ x + f + (x | g) + (1 | h)", "poisson_slopes", family = "poisson"),
  tmb(count ~ x + offset(log(exposure)) + (1 | g/h), "glmm", poisson, "count ~ x + offset(log(exposure)) + (1 | g/h)", "offset_nested", family = "poisson"),
  tmb(count ~ x + (1 | g) + (1 | id), "glmm", poisson, "count ~ x + (1 | g) + (1 | id)", "observation_level", family = "poisson"),
  tmb(over ~ x + (1 | g), "glmm", nbinom2, "over ~ x + (1 | g)", "nbinom2", family = "nbinom2"),
  tmb(over ~ x + (1 | g), "glmm", nbinom1, "over ~ x + (1 | g)", "nbinom1", family = "nbinom1"),
  tmb(over ~ x + (1 | g), "glmm", nbinom2, "over ~ x + (1 | g)", "nbinom2_dispersion", dispformula = ~ z, family = "nbinom2", disp_formula = "~ z"),
  tmb(excess ~ x + (1 | g), "glmm", poisson, "excess ~ x + (1 | g)", "zip", ziformula = ~ 1, family = "poisson", zi_formula = "~ 1"),
  tmb(excess ~ x + (1 | g), "glmm", nbinom2, "excess ~ x + (1 | g)", "zinb_x", ziformula = ~ z, family = "nbinom2", zi_formula = "~ z"),
  tmb(excess ~ x + (1 | g), "glmm", truncated_poisson, "excess ~ x + (1 | g)", "hurdle", ziformula = ~ z, family = "truncated_poisson", zi_formula = "~ z"),
  tmb(over ~ x + (1 | g), "glmm", truncated_nbinom2, "over ~ x + (1 | g)", "hurdle_nb", ziformula = ~ 1, family = "truncated_nbinom2", zi_formula = "~ 1"),
  tmb(amount ~ x + f + (1 | g), "glmm", Gamma("log"), "amount ~ x + f + (1 | g)", "gamma_log", family = "gamma", link = "log"),
  tmb(rate ~ x + (1 | g), "glmm", beta_family, "rate ~ x + (1 | g)", "beta", family = "beta"),
  tmb(cbind(overhits, trials - overhits) ~ x + (1 | g), "glmm", betabinomial, "cbind(overhits, trials - overhits) ~ x + (1 | g)", "betabinomial", family = "betabinomial"),
  tmb(rain ~ x + (1 | g), "glmm", tweedie, "rain ~ x + (1 | g)", "tweedie", family = "tweedie"),
  tmb(amount ~ x + (1 | g), "glmm", gaussian("log"), "amount ~ x + (1 | g)", "gaussian_log", family = "gaussian", link = "log"),
  tmb(real ~ x + (1 | g), "glmm", gaussian, "real ~ x + (1 | g)", "gaussian_dispersion", dispformula = ~ z, family = "gaussian", disp_formula = "~ z")
)

ordered_models <- lapply(c("logit", "probit", "cloglog"), function(link) {
  o <- transform(d, grade = factor(grade, ordered = TRUE))
  # clmm has cloglog and loglog the other way round than clm (ordinal 2022.11-16); ours are those of clm.
  named <- c(logit = "logit", probit = "probit", cloglog = "loglog")[[link]]
  fit <- clmm(grade ~ x + (1 | g), data = o, link = named, Hess = TRUE, control = clmm.control(gradTol = 1e-9, maxIter = 500))
  s <- coef(summary(fit))
  list(name = paste0("clmm_", link), data = "glmm", formula = "grade ~ x + (1 | g)", family = "cumulative", link = link,
       loglik = as.numeric(logLik(fit)), fixef = list(names = "x", estimate = unname(fit$beta), se = unname(s["x", 2])),
       thresholds = unname(fit$alpha), sd = as.numeric(attr(VarCorr(fit)[[1]], "stddev")))
})

# Quadrature; glmer's log-likelihood then lacks constants, so only estimates are kept.
quadrature <- lapply(c(5, 11, 25), function(k) {
  fit <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, nAGQ = k,
               control = glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5)))
  list(name = paste0("agq_", k), data = "cbpp", formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)", family = B,
       nagq = k, fixef = list(names = names(fixef(fit)), estimate = unname(fixef(fit)), se = unname(sqrt(diag(as.matrix(vcov(fit)))))),
       sd = as.numeric(getME(fit, "theta")))
})

plain <- function(formula, distribution, ours, name, ...) {
  fit <- glm(formula, distribution, d, control = list(epsilon = 1e-14, maxit = 100))
  list(name = name, data = "glmm", formula = ours, loglik = as.numeric(logLik(fit)), known = distribution$family %in% c("binomial", "poisson"),
       fixef = list(names = names(coef(fit)), estimate = unname(coef(fit)), se = unname(sqrt(diag(vcov(fit))))), ...)
}
plain_models <- list(
  plain(cbind(hits, trials - hits) ~ x + f, binomial(), "cbind(hits, trials - hits) ~ x + f", "glm_logit", family = B),
  plain(cbind(hits, trials - hits) ~ x + f, binomial("probit"), "cbind(hits, trials - hits) ~ x + f", "glm_probit", family = B, link = "probit"),
  plain(cbind(hits, trials - hits) ~ x + f, binomial("cloglog"), "cbind(hits, trials - hits) ~ x + f", "glm_cloglog", family = B, link = "cloglog"),
  plain(cbind(hits, trials - hits) ~ x + f, binomial("cauchit"), "cbind(hits, trials - hits) ~ x + f", "glm_cauchit", family = B, link = "cauchit"),
  plain(count ~ x + f, poisson(), "count ~ x + f", "glm_poisson", family = "poisson"),
  plain(count ~ x + f, poisson("sqrt"), "count ~ x + f", "glm_sqrt", family = "poisson", link = "sqrt"),
  plain(count ~ f, poisson("identity"), "count ~ f", "glm_identity", family = "poisson", link = "identity"),
  plain(amount ~ x + f, Gamma("log"), "amount ~ x + f", "glm_gamma", family = "gamma", link = "log"),
  plain(amount ~ f, Gamma(), "amount ~ f", "glm_gamma_inverse", family = "gamma")
)
# Wald chi-squares of car, type III with sum-to-zero contrasts.
wald <- function(type, contrasts) {
  fit <- glmmTMB(binary ~ x * f + z + (1 | g), d, family = binomial, contrasts = contrasts)
  table <- car::Anova(fit, type = type)
  table <- table[rownames(table) != "(Intercept)", ]
  list(term = rownames(table), statistic = table$Chisq, df = table$Df)
}
writeLines(toJSON(list(type2 = wald(2, list(f = "contr.treatment")), type3 = wald(3, list(f = "contr.sum"))), digits = NA, auto_unbox = TRUE,
                  pretty = TRUE), "glmm_anova.json")
writeLines(toJSON(c(models, ordered_models, quadrature, plain_models), digits = NA, auto_unbox = TRUE, pretty = TRUE), "glmm.json")
