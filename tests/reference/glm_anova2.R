# Make glm_anova2.json: tests of terms by likelihood ratios and F. Run inside tests/reference:  Rscript glm_anova2.R
#
# car::Anova for types 2 and 3 (type 3 with sum-to-zero contrasts), stats::anova for type 1. Dispersions are Pearson's, as
# car takes them by default.

suppressMessages({library(car); library(MASS); library(ordinal); library(glmmTMB); library(jsonlite)})
d <- read.csv("data/glmm.csv", stringsAsFactors = TRUE)
options(contrasts = c("contr.sum", "contr.poly"))

keep <- function(a, pick) {
  i <- !is.na(a$Df) & !rownames(a) %in% c("Residuals", "NULL", "(Intercept)")
  list(term = rownames(a)[i], df = a$Df[i], statistic = a[[grep(pick, names(a))[1]]][i], p = a[[ncol(a)]][i])
}

fits <- list(
  binomial = list(glm(binary ~ x * f + z, binomial, d, control = glm.control(1e-12)), family = "binomial"),
  poisson = list(glm(count ~ x * f + z, poisson, d, control = glm.control(1e-12)), family = "poisson"),
  gamma = list(glm(amount ~ x * f + z, Gamma("log"), d, control = glm.control(1e-11, 100)), family = "gamma", link = "log"),
  quasipoisson = list(glm(over ~ x * f + z, quasipoisson, d, control = glm.control(1e-12)), family = "quasipoisson")
)
out <- list()
for (name in names(fits)) {
  fit <- fits[[name]][[1]]
  one <- list(formula = deparse(formula(fit)), family = fits[[name]]$family, link = fits[[name]]$link)
  for (type in 2:3) {
    one[[paste0("lrt", type)]] <- keep(Anova(fit, type = type, test = "LR"), "^LR")
    one[[paste0("wald", type)]] <- keep(Anova(fit, type = type, test = "Wald"), "^Chisq")
    if (name %in% c("gamma", "quasipoisson")) one[[paste0("F", type)]] <- keep(Anova(fit, type = type, test = "F"), "^F")
  }
  if (name %in% c("gamma", "quasipoisson")) {
    a <- anova(fit, test = "F"); i <- -1
    one$F1 <- list(term = rownames(a)[i], df = a$Df[i], statistic = a$F[i], p = a$`Pr(>F)`[i])
  } else {
    a <- anova(fit, test = "Chisq"); i <- -1
    one$lrt1 <- list(term = rownames(a)[i], df = a$Df[i], statistic = a$Deviance[i], p = a$`Pr(>Chi)`[i])
  }
  out[[name]] <- one
}

# Differences of log-likelihoods where there is no ready test: the model without the term against the one with it.
drop <- function(fit, formulas) sapply(formulas, function(f) 2 * (logLik(fit(f[[1]])) - logLik(fit(f[[2]]))))
pairs <- list(x = c(y ~ x + f + z, y ~ f + z), f = c(y ~ x + f + z, y ~ x + z), z = c(y ~ x * f + z, y ~ x * f),
              "x:f" = c(y ~ x * f + z, y ~ x + f + z))
nb <- function(f) glm.nb(update(f, over ~ .), d, control = glm.control(1e-12, 100))
out$nbinom2 <- list(formula = "over ~ x * f + z", family = "nbinom2",
                    lrt2 = list(term = names(pairs), df = c(1, 2, 1, 2), statistic = unname(drop(nb, pairs))))
mixed <- function(f) glmmTMB(update(f, binary ~ . + (1 | g)), d, binomial)
out$binomial_mixed <- list(formula = "binary ~ x * f + z + (1 | g)", family = "binomial",
                           lrt2 = list(term = names(pairs), df = c(1, 2, 1, 2), statistic = unname(drop(mixed, pairs))))
o <- transform(d, grade = factor(grade, ordered = TRUE))
ordered_fit <- function(f) clm(update(f, grade ~ .), data = o, control = clm.control(gradTol = 1e-10))
full <- ordered_fit(grade ~ x * f + z)
k <- length(full$alpha); b <- full$beta; V <- vcov(full)[-(1:k), -(1:k)]
wald <- function(i) sum(b[i] * solve(V[i, i], b[i]))
out$cumulative <- list(formula = "grade ~ x * f + z", family = "cumulative",
  lrt2 = list(term = names(pairs), df = c(1, 2, 1, 2), statistic = unname(drop(ordered_fit, pairs))),
  wald2 = list(term = names(pairs), df = c(1, 2, 1, 2),
               statistic = c(wald(c(1, 5:6)) - wald(5:6), wald(c(2:3, 5:6)) - wald(5:6), wald(4), wald(5:6))),
  wald3 = list(term = names(pairs), df = c(1, 2, 1, 2), statistic = c(wald(1), wald(2:3), wald(4), wald(5:6))))
writeLines(toJSON(out, digits = I(15), auto_unbox = TRUE, pretty = TRUE), "glm_anova2.json")
