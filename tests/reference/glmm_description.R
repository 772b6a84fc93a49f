# Make glmm_description.json: shares of variance of generalised models by insight, performance and stats. Run inside
# tests/reference:  Rscript glmm_description.R
#
# Variances of the fixed part and of the random effects are insight's; the observation-level variance is written out
# here as Nakagawa, Johnson and Schielzeth (2017) have it, with the mean of the null model over its random effects.
# Debian's insight (0.19) takes exp(intercept) as that mean; that its numbers follow from this one difference is checked
# here, and where no mean is needed (latent = TRUE) performance's own R2 and ICC are stored.

suppressMessages({library(glmmTMB); library(lme4); library(ordinal); library(insight); library(performance); library(jsonlite)})
read <- function(file) read.csv(file.path("data", paste0(file, ".csv")), stringsAsFactors = TRUE)
data_sets <- list(glmm = transform(read("glmm"), id = factor(seq_len(240))), glmm_links = read("glmm_links"), cbpp = transform(read("cbpp"), period = factor(period), herd = factor(herd)),
                  grouseticks = transform(read("grouseticks"), YEAR = YEAR, INDEX = factor(INDEX)))
quiet <- function(e) suppressWarnings(suppressMessages(e))

# Newton steps on glmmTMB's own objective, for an optimiser stops at its tolerance.
polished <- function(fit) {
  par <- fit$fit$par
  fit$obj$env$inner.control$tol <- 1e-13
  fit$obj$env$inner.control$tol10 <- 0
  fit$obj$fn(par)
  for (i in 1:6) {
    H <- optimHess(par, fit$obj$fn, fit$obj$gr)
    step <- -solve(H, as.vector(fit$obj$gr(par)), tol = 0)
    if (as.numeric(fit$obj$fn(par + step)) > as.numeric(fit$obj$fn(par)) + 1e-8) break
    par <- par + step
    if (max(abs(step)) < 1e-9) break
  }
  fit$fit$par <- par
  fit$obj$fn(par)
  fit$fit$parfull <- fit$obj$env$last.par
  stopifnot(max(abs(fit$obj$gr(par))) < 1e-4)
  fit
}

fitted_by <- function(m, formula, d) {
  zi <- if (is.null(m$zi)) ~ 0 else as.formula(m$zi)
  environment(zi) <- globalenv()
  fit <- quiet(eval(bquote(glmmTMB(.(as.formula(formula, env = globalenv())), d, family = .(m$r_family), ziformula = .(zi)))))
  polished(fit)
}

# Mean over the rows of z' Sigma z, by term.
mean_variances <- function(fit, d) {
  v <- VarCorr(fit)$cond
  rows <- sapply(names(v), function(g) {
    Z <- do.call(cbind, lapply(colnames(v[[g]]), function(name) if (name == "(Intercept)") rep(1, nrow(d)) else d[[name]]))
    mean(rowSums((Z %*% v[[g]]) * Z))
  })
  setNames(rows, names(v))
}

described <- function(id, data, formula, family, r_family, variance = NULL, link = NULL, zi = NULL, latent = NULL, insight = NULL)
  list(id = id, data = data, formula = formula, family = family, r_family = r_family, variance = variance, link = link,
       zi = zi, latent = latent, insight = insight)

