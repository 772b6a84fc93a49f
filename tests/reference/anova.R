# Make anova.json: the hypotheses (matrices L) and tests of lmerTest, and the tables of anova(lm) and car::Anova.
# Run inside tests/reference: Rscript anova.R
#
# Data are made here and stored with the results. lmerTest's matrices depend on X alone, so no tight optimum is
# needed for them; F and df are stored at lme4's optimum with a tight tolerance.

suppressMessages({library(lme4); library(lmerTest); library(car); library(jsonlite)})

make <- function() {
  set.seed(11)
  n <- 150
  d <- data.frame(a = factor(sample(c("p", "q", "r"), n, TRUE, c(.5, .3, .2))),
                  b = factor(sample(c("u", "v"), n, TRUE, c(.6, .4))),
                  c = factor(sample(c("k", "l", "m", "n"), n, TRUE)),
                  x = round(rnorm(n, 1), 2), z = round(runif(n), 2), w = round(runif(n, .3, 2), 2),
                  g = factor(sample(sprintf("g%02d", 1:14), n, TRUE)))
  d$t <- d$x > 1
  d$x2 <- 2 * d$x + 3
  d$y <- round(5 + c(0, 1, -1)[d$a] + .5 * (d$b == "v") * d$x + rnorm(14)[d$g] + rnorm(n), 3)
  d
}
d <- make()
holes <- droplevels(subset(d, !(a == "r" & b == "v") & !(a == "q" & c == "m")))
data <- list(full = d, holes = holes)

mixed <- list(
  list("full", "y ~ a + (1 | g)"), list("full", "y ~ a * b + (1 | g)"), list("full", "y ~ a * b + x + (1 | g)"),
  list("full", "y ~ a * x + (1 | g)"), list("full", "y ~ a * b * c + (1 | g)"), list("full", "y ~ a * b * x + (1 | g)"),
  list("full", "y ~ a * x + z + a:z + x:z + (1 | g)"), list("full", "y ~ x * z + (1 | g)"),
  list("full", "y ~ a:b + x + (1 | g)"), list("full", "y ~ a + a:b + (1 | g)"), list("full", "y ~ a + a:x + (1 | g)"),
  list("full", "y ~ 0 + a + x + (1 | g)"), list("full", "y ~ 0 + a + b + (1 | g)"), list("full", "y ~ 0 + a * b + (1 | g)"),
  list("full", "y ~ 0 + x + z + (1 | g)"), list("full", "y ~ t * a + (1 | g)"), list("full", "y ~ log(z + 1) * b + (1 | g)"),
  list("full", "y ~ a * b + c + b:c + (x | g)"), list("full", "y ~ x + x2 + a + (1 | g)"),
  list("full", "y ~ a * b + x + (1 | g)", weights = "w"),
  list("full", "y ~ a * b * x + (1 | g)", contrasts = "sum"), list("full", "y ~ a * b + c + (1 | g)", contrasts = "helmert"),
  list("holes", "y ~ a * b + (1 | g)"), list("holes", "y ~ a * b + a * c + (1 | g)"), list("holes", "y ~ a * c + x + (1 | g)"),
  list("holes", "y ~ b + a * c + (1 | g)"), list("holes", "y ~ a * b * x + (1 | g)"))

named <- function(spec) {
  contrasts <- NULL
  if (!is.null(spec$contrasts)) {
    used <- intersect(c("a", "b", "c"), all.vars(as.formula(spec[[2]])))
    contrasts <- setNames(as.list(rep(paste0("contr.", spec$contrasts), length(used))), used)
  }
  contrasts
}

control <- lmerControl(optimizer = "nloptwrap", optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12, maxeval = 1e5),
                       check.rankX = "silent.drop.cols", calc.derivs = FALSE)
columns <- function(t, names) lapply(setNames(names, names), function(k) I(unname(t[[k]])))
tests <- function(spec) {
  args <- list(as.formula(spec[[2]]), data[[spec[[1]]]], control = control, contrasts = named(spec))
  if (!is.null(spec$weights)) args$weights <- data[[spec[[1]]]][[spec$weights]]
  m <- suppressMessages(do.call(lmerTest::lmer, args))
  types <- lapply(c(`1` = 1, `2` = 2, `3` = 3), function(k) {
    table <- suppressMessages(anova(m, type = k))
    hypotheses <- attr(table, "hypotheses")
    list(term = I(names(hypotheses)), L = lapply(unname(hypotheses), function(L) unname(as.matrix(L))),
         num_df = I(table[names(hypotheses), "NumDF"]), sum_sq = I(table[names(hypotheses), "Sum Sq"]),
         den_df = I(table[names(hypotheses), "DenDF"]), statistic = I(table[names(hypotheses), "F value"]))
  })
  list(data = spec[[1]], formula = spec[[2]], weights = spec$weights, contrasts = spec$contrasts,
       names = I(names(fixef(m))), types = types)
}

lms <- list(
  list("full", "y ~ a * b + x"), list("full", "y ~ a * x + z"), list("full", "y ~ a * b * c"), list("full", "y ~ 0 + a + x"),
  list("full", "y ~ a * b + x", weights = "w"), list("full", "y ~ x * z"), list("full", "y ~ t + a * b"))
lm_tests <- function(spec) {
  args <- list(as.formula(spec[[2]]), data[[spec[[1]]]])
  if (!is.null(spec$weights)) args$weights <- data[[spec[[1]]]][[spec$weights]]
  m <- do.call(lm, args)
  sums <- list(a = "contr.sum", b = "contr.sum", c = "contr.sum", t = "contr.sum")
  s <- do.call(lm, c(args, list(contrasts = sums[intersect(names(sums), all.vars(as.formula(spec[[2]])))])))
  out <- function(t) list(term = I(rownames(t)), sum_sq = I(t[["Sum Sq"]]), df = I(t[["Df"]]), statistic = I(t[["F value"]]))
  three <- Anova(s, type = 3)
  list(data = spec[[1]], formula = spec[[2]], weights = spec$weights, "1" = out(anova(m)), "2" = out(Anova(m, type = 2)),
       "3" = out(three[rownames(three) != "(Intercept)", ]))
}

store <- lapply(data, function(d) as.list(as.data.frame(lapply(d, function(v) if (is.factor(v)) as.character(v) else v))))
write_json(list(made_by = "tests/reference/anova.R", R = R.version.string,
                packages = lapply(c(lme4 = "lme4", lmerTest = "lmerTest", car = "car"), function(p) as.character(packageVersion(p))),
                data = store, mixed = lapply(mixed, tests), lm = lapply(lms, lm_tests)),
           "anova.json", digits = 14, auto_unbox = TRUE, null = "null", na = "null")
