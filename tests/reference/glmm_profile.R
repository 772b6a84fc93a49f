# Make glmm_profile.json: limits of 95 % profile intervals. Run inside tests/reference:  Rscript glmm_profile.R
#
# Confidence limits of packages are interpolated, or found to 1e-4. Here a limit is a root, to 1e-10, of the likelihood that
# the package evaluates: glmmTMB's with one parameter held and nlminb over the others, those of glm and clm with an offset.
# The limits of MASS are kept beside, as a check of what is computed here.

suppressMessages({library(glmmTMB); library(MASS); library(ordinal); library(jsonlite)})
d <- read.csv("data/glmm.csv", stringsAsFactors = TRUE)
cbpp <- lme4::cbpp

limits <- function(rise, estimate, se, cut) {
  end <- function(sign) {
    step <- sign * sqrt(cut) * se
    while (rise(estimate + step) < cut) step <- 1.3 * step
    uniroot(function(v) rise(v) - cut, sort(c(estimate + 0.3 * step, estimate + step)), tol = 1e-11)$root
  }
  c(end(-1), end(1))
}

tmb <- function(name, formula, data, family, ours, zi = ~0, ...) {
  if (is.function(family)) family <- family()
  fit <- glmmTMB(formula, data, family = family, ziformula = zi)
  obj <- fit$obj
  tight <- list(rel.tol = 1e-14, x.tol = 1e-12, iter.max = 500, eval.max = 1000)
  best <- nlminb(fit$fit$par, obj$fn, obj$gr, control = tight)
  best <- nlminb(best$par, obj$fn, obj$gr, control = tight)
  se <- sqrt(diag(solve(optimHess(best$par, obj$fn, obj$gr))))
  ends <- sapply(seq_along(best$par), function(i) {
    start <- best$par[-i]
    rise <- function(v) {
      full <- function(p) append(p, v, i - 1)
      found <- nlminb(start, function(p) obj$fn(full(p)), function(p) obj$gr(full(p))[-i], control = tight)
      2 * (found$objective - best$objective)
    }
    limits(rise, best$par[i], se[i], qchisq(0.95, 1))
  })
  # The dispersion of gamma is the logarithm of the shape there, 1 / phi.
  if (family$family == "Gamma") ends[, names(best$par) == "betad"] <- -rev(ends[, names(best$par) == "betad"])
  list(name = name, ours = ours, ..., parameter = names(best$par), lower = ends[1, ], upper = ends[2, ], se = unname(se))
}

mixed <- list(
  tmb("cbpp", cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial,
      c("(Intercept)", "period2", "period3", "period4", "sd_(Intercept)|herd")),
  tmb("logit", binary ~ x + f + (1 | g), d, binomial, c("(Intercept)", "x", "fb", "fc", "sd_(Intercept)|g")),
  tmb("diagonal", cbind(hits, trials - hits) ~ x + (1 | g) + (0 + x | g), d, binomial,
      c("(Intercept)", "x", "sd_(Intercept)|g", "sd_x|g")),
  tmb("offset_nested", count ~ x + offset(log(exposure)) + (1 | g/h), d, poisson, c("(Intercept)", "x", "sd_(Intercept)|g:h", "sd_(Intercept)|g")),
  tmb("nbinom2", over ~ x + (1 | g), d, nbinom2, c("(Intercept)", "x", "size", "sd_(Intercept)|g")),
  tmb("zip", excess ~ x + (1 | g), d, poisson, c("(Intercept)", "x", "zi:(Intercept)", "sd_(Intercept)|g"), zi = ~1),
  tmb("beta", rate ~ x + (1 | g), d, beta_family, c("(Intercept)", "x", "precision", "sd_(Intercept)|g")),
  tmb("gamma_log", amount ~ x + f + (1 | g), d, Gamma("log"), c("(Intercept)", "x", "fb", "fc", "phi", "sd_(Intercept)|g"))
)

plain <- function(formula, family, ours, link) {
  tight <- glm.control(1e-14, 200)
  full <- glm(formula, family, d, control = tight)
  phi <- summary(full)$dispersion
  X <- model.matrix(full)
  cut <- if (ours %in% c("binomial", "poisson")) qchisq(0.95, 1) else qt(0.975, df.residual(full))^2
  ends <- sapply(seq_len(ncol(X)), function(i) {
    rise <- function(v) {
      left <- suppressWarnings(glm.fit(X[, -i], full$y, weights = full$prior.weights, offset = v * X[, i], family = family, control = tight))
      (left$deviance - deviance(full)) / phi
    }
    limits(rise, coef(full)[i], sqrt(vcov(full)[i, i]), cut)
  })
  theirs <- suppressMessages(confint(full))
  list(formula = deparse(formula), family = ours, link = link, term = colnames(X), lower = ends[1, ], upper = ends[2, ],
       se = unname(sqrt(diag(vcov(full)))), mass = unname(theirs))
}

classical <- list(
  plain(binary ~ x + f, binomial(), "binomial", "logit"),
  plain(count ~ x + f, poisson(), "poisson", "log"),
  plain(amount ~ x + f, Gamma("log"), "gamma", "log"),
  plain(over ~ x + f, quasipoisson(), "quasipoisson", "log"),
  plain(real ~ x + f, gaussian(), "gaussian", "identity")
)

o <- transform(d, grade = factor(grade, ordered = TRUE))
o$fb <- as.numeric(o$f == "b")
o$fc <- as.numeric(o$f == "c")
tight <- clm.control(gradTol = 1e-10)
full <- clm(grade ~ x + fb + fc, data = o, control = tight)
ends <- sapply(c("x", "fb", "fc"), function(i) {
  rise <- function(v) {
    o$.off <- v * o[[i]]
    rest <- reformulate(c(setdiff(c("x", "fb", "fc"), i), "offset(.off)"), "grade")
    2 * as.numeric(logLik(full) - logLik(clm(rest, data = o, control = tight)))
  }
  limits(rise, coef(full)[i], sqrt(vcov(full)[i, i]), qchisq(0.95, 1))
})
ordered <- list(term = c("x", "fb", "fc"), lower = unname(ends[1, ]), upper = unname(ends[2, ]),
                se = unname(sqrt(diag(vcov(full)))[c("x", "fb", "fc")]))
writeLines(toJSON(list(mixed = mixed, classical = classical, ordered = ordered), digits = I(14), auto_unbox = TRUE, pretty = TRUE),
           "glmm_profile.json")