# variance: of an observation from lambda (the mean of the null model), s (sigma) and p (Tweedie's power), with all
# approximations; insight: what Debian's version does instead, from mu = exp(intercept).
all_log <- function(ratio) list(lognormal = bquote(log1p(.(ratio))), delta = ratio, trigamma = bquote(trigamma(1 / .(ratio))))
binary_delta <- list(delta = quote(1 / (lambda * (1 - lambda))))
models <- list(
  described("logit", "glmm", "binary ~ x + f + (1 | g)", "binomial", quote(binomial()), binary_delta, latent = pi^2 / 3),
  described("probit_crossed", "glmm", "binary ~ x + (1 | g) + (1 | h)", "binomial", quote(binomial("probit")),
            list(delta = quote(lambda * (1 - lambda) / dnorm(qnorm(lambda))^2)), "probit", latent = 1),
  described("cloglog", "glmm", "binary ~ x + (1 | g)", "binomial", quote(binomial("cloglog")),
            list(delta = quote(lambda / ((1 - lambda) * log(1 - lambda)^2))), "cloglog", latent = pi^2 / 6),
  described("cbind_slopes", "glmm", "cbind(hits, trials - hits) ~ x + (x | g)", "binomial", quote(binomial()), binary_delta,
            latent = pi^2 / 3),
  described("cbpp", "cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial", quote(binomial()),
            binary_delta, latent = pi^2 / 3),
  described("poisson", "glmm", "count ~ x + (1 | g)", "poisson", quote(poisson()), all_log(quote(1 / lambda)),
            insight = quote(log1p(1 / mu))),
  described("poisson_slopes", "glmm", "count ~ x + f + (x | g) + (1 | h)", "poisson", quote(poisson()),
            all_log(quote(1 / lambda)), insight = quote(log1p(1 / mu))),
  described("poisson_offset", "glmm", "count ~ x + offset(log(exposure)) + (1 | g)", "poisson", quote(poisson()),
            all_log(quote(1 / lambda))),
  described("poisson_sqrt", "glmm_links", "count_sqrt ~ x + (1 | g)", "poisson", quote(poisson("sqrt")), list(delta = quote(0.25)),
            "sqrt", latent = 0.25),
  described("observation_level", "glmm", "count ~ x + (1 | g) + (1 | id)", "poisson", quote(poisson()),
            all_log(quote(1 / lambda)), insight = quote(log1p(1 / mu))),
  described("grouseticks", "grouseticks", "TICKS ~ HEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", "poisson",
            quote(poisson()), all_log(quote(1 / lambda)), insight = quote(log1p(1 / mu))),
  described("nbinom2", "glmm", "over ~ x + (1 | g)", "nbinom2", quote(nbinom2()), all_log(quote((1 / lambda + 1 / s))),
            insight = quote(log1p(1 / mu + 1 / s))),
  described("nbinom1", "glmm", "over ~ x + (1 | g)", "nbinom1", quote(nbinom1()), all_log(quote(((1 + s) / lambda))),
            insight = quote(log1p((1 + s) / mu))),
  described("nbinom2_sqrt", "glmm_links", "over_sqrt ~ x + (1 | g)", "nbinom2", quote(nbinom2("sqrt")),
            list(delta = quote(0.25 * (1 + lambda / s))), "sqrt"),
  described("gamma_log", "glmm", "amount ~ x + f + (1 | g)", "gamma", quote(Gamma("log")), all_log(quote((s^2))), "log",
            insight = quote(s^2)),
  described("gamma_slopes", "glmm", "amount ~ x + (x | g)", "gamma", quote(Gamma("log")), all_log(quote((s^2))), "log",
            insight = quote(s^2)),
  described("beta", "glmm", "rate ~ x + (1 | g)", "beta", quote(beta_family()),
            list(delta = quote(1 / ((1 + s) * lambda * (1 - lambda))),
                 trigamma = quote(trigamma(lambda * s) + trigamma((1 - lambda) * s)))),
  described("betabinomial", "glmm", "cbind(overhits, trials - overhits) ~ x + (1 | g)", "betabinomial", quote(betabinomial()),
            list(none = quote(pi^2 / 3 + 1 / ((1 + s) * lambda * (1 - lambda))))),
  described("tweedie", "glmm", "rain ~ x + (1 | g)", "tweedie", quote(tweedie()), all_log(quote((s * lambda^(p - 2)))),
            insight = quote(log1p(s * mu^(p - 2)))),
  described("gaussian_log", "glmm", "amount ~ x + (1 | g)", "gaussian", quote(gaussian("log")),
            all_log(quote((s^2 / lambda^2))), "log"),
  described("zip", "glmm", "excess ~ x + (1 | g)", "poisson", quote(poisson()),
            all_log(quote(((1 + pi0 * lambda) / ((1 - pi0) * lambda)))), zi = "~ 1")
)

