# Model matrices and contrasts as R makes them, for tests/test_columns.py.
# Run in this directory: Rscript encoders.R   (needs splines, MASS, lme4, jsonlite)
suppressPackageStartupMessages({library(splines); library(MASS); library(lme4); library(jsonlite)})

n <- 16
data <- data.frame(
  y = round(10 + 3 * sin(1:n) + (1:n) / 4, 3),
  x = c(0.3, 1.1, 1.9, 2.2, 3.7, 4.1, 4.8, 5.0, 5.6, 6.3, 7.7, 8.4, 8.5, 9.1, 9.6, 10.2),
  z = c(5, -2, 3, 0, 1, 7, -4, 2, 6, -1, 8, 4, -3, 9, -5, 10),
  u = c(1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7),
  f = rep(c("b", "a", "c", "a"), 4),
  g = rep(c("lo", "hi"), each = 8),
  o = rep(c("D", "B", "A", "C"), times = c(3, 5, 4, 4)),
  b = rep(c(TRUE, FALSE, FALSE), length.out = n),
  s = rep(c("p", "q", "r", "s"), 4),
  stringsAsFactors = FALSE
)
new <- data.frame(
  x = c(-1, 0.3, 2.5, 10.2, 12), z = c(0, 20, 1, -6, 3), u = c(1, 2, 4, 7, 6), f = c("c", "a", "b", "b", "a"),
  g = c("hi", "lo", "hi", "hi", "lo"), o = c("A", "D", "C", "B", "D"), b = c(TRUE, FALSE, TRUE, TRUE, FALSE),
  s = c("p", "s", "q", "r", "p"), stringsAsFactors = FALSE
)
prepared <- function(d) transform(  # C() insists on factors
  d, f = factor(f), g = factor(g), s = factor(s), o = factor(o, levels = c("A", "B", "C", "D"), ordered = TRUE)
)

formulas <- c(
  "~ x + z", "~ f", "~ 0 + f", "~ f + g", "~ f * g", "~ f:g", "~ x:f", "~ x + x:f", "~ 0 + x:f", "~ f:x + g", "~ 0 + g + f",
  "~ 0 + x + f", "~ b", "~ 0 + b", "~ b * x", "~ o", "~ 0 + o", "~ o * g", "~ f * g * b", "~ f + f:g:x", "~ f:g + g:b",
  "~ x * z", "~ f / x", "~ g / f", "~ (f + g + x)^2 - f:g", "~ f %in% g", "~ 0 + f:g", "~ g + f:g + x:f:g",
  "~ I(x^2) + log(x) + exp(z / 10) + sqrt(x)", "~ log(x, base = 2) + log1p(x) + expm1(x / 10) + abs(z)",
  "~ I(x > 5) + I(f == \"a\")", "~ I(x %% 2) + I(-z * x / 3 - 1)", "~ factor(u)", "~ as.factor(u):x", "~ ordered(u)",
  "~ factor(f, levels = c(\"c\", \"a\", \"b\"))",
  "~ C(f, sum)", "~ C(f, contr.helmert)", "~ C(s, contr.poly)", "~ C(s, contr.sdif)", "~ C(s, contr.sum) * g",
  "~ C(f, contr.treatment(3, base = 2))",
  "~ scale(x) + scale(z, scale = FALSE) + scale(u, center = FALSE)", "~ scale(x):f", "~ scale(x, center = 2, scale = 4)",
  "~ poly(x, 1)", "~ poly(x, 3)", "~ poly(x, 3, raw = TRUE)", "~ poly(u, degree = 6)", "~ poly(x, 2) * f", "~ poly(z, 2):poly(x, 2)",
  "~ bs(x)", "~ bs(x, df = 6)", "~ bs(x, knots = c(2, 5))", "~ bs(x, df = 5, degree = 2)", "~ bs(x, df = 5, intercept = TRUE)",
  "~ bs(x, degree = 1, knots = 4)", "~ bs(x, df = 4, Boundary.knots = c(1, 9))", "~ bs(u, df = 5) + g", "~ 0 + bs(z, df = 7, degree = 3)",
  "~ ns(x)", "~ ns(x, df = 3)", "~ ns(x, df = 5)", "~ ns(x, knots = c(3, 6))", "~ ns(x, df = 4, intercept = TRUE)",
  "~ ns(x, df = 3, Boundary.knots = c(1, 9))", "~ ns(z, df = 4) * g", "~ ns(u, df = 2)"
)
matrices <- lapply(formulas, function(text) {
  train <- prepared(data); fresh <- prepared(new)
  form <- as.formula(text)
  frame <- suppressWarnings(model.frame(form, train))
  X <- model.matrix(form, frame)
  again <- suppressWarnings(model.frame(terms(frame), fresh, na.action = na.pass,
                                        xlev = .getXlevels(terms(frame), frame)))
  list(formula = text, names = colnames(X), assign = attr(X, "assign"), columns = unname(as.list(as.data.frame(X))),
       new = unname(as.list(as.data.frame(suppressWarnings(model.matrix(terms(frame), again, attr(X, "contrasts")))))))
})

