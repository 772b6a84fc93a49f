# Digits that R reaches on NIST's one-way analyses of variance: run inside tests/reference, writes nist_r.json.
#
# Digits are -log10(relative error), at most 15. From lm: F, residual standard deviation and the sum of squares between.
# From lme4, by the balanced one-way identity F = 1 + J theta^2: F and the residual standard deviation.

suppressMessages({library(lme4); library(jsonlite)})

smls <- function(base, replicates) {
  step <- function(k) ifelse(k == 1, 0.2, ifelse(k %% 2 == 0, 0.1, 0.3))
  cell <- expand.grid(j = seq_len(replicates), i = 1:9)
  tenths <- round(10 * (step(cell$i) + step(cell$j)))
  data.frame(g = factor(cell$i), y = as.numeric(sprintf("%.1f", base + tenths / 10)))
}
observed <- function(name) {
  d <- read.csv(sprintf("data/nist_%s.csv", name))
  data.frame(g = factor(d$instrument), y = d$y)
}
certified <- list(
  SiRstv = c(1.18046237440255, 1.04076068334656e-01, 5.11462616e-02),
  AtmWtAg = c(1.59467335677930e+01, 1.51048314446410e-05, 3.638341875e-09)
)
digits <- function(x, exact) round(pmin(15, ifelse(x == exact, 15, -log10(abs(x - exact) / abs(exact)))), 2)

sets <- list(SiRstv = observed("sirstv"), AtmWtAg = observed("atmwtag"))
for (k in 1:9) {
  J <- c(21, 201, 2001)[(k - 1) %% 3 + 1]
  name <- sprintf("SmLs0%d", k)
  sets[[name]] <- smls(c(1, 1e6, 1e12)[(k - 1) %/% 3 + 1], J)
  certified[[name]] <- c(J, 0.1, 0.08 * J)
}
out <- lapply(names(sets), function(name) {
  d <- sets[[name]]
  exact <- certified[[name]]
  a <- anova(lm(y ~ g, d))
  fit <- tryCatch(suppressMessages(suppressWarnings(lmer(y ~ 1 + (1 | g), d))), error = function(e) NULL)
  J <- nrow(d) / nlevels(d$g)
  mixed <- if (!is.null(fit)) c(1 + J * getME(fit, "theta")^2, sigma(fit))
  list(lm = as.list(setNames(digits(c(a[1, 4], sqrt(a[2, 3]), a[1, 2]), exact), c("F", "sd", "between"))),
       lme4 = if (!is.null(mixed)) as.list(setNames(digits(mixed, exact[1:2]), c("F", "sd"))))
})
names(out) <- names(sets)
writeLines(toJSON(list(made_by = "tests/reference/nist.R", R = R.version.string,
                       lme4 = as.character(packageVersion("lme4")), digits = out),
                  auto_unbox = TRUE, pretty = 2, null = "null", digits = 4), "nist_r.json")