mean_of <- function(link, b0, v) {  # over random effects; the integral by R's quadrature
  over <- function(f) if (v < 1e-12) f(b0) else integrate(function(z) f(b0 + sqrt(v) * z) * dnorm(z), -12, 12, rel.tol = 1e-11)$value
  switch(link, log = exp(b0 + v / 2), sqrt = b0^2 + v, over(binomial(link)$linkinv))
}

describe <- function(m) {
  d <<- data_sets[[m$data]]
  fit <- fitted_by(m, m$formula, d)
  bars <- paste(sprintf("(%s)", sapply(lme4::findbars(as.formula(m$formula)), deparse)), collapse = " + ")
  has_offset <- grepl("offset", m$formula)
  null <- fitted_by(m, paste(deparse(as.formula(m$formula)[[2]]), "~ 1 +", if (has_offset) "offset(log(exposure)) +", bars), d)
  random <- mean_variances(fit, d)
  own <- sapply(names(random), function(g) nlevels(d[[g]]) == nrow(d))
  fixed <- var(as.vector(getME(fit, "X") %*% fixef(fit)$cond))
  theirs <- quiet(insight::get_variance(fit, tolerance = 1e-12))
  stopifnot(abs(theirs$var.fixed - fixed) < 1e-10, abs(theirs$var.random - sum(random[!own])) < 1e-10)
  link <- family(fit)$link
  b0 <- unname(fixef(null)$cond)
  v <- sum(mean_variances(null, d))
  s <- sigma(fit)
  p <- if (m$family == "tweedie") plogis(fit$fit$par[["psi"]]) + 1
  pi0 <- if (!is.null(m$zi)) plogis(fixef(fit)$zi[[1]])
  offsets <- if (has_offset) log(d$exposure) else 0
  lambda <- sapply(b0 + offsets, function(eta) mean_of(link, eta, v))
  mu <- exp(b0)
  observation <- lapply(m$variance, function(e) mean(eval(e)))
  if (!is.null(m$insight)) stopifnot(abs(theirs$var.distribution / eval(m$insight) - 1) < 1e-4)
  out <- list(id = m$id, data = m$data, formula = m$formula, family = m$family, link = m$link, zi_formula = m$zi, fixed = fixed,
              random = as.list(random), own = I(names(random)[own]), null_random = as.list(mean_variances(null, d)), observation = observation)
  if (!is.null(m$latent)) {
    stopifnot(abs(theirs$var.distribution - m$latent) < 1e-12)
    out$observation$none <- m$latent
    r2 <- quiet(performance::r2_nakagawa(fit, tolerance = 1e-12))
    icc <- quiet(performance::icc(fit, tolerance = 1e-12))
    out$r2 <- c(r2$R2_marginal, r2$R2_conditional)
    out$icc <- c(icc$ICC_adjusted, icc$ICC_unadjusted)
  }
  if (m$id %in% c("logit", "poisson_slopes", "nbinom2", "gamma_slopes")) {  # errors of the modes, all parameters estimated
    report <- TMB::sdreport(fit$obj, par.fixed = fit$fit$par, hessian.fixed = optimHess(fit$fit$par, fit$obj$fn, fit$obj$gr,
                                                                                       control = list(ndeps = rep(1e-4, length(fit$fit$par)))))
    v <- VarCorr(fit)$cond
    out$levels <- list(group = I(unlist(lapply(names(v), function(g) rep(g, nlevels(d[[g]]) * ncol(v[[g]]))))),
      level = I(unlist(lapply(names(v), function(g) rep(levels(d[[g]]), each = ncol(v[[g]]))))),
      term = I(unlist(lapply(names(v), function(g) rep(colnames(v[[g]]), nlevels(d[[g]]))))),
      estimate = I(unname(report$par.random)), sd = I(unname(sqrt(report$diag.cov.random))),
      coef = I(as.vector(coef(fit)$cond[[1]][, "x"])), coef_level = I(rownames(coef(fit)$cond[[1]])))
  }
  cat(sprintf("%-20s fixed %.5f random %s observation %s\n", m$id, fixed, paste(round(random, 5), collapse = " "),
              paste(names(out$observation), round(unlist(out$observation), 5), collapse = " ")))
  out
}
mixed <- lapply(models, describe)

