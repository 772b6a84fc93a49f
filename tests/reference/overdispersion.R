# Make overdispersion.json: Pearson's chi-square, its ratio and p-value by performance::check_overdispersion.
# Run inside tests/reference, after make_glmm.py:  Rscript overdispersion.R
#
# glmer() stops early by default, hence the tight tolerances.

suppressMessages({library(lme4); library(performance); library(jsonlite)})
d <- read.csv("data/glmm.csv", stringsAsFactors = TRUE)
tight <- glm.control(epsilon = 1e-14, maxit = 200)
control <- glmerControl(optimizer = "nloptwrap", tolPwrss = 1e-13,
                        optCtrl = list(xtol_abs = 1e-10, ftol_abs = 1e-12, maxeval = 20000), calc.derivs = FALSE)

row <- function(name, ours, family, fit) {
  o <- check_overdispersion(fit)
  list(name = name, formula = ours, family = family, chisq = o$chisq_statistic, ratio = o$dispersion_ratio,
       rdf = o$residual_df, p_value = o$p_value)
}
B <- "cbind(hits, trials - hits)"
O <- "cbind(overhits, trials - overhits)"
out <- list(
  row("poisson", "count ~ x + f", "poisson", glm(count ~ x + f, poisson, d, control = tight)),
  row("poisson_over", "over ~ x", "poisson", glm(over ~ x, poisson, d, control = tight)),
  row("binomial", paste(B, "~ x + f"), "binomial", glm(cbind(hits, trials - hits) ~ x + f, binomial, d, control = tight)),
  row("binomial_over", paste(O, "~ x"), "binomial", glm(cbind(overhits, trials - overhits) ~ x, binomial, d, control = tight)),
  row("poisson_mixed", "over ~ x + (1 | g)", "poisson", glmer(over ~ x + (1 | g), d, poisson, control = control)),
  row("binomial_mixed", paste(O, "~ x + (1 | g)"), "binomial",
      glmer(cbind(overhits, trials - overhits) ~ x + (1 | g), d, binomial, control = control))
)
write(toJSON(list(packages = list(performance = as.character(packageVersion("performance")),
                                  lme4 = as.character(packageVersion("lme4"))), fits = out),
             digits = NA, auto_unbox = TRUE, pretty = TRUE), "overdispersion.json")