with_contrasts <- list(
  list("~ f", list(f = "contr.sum")), list("~ f * s", list(f = "contr.sum", s = "contr.sum")),
  list("~ f + s", list(s = "contr.helmert")), list("~ o", list(o = "contr.treatment")), list("~ s", list(s = "contr.sdif")),
  list("~ s", list(s = "contr.poly")), list("~ b * f", list(b = "contr.sum", f = "contr.helmert")),
  list("~ s", list(s = cbind(c(1, 1, -1, -1), c(1, -1, 0, 0), c(0, 0, 1, -1)))),
  list("~ 0 + s + f", list(f = "contr.sum"))
)
coded <- lapply(with_contrasts, function(case) {
  X <- model.matrix(as.formula(case[[1]]), prepared(data), contrasts.arg = case[[2]])
  list(formula = case[[1]], contrasts = case[[2]], names = colnames(X), columns = unname(as.list(as.data.frame(X))))
})

contrasts <- lapply(c(2, 3, 5, 8, 12), function(k) {
  list(levels = k, treatment = contr.treatment(k), sum = contr.sum(k), helmert = contr.helmert(k),
       poly = unname(contr.poly(k)), poly_names = colnames(contr.poly(k)), diff = unname(contr.sdif(k)))
})

many <- data.frame(
  y = round(10 + 3 * sin(1:96) + (1:96) / 24, 3), x = round(cos(1:96) * 5, 3), f = rep(c("b", "a", "c"), 32),
  b = rep(c(TRUE, TRUE, FALSE, FALSE), 24), g = rep(paste0("g", 1:8), each = 12), h = rep(c("u", "v", "w"), each = 4, times = 8)
)
random_formulas <- c(
  "y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (0 + x | g)", "y ~ x + (f | g)", "y ~ x + (0 + f | g)", "y ~ 1 + (x * f | g)",
  "y ~ 1 + (x + b | g)", "y ~ x + (1 | g/h)", "y ~ x + (1 | g:h)", "y ~ x + (0 + x:f | g)", "y ~ x + (poly(x, 2) | g)", "y ~ f + (scale(x) | h:g)"
)
random <- lapply(random_formulas, function(text) {
  parsed <- lFormula(as.formula(text), many, control = lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.nRE = "ignore"))
  terms <- lapply(seq_along(parsed$reTrms$cnms), function(i) {
    group <- names(parsed$reTrms$cnms)[i]
    list(group = group, names = parsed$reTrms$cnms[[i]], levels = levels(parsed$reTrms$flist[[group]]))
  })
  rows <- diff(c(parsed$reTrms$Gp))
  # the columns of each term, read off Z: row sums over the blocks of one level
  Zt <- as.matrix(parsed$reTrms$Zt)
  for (i in seq_along(terms)) {
    k <- length(terms[[i]]$names)
    block <- Zt[(parsed$reTrms$Gp[i] + 1):parsed$reTrms$Gp[i + 1], , drop = FALSE]
    terms[[i]]$columns <- lapply(seq_len(k), function(j) unname(colSums(block[seq(j, nrow(block), by = k), , drop = FALSE])))
  }
  list(formula = text, terms = terms[order(-seq_along(terms))])
})

versions <- list(R = as.character(getRversion()), splines = as.character(packageVersion("splines")),
                 MASS = as.character(packageVersion("MASS")), lme4 = as.character(packageVersion("lme4")))
write(toJSON(list(versions = versions, data = as.list(data), new = as.list(new), many = as.list(many), matrices = matrices,
                  coded = coded, contrasts = contrasts, random = random), digits = I(16), na = "string"), "encoders.json")