# --- ordinal ------------------------------------------------------------------------------------------------------------

d <- data_sets$glmm
d$grade <- factor(d$grade)
ordinal_models <- lapply(c("logit", "probit"), function(link) {
  fit <- clmm(grade ~ x + f + (1 | g), d, link = link, control = clmm.control(gradTol = 1e-9))
  r2 <- quiet(performance::r2_nakagawa(fit))
  icc <- quiet(performance::icc(fit))
  v <- quiet(insight::get_variance(fit))
  list(id = paste0("ordinal_", link), data = "glmm", formula = "grade ~ x + f + (1 | g)", family = "cumulative", link = link,
       fixed = v$var.fixed, random = list(g = v$var.random), own = I(character()), observation = list(none = v$var.distribution),
       r2 = c(r2$R2_marginal, r2$R2_conditional), icc = c(icc$ICC_adjusted, icc$ICC_unadjusted))
})
print(sapply(ordinal_models, function(m) m$observation$none))

# --- without random effects ---------------------------------------------------------------------------------------------

plain <- function(id, formula, family, r_family, link = NULL) {
  d <<- data_sets$glmm
  fit <- eval(bquote(glm(.(as.formula(formula, env = globalenv())), family = .(r_family), data = d, epsilon = 1e-14)))
  out <- list(id = id, data = "glmm", formula = formula, family = family, link = link)
  if (family == "binomial") out$tjur <- unname(r2_tjur(fit))
  if (family %in% c("binomial", "poisson")) {
    out$mcfadden <- unname(r2_mcfadden(fit)$R2)
    out$coxsnell <- unname(r2_coxsnell(fit))
    out$nagelkerke <- unname(r2_nagelkerke(fit))
  }
  out$deviance <- 1 - fit$deviance / fit$null.deviance
  out
}
plain_models <- list(
  plain("glm_logit", "binary ~ x + f", "binomial", quote(binomial())),
  plain("glm_cloglog", "binary ~ x * f", "binomial", quote(binomial("cloglog")), "cloglog"),
  plain("glm_poisson", "count ~ x + f", "poisson", quote(poisson())),
  plain("glm_gamma", "amount ~ x + f", "gamma", quote(Gamma("log")), "log"),
  plain("glm_quasi", "count ~ x + f", "quasipoisson", quote(quasipoisson())),
  local({
    fit <- clm(factor(grade) ~ x + f, data = data_sets$glmm, control = clm.control(gradTol = 1e-10))
    null <- clm(factor(grade) ~ 1, data = data_sets$glmm)
    list(id = "clm", data = "glmm", formula = "grade ~ x + f", family = "cumulative", mcfadden = 1 - as.numeric(logLik(fit) / logLik(null)),
         coxsnell = unname(r2_coxsnell(fit)), nagelkerke = unname(r2_nagelkerke(fit)))
  })
)

versions <- sapply(c("glmmTMB", "ordinal", "insight", "performance"), function(name) as.character(packageVersion(name)))
write(toJSON(list(versions = c(R = R.version.string, as.list(versions)), mixed = c(mixed, ordinal_models), plain = plain_models),
             auto_unbox = TRUE, digits = I(12), null = "null", na = "null", pretty = 1), "glmm_description.json")
