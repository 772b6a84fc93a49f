# Comparisons of models in R: run inside tests/reference, writes compare.json.
#
# lme4::anova for likelihood-ratio tests, lmerTest::ranova for random effects left out in turn, RLRsim for the null
# distribution of a variance of zero: quantiles of 200,000 draws, and p-values of exactRLRT and exactLRT.

suppressMessages({library(lme4); library(lmerTest); library(RLRsim); library(jsonlite)})

uneven <- subset(sleepstudy, Days < 2 + (as.integer(Subject) * 4) %% 9)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9))
fit <- function(formula, data, REML = TRUE) lme4::lmer(formula, data, REML = REML, control = tight)

# --- likelihood-ratio tests ---
tests <- function(...) {
  a <- anova(..., refit = FALSE)
  list(npar = a$npar, loglik = a$logLik, aic = a$AIC, bic = a$BIC, chisq = a$Chisq[-1], df = a$Df[-1],
       p = a[["Pr(>Chisq)"]][-1])
}
cakes <- transform(cake, temperature = factor(temperature, ordered = FALSE), t = temp)
likelihood <- list(
  sleep_ml = tests(fit(Reaction ~ 1 + (Days | Subject), sleepstudy, FALSE),
                   fit(Reaction ~ Days + (Days | Subject), sleepstudy, FALSE),
                   fit(Reaction ~ Days + I(Days^2) + (Days | Subject), sleepstudy, FALSE)),
  sleep_reml = tests(fit(Reaction ~ Days + (1 | Subject), sleepstudy),
                     fit(Reaction ~ Days + (Days || Subject), sleepstudy),
                     fit(Reaction ~ Days + (Days | Subject), sleepstudy)),
  cake_ml = tests(fit(angle ~ temp + (1 | recipe:replicate), cakes, FALSE),
                  fit(angle ~ recipe + temp + (1 | recipe:replicate), cakes, FALSE),
                  fit(angle ~ recipe * temp + (1 | recipe:replicate), cakes, FALSE))
)

# --- random effects left out in turn ---
left_out <- function(formula, data, REML = TRUE) {
  m <- lmerTest::lmer(formula, data, REML = REML, control = tight)
  a <- lmerTest::ranova(m)
  list(npar = a$npar, loglik = a$logLik, aic = a$AIC, lrt = a$LRT[-1], df = a$Df[-1])
}
random <- list(
  sleep = left_out(Reaction ~ Days + (Days | Subject), sleepstudy),
  sleep_ml = left_out(Reaction ~ Days + (Days | Subject), sleepstudy, FALSE),
  sleep_diag = left_out(Reaction ~ Days + (Days || Subject), sleepstudy),
  penicillin = left_out(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin),
  pastes = left_out(strength ~ 1 + (1 | batch) + (1 | batch:cask), Pastes),
  dyestuff = left_out(Yield ~ 1 + (1 | Batch), Dyestuff),
  cake_slopes = left_out(angle ~ recipe + temp + (temp + recipe | replicate), transform(cake, temp = (temp - 200) / 10))
)

# --- null distributions ---
at <- c(0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
spread <- function(draws) list(zero = mean(draws <= 1e-10), quantiles = unname(quantile(draws, at)))
Z <- function(f, by = 1) model.matrix(~ 0 + factor(f)) * by
root <- function(z) diag(ncol(z))
restricted <- function(X, z) spread(RLRTSim(X, z, qrX = qr(X), sqrt.Sigma = root(z), seed = 1, nsim = 2e5))
plain <- function(X, z, q) spread(LRTSim(X, z, q, sqrt.Sigma = root(z), seed = 1, nsim = 2e5))
D <- model.matrix(~ Days, sleepstudy)
U <- model.matrix(~ Days, uneven)
C <- model.matrix(~ recipe * temperature, cakes)
B <- model.matrix(~ 1, Dyestuff)
null <- list(
  dyestuff = restricted(B, Z(Dyestuff$Batch)),
  sleep = restricted(D, Z(sleepstudy$Subject)),
  uneven_slope = restricted(U, Z(uneven$Subject, uneven$Days)),
  uneven = restricted(U, Z(uneven$Subject)),
  cake = restricted(C, Z(interaction(cakes$recipe, cakes$replicate))),
  dyestuff_ml = plain(B, Z(Dyestuff$Batch), 0),
  sleep_ml = plain(D, Z(sleepstudy$Subject), 1),
  uneven_ml = plain(U, Z(uneven$Subject), 1),
  cake_ml = plain(C, Z(interaction(cakes$recipe, cakes$replicate)), 15)
)

# --- p-values, of a response without much in it ---
noise <- function(n) ((1:n)^2 * 37) %% 101 / 20
d <- transform(Dyestuff, y = noise(30) + 0.7 * as.integer(Batch))
u <- transform(uneven, y = noise(nrow(uneven)) + ((as.integer(Subject) * 5) %% 18) * 0.08)
one <- function(t) list(statistic = unname(t$statistic), p = t$p.value)
pvalues <- list(
  dyestuff = one(exactRLRT(fit(y ~ 1 + (1 | Batch), d), nsim = 2e5, seed = 1)),
  uneven = one(exactRLRT(fit(y ~ Days + (1 | Subject), u), nsim = 2e5, seed = 1)),
  uneven_ml = one(exactLRT(fit(y ~ Days + (1 | Subject), u, FALSE), lm(y ~ 1, u), nsim = 2e5, seed = 1)),
  pastes = one(exactRLRT(fit(strength ~ 1 + (1 | batch), Pastes), fit(strength ~ 1 + (1 | batch) + (1 | batch:cask), Pastes),
                         fit(strength ~ 1 + (1 | batch:cask), Pastes), nsim = 2e5, seed = 1))
)
versions <- sapply(c("lme4", "lmerTest", "RLRsim"), function(p) as.character(packageVersion(p)))
writeLines(toJSON(list(made_by = "tests/reference/compare.R", R = R.version.string, packages = as.list(versions),
                       likelihood = likelihood, random = random, null = null, at = at, p = pvalues),
                  auto_unbox = TRUE, pretty = 2, null = "null", digits = 12), "compare.json")
