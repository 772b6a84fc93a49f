# Writes emtrends.json: slopes of the linear predictor by levels of factors, by R's emmeans.
suppressMessages({library(emmeans); library(lme4); library(lmerTest); library(jsonlite)})
reference <- fromJSON("marginal_effects.json")$data
d <- as.data.frame(reference); d$f <- factor(d$f); d$g <- factor(d$g)
plain <- function(x) {
  s <- as.data.frame(summary(x, infer = c(TRUE, TRUE)))
  names(s) <- sub("\\.trend$", "", names(s))
  list(estimate = s[[which(names(s) %in% c("x", "z", "temp", "temperature", "Days", "estimate"))[1]]],
       se = s$SE, df = s$df, lower = s[[grep("lower|asymp.LCL", names(s))[1]]],
       upper = s[[grep("upper|asymp.UCL", names(s))[1]]])
}
both <- function(x) list(trends = plain(x), pairs = plain(pairs(x, adjust = "none")))
out <- list()
lm1 <- lm(y ~ x * f + z + g, d)
out$lm_by_f <- both(emtrends(lm1, ~ f, var = "x"))
lm2 <- lm(y ~ (x + I(x^2)) * f * g + z, d)
out$lm_by_f_g <- both(emtrends(lm2, ~ f * g, var = "x", delta.var = 1e-6))
out$lm_average <- list(trends = plain(emtrends(lm2, ~ 1, var = "x", delta.var = 1e-6)))
out$lm_at <- list(trends = plain(emtrends(lm2, ~ f, var = "x", delta.var = 1e-6, at = list(x = 3))))
lm3 <- lm(y ~ log(z) * f + x, d)
out$lm_log <- both(emtrends(lm3, ~ f, var = "z", delta.var = 1e-6))
g1 <- glm(hit ~ x * g + f + z, binomial, d, control = list(epsilon = 1e-14))
out$logit_by_g <- both(emtrends(g1, ~ g, var = "x"))
p1 <- glm(count ~ x * f + z, poisson, d, control = list(epsilon = 1e-14))
out$poisson_by_f <- both(emtrends(p1, ~ f, var = "x"))
data(cake, package = "lme4")
mm <- lmer(angle ~ recipe * temp + (1 | recipe:replicate), cake, control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10)))
out$lmer_by_recipe <- both(emtrends(mm, ~ recipe, var = "temp", lmer.df = "satterthwaite"))
ms <- lmer(angle ~ recipe * temp + (temp | recipe:replicate), transform(cake, temp = (temp - 200) / 10),
           control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10)))
out$lmer_slopes <- both(emtrends(ms, ~ recipe, var = "temp", lmer.df = "satterthwaite"))
out$lmer_kr <- both(emtrends(ms, ~ recipe, var = "temp", lmer.df = "kenward-roger"))
# A number that has two values is averaged with equal weights.
lm4 <- lm(y ~ x * hit + f, d)
out$lm_two_values <- list(trends = plain(emtrends(lm4, ~ 1, var = "x")))
out$lm_by_two_values <- both(emtrends(lm4, ~ hit, var = "x"))
# p-values and intervals adjusted together
tests <- function(x, adjust) {
  s <- as.data.frame(summary(pairs(x, adjust = adjust), infer = c(TRUE, TRUE)))
  list(p = s$p.value, lower = s[[grep("lower|asymp.LCL", names(s))[1]]], upper = s[[grep("upper|asymp.UCL", names(s))[1]]])
}
all <- c("tukey", "sidak", "bonferroni", "holm", "fdr", "scheffe")
out$adjusted <- list(
  lm_by_f = sapply(all, function(a) tests(emtrends(lm1, ~ f, var = "x"), a), simplify = FALSE),
  lmer_by_recipe = sapply(all, function(a) tests(emtrends(mm, ~ recipe, var = "temp", lmer.df = "satterthwaite"), a), simplify = FALSE))
write(toJSON(out, digits = 12, auto_unbox = TRUE, pretty = FALSE), "emtrends.json")
