# Make emmeans.json: marginal means, contrasts and joint tests by R's emmeans. Run inside tests/reference:
#
#     Rscript emmeans.R                        # or: Rscript emmeans.R oats   (prints, writes nothing)
#
# Linear mixed models are handed to emmeans at an optimum with more digits than optimisers leave (optimum.R), glmmTMB's
# are polished by Newton steps. emmeans cuts degrees of freedom to whole numbers for adjust = "mvt": `mvt_p` and `mvt_c`
# are the same probabilities and quantiles for those that it has, by integration over the chi distribution.

source("models.R")
source("optimum.R")
suppressMessages({library(emmeans); library(lmerTest); library(pbkrtest); library(ordinal); library(mvtnorm)})
emm_options(msg.interaction = FALSE, msg.nesting = FALSE, lmerTest.limit = 5000, pbkrtest.limit = 5000)
only <- commandArgs(trailingOnly = TRUE)
data_sets <- c(shipped, read_extra())
read <- function(file) read.csv(file.path("data", paste0(file, ".csv")), stringsAsFactors = TRUE)
for (name in c("glmm", "contraception", "epil", "owls", "salamanders")) data_sets[[name]] <- read(name)
data_sets$wine <- transform(read("wine"), rating = ordered(rating))
data_sets$cbpp <- transform(data_sets$cbpp, period = factor(period))

# ---- questions ------------------------------------------------------------------------------------------------

# Marginal means, their contrasts (`method`, or `interaction`), or `joint` tests; the arguments are stored with the
# answers. `delta`: equivalence tests.
q <- function(specs = NULL, ...) c(if (length(specs)) list(specs = I(specs)), list(...))
qs <- function(...) list(...)

model_of <- function(id, kind, data, formula, ..., questions) list(id = id, kind = kind, data = data, formula = formula,
                                                                   questions = questions, ...)
usual <- function(a, ddf = NULL) lapply(list(
  q(a), q(a, adjust = "sidak"), q(a, adjust = "bonferroni", level = 0.9),
  q(a, method = "pairwise"), q(a, method = "revpairwise", adjust = "none"), q(a, method = "trt.vs.ctrl"),
  q(a, method = "consec"), q(a, method = "eff"), q(a, method = "del.eff", adjust = "holm"),
  q(a, method = "poly"), q(a, method = "mean_chg", adjust = "bonferroni")), function(x) c(x, list(ddf = ddf)))
both <- function(...) { x <- list(...); c(lapply(x, c, list(ddf = "satterthwaite")), lapply(x, c, list(ddf = "kenward-roger"))) }

models_here <- list(
  model_of("lm_one", "lm", "cake", "angle ~ recipe", questions = c(usual("recipe"), qs(
    q("recipe", method = "pairwise", adjust = "scheffe"), q("recipe", method = "pairwise", adjust = "mvt"),
    q("recipe", method = "pairwise", adjust = "fdr"), q("recipe", method = "trt.vs.ctrl", ref = 2, adjust = "sidak"),
    q("recipe", coefs = list("A against the others" = c(1, -0.5, -0.5), "B - C" = c(0, 1, -1)), adjust = "holm"),
    q("recipe", method = "pairwise", delta = 3), q("recipe", method = "pairwise", delta = 2, side = "noninferiority"),
    q("recipe", method = "pairwise", delta = 2, side = "nonsuperiority"), q(joint = TRUE)))),
  model_of("lm_unbalanced", "lm", "unbalanced", "y ~ f * g", questions = c(usual("f"), qs(
    q("f", weights = "proportional"), q("f", weights = "cells"), q("f", weights = "flat"), q("f", weights = "outer"),
    q("f", by = "g"), q("f", by = "g", method = "pairwise"), q("g", by = "f", method = "pairwise"),
    q(c("f", "g")), q(c("f", "g"), method = "pairwise"), q(c("f", "g"), method = "pairwise", adjust = "scheffe"),
    q(c("f", "g"), method = "consec"), q(c("f", "g"), interaction = c("pairwise", "pairwise")),
    q(c("f", "g"), interaction = c("eff", "consec")), q(joint = TRUE), q(joint = TRUE, by = "g"),
    q("f", weights = "cells", method = "pairwise", adjust = "sidak")))),
  model_of("lm_sum", "lm", "unbalanced", "y ~ f * g + x", contrasts = list(f = "sum", g = "sum"), questions = qs(
    q("f"), q("f", at = list(x = 2)), q(c("f", "x"), at = list(x = c(-1, 0.5))), q("f", weights = "proportional", method = "pairwise"),
    q("x", at = list(x = c(0, 1, 3)), method = "consec"), q(joint = TRUE), q(joint = TRUE, by = "f"))),
  model_of("lm_slopes", "lm", "unbalanced", "y ~ f * x + g", questions = qs(
    q("f"), q("f", at = list(x = c(-1, 1))), q("f", by = "x", at = list(x = c(-1, 1)), method = "pairwise"),
    q("f", at = list(f = c("a", "c")), method = "pairwise"), q(joint = TRUE), q(joint = TRUE, by = "g"))),
  model_of("lm_curve", "lm", "unbalanced", "y ~ poly(x, 2) + f:g + log(w)", questions = qs(
    q(c("f", "g")), q("g", at = list(x = 1, w = 2)), q("f", by = "g", method = "pairwise"))),
  model_of("lm_weights", "lm", "unbalanced", "y ~ f + g * x", weights = "w", questions = qs(
    q("f"), q("f", weights = "proportional"), q("g", weights = "cells"), q("f", method = "pairwise"), q("g", weights = "outer", method = "pairwise"))),
  model_of("lm_offset", "lm", "sleep_extra", "Reaction ~ third * half", offset = "known", weights = "w", questions = qs(
    q("third"), q("third", by = "half", method = "trt.vs.ctrl"), q("half", weights = "cells"))),
  model_of("lm_empty_cell", "lm", "cake_holes", "angle ~ recipe * temperature", questions = qs(
    q("recipe"), q("temperature"), q(c("recipe", "temperature")), q("recipe", weights = "cells"), q("recipe", weights = "flat"),
    q("recipe", method = "pairwise"), q("temperature", method = "consec", adjust = "none"), q("recipe", by = "temperature", method = "pairwise"),
    q("temperature", by = "recipe", method = "eff", adjust = "none"), q(joint = TRUE))),
  model_of("lm_log", "lm", "sleep_extra", "log(Reaction) ~ third + Days", questions = qs(
    q("third"), q("third", type = "response"), q("third", type = "response", bias_adjust = TRUE),
    q("third", type = "response", method = "pairwise"), q("Days", at = list(Days = c(0, 9)), type = "response"))),
  model_of("lm_sqrt", "lm", "sleep_extra", "sqrt(Reaction) ~ third + Days", questions = qs(
    q("third", type = "response"), q("third", type = "response", bias_adjust = TRUE), q("third", method = "pairwise"))),
  model_of("lm_logs", "lm", "sleep_extra", "log10(Reaction) ~ third", questions = qs(
    q("third", type = "response"), q("third", type = "response", method = "pairwise"))),
  model_of("cake", "lmer", "cake", "angle ~ recipe * temperature + (1 | recipe:replicate)", questions = c(
    usual("recipe", "satterthwaite"), usual("recipe", "kenward-roger"), both(
      q("temperature", by = "recipe"), q("recipe", by = "temperature", method = "pairwise"), q("temperature", method = "pairwise"),
      q(c("recipe", "temperature"), interaction = c("pairwise", "poly")), q("recipe", method = "pairwise", adjust = "mvt"),
      q("temperature", method = "poly"), q("recipe", method = "pairwise", adjust = "scheffe"),
      q(joint = TRUE), q(joint = TRUE, by = "recipe"), q("recipe", method = "pairwise", delta = 5)))),
  model_of("cake_holes", "lmer", "cake_holes", "angle ~ recipe * temperature + (1 | recipe:replicate)", questions = both(
    q("recipe"), q("temperature"), q("temperature", by = "recipe"), q("recipe", method = "pairwise"), q("recipe", by = "temperature", method = "pairwise"),
    q("temperature", method = "eff"), q("recipe", weights = "cells"))),
  model_of("oats", "lmer", "oats", "yield ~ Variety * factor(nitro) + (1 | Block / Variety)", questions = c(
    usual("Variety", "kenward-roger"), both(q("nitro", method = "poly"), q("nitro", by = "Variety", method = "consec"), q("nitro", method = "pairwise"),
      q(c("Variety", "nitro"), interaction = c("pairwise", "poly")), q("nitro", interaction = "consec", by = "Variety"), q(joint = TRUE)))),
  model_of("oats_line", "lmer", "oats", "yield ~ Variety * nitro + (1 | Block / Variety)", questions = both(
    q("Variety"), q("Variety", by = "nitro", at = list(nitro = c(0, 0.6)), method = "pairwise"), q("nitro", at = list(nitro = c(0, 0.2, 0.4)), method = "consec"),
    q(joint = TRUE))),
  model_of("sleep_slope", "lmer", "sleepstudy", "Reaction ~ Days + (Days | Subject)", questions = both(
    q("Days"), q("Days", at = list(Days = c(0, 5, 9))), q("Days", at = list(Days = c(0, 5, 9)), method = "revpairwise"))),
  model_of("machines_slopes", "lmer", "machines", "score ~ Machine + (0 + Machine | Worker)", questions = c(
    usual("Machine", "satterthwaite"), usual("Machine", "kenward-roger"))),
  model_of("unbalanced_slope", "lmer", "unbalanced", "y ~ f * g + f * x + (x | subject) + (1 | item)", questions = both(
    q("f"), q("g", weights = "proportional"), q("f", weights = "cells"), q("f", by = "g", method = "pairwise"), q("g", at = list(x = 1), method = "pairwise"),
    q("f", method = "trt.vs.ctrl"), q(c("f", "g"), interaction = c("consec", "pairwise")), q(joint = TRUE))),
  model_of("alfalfa", "lmer", "alfalfa", "Yield ~ Date * Variety + (1 | Block / Variety)", questions = both(
    q("Variety"), q("Date", method = "pairwise"), q("Date", by = "Variety", method = "trt.vs.ctrl", adjust = "bonferroni"), q(joint = TRUE))),
  model_of("pastes", "lmer", "pastes", "strength ~ cask + (1 | batch)", questions = both(q("cask"), q("cask", method = "pairwise"))),
  model_of("penicillin", "lmer", "penicillin", "diameter ~ sample + (1 | plate)", questions = both(
    q("sample"), q("sample", method = "pairwise"), q("sample", method = "consec"), q("sample", method = "poly"))),
  model_of("orthodont_ml", "lmer", "orthodont", "distance ~ age * Sex + (age | Subject)", reml = FALSE, questions = qs(
    q("Sex", ddf = "satterthwaite"), q("Sex", at = list(age = c(8, 14)), by = "age", method = "pairwise", ddf = "satterthwaite"),
    q("Sex", ddf = "normal", method = "pairwise"))),
  model_of("sleep_weights", "lmer", "sleep_extra", "Reaction ~ third * half + (1 | Subject)", weights = "w", questions = lapply(qs(
    q("third"), q("third", weights = "proportional"), q("half", by = "third", method = "pairwise"), q("third", method = "pairwise")),
    c, list(ddf = "satterthwaite"))),
  model_of("sleep_offset", "lmer", "sleep_extra", "Reaction ~ third + (1 | Subject)", offset = "known", questions = both(q("third"), q("third", method = "pairwise"))),
  model_of("lmer_log", "lmer", "sleep_extra", "log(Reaction) ~ third + Days + (1 | Subject)", questions = both(
    q("third", type = "response"), q("third", type = "response", bias_adjust = TRUE), q("third", type = "response", method = "pairwise"))),
  model_of("logit", "glm", "contraception", "use ~ urban * livch + age", family = "binomial", link = "logit", questions = c(usual("livch"), qs(
    q("livch", type = "response"), q("livch", by = "urban", type = "response", method = "pairwise"), q("urban", weights = "proportional", type = "response"),
    q("urban", type = "response", method = "pairwise"), q(joint = TRUE), q("livch", type = "response", bias_adjust = TRUE, sigma = 0.8)))),
  model_of("probit", "glm", "contraception", "use ~ urban + livch + age", family = "binomial", link = "probit", questions = qs(
    q("livch", type = "response"), q("livch", method = "pairwise"), q("livch", type = "response", bias_adjust = TRUE, sigma = 0.5))),
  model_of("cloglog", "glm", "contraception", "use ~ urban + livch + age", family = "binomial", link = "cloglog", questions = qs(
    q("livch", type = "response"), q("livch", type = "response", bias_adjust = TRUE, sigma = 0.5))),
  model_of("cauchit", "glm", "contraception", "use ~ urban + age", family = "binomial", link = "cauchit", questions = qs(
    q("urban", type = "response"), q("urban", type = "response", bias_adjust = TRUE, sigma = 0.3))),
  model_of("poisson", "glm", "epil", "y ~ trt * lbase + factor(visit)", family = "poisson", link = "log", questions = qs(
    q("trt"), q("trt", type = "response"), q("visit", type = "response", method = "consec"), q("visit", method = "pairwise", adjust = "mvt"),
    q("trt", by = "lbase", at = list(lbase = c(-1, 1)), type = "response", method = "pairwise"), q(joint = TRUE))),
  model_of("poisson_offset", "glm", "glmm", "count ~ f + x + offset(log(exposure))", family = "poisson", link = "log", questions = qs(
    q("f", type = "response"), q("f", type = "response", method = "pairwise"))),
  model_of("gamma_log", "glm", "glmm", "amount ~ f * x", family = "gamma", link = "log", questions = qs(
    q("f"), q("f", type = "response"), q("f", type = "response", method = "pairwise"), q("f", type = "response", bias_adjust = TRUE, sigma = 0.4), q(joint = TRUE))),
  model_of("gamma_inverse", "glm", "glmm", "amount ~ f + x", family = "gamma", link = "inverse", questions = qs(
    q("f", type = "response"), q("f", method = "pairwise"), q("f", type = "response", bias_adjust = TRUE, sigma = 0.05))),
  model_of("gaussian_log", "glm", "glmm", "amount ~ f + x", family = "gaussian", link = "log", questions = qs(q("f", type = "response"))),
  model_of("poisson_sqrt", "glm", "glmm", "count ~ f + x", family = "poisson", link = "sqrt", questions = qs(
    q("f", type = "response"), q("f", type = "response", bias_adjust = TRUE, sigma = 0.4))),
  model_of("glmer_cbpp", "glmmTMB", "cbpp", "incidence / size ~ period + (1 | herd)", r = "cbind(incidence, size - incidence) ~ period + (1 | herd)",
           family = "binomial", link = "logit", weights = "size", r_weights = FALSE, questions = c(usual("period"), qs(
    q("period", type = "response"), q("period", type = "response", bias_adjust = TRUE), q("period", type = "response", method = "pairwise"),
    q("period", method = "pairwise", adjust = "mvt"), q("period", method = "pairwise", adjust = "scheffe")))),
  model_of("glmer_poisson", "glmmTMB", "glmm", "count ~ x + f + (x | g) + (1 | h)", family = "poisson", link = "log", questions = qs(
    q("f"), q("f", type = "response"), q("f", type = "response", bias_adjust = TRUE, sigma = 0.6), q("f", type = "response", method = "trt.vs.ctrl"))),
  model_of("glmer_binary", "glmmTMB", "glmm", "binary ~ x * f + (1 | g)", family = "binomial", link = "logit", questions = qs(
    q("f", type = "response"), q("f", type = "response", bias_adjust = TRUE), q("f", by = "x", at = list(x = c(-1, 1)), method = "pairwise"), q(joint = TRUE))),
  model_of("nbinom2", "glmmTMB", "salamanders", "count ~ spp * mined + (1 | site)", family = "nbinom2", link = "log", questions = qs(
    q("mined", type = "response"), q("mined", by = "spp", type = "response", method = "pairwise"), q("spp", method = "pairwise"), q(joint = TRUE))),
  model_of("zip", "glmmTMB", "salamanders", "count ~ mined + (1 | site)", zi = "~ mined", family = "poisson", link = "log", questions = qs(
    q("mined", type = "response"), q("mined", method = "pairwise"))),
  model_of("ordinal", "clm", "wine", "rating ~ temp * contact", family = "cumulative", link = "logit", questions = qs(
    q("temp", method = "pairwise"), q("temp", by = "contact", method = "pairwise"), q(c("temp", "contact"), method = "eff"), q(joint = TRUE)))
)

# ---- fits -----------------------------------------------------------------------------------------------------

still <- c(optimizer = list(NULL), silent[setdiff(names(silent), "optimizer")])
class(still) <- class(silent)
still$calc.derivs <- FALSE
control_glm <- list(epsilon = 1e-14, maxit = 100)

fitted_here <- function(m) {
  assign("d", data_sets[[m$data]], envir = globalenv())
  m[["r"]] <- if (is.null(m[["r"]])) m$formula else m[["r"]]
  m$reml <- is.null(m$reml) || m$reml
  formula <- as.formula(m[["r"]], env = globalenv())
  extra <- list()
  if (!is.null(m$weights) && is.null(m[["r_weights"]])) extra$weights <- as.name(m$weights)
  if (!is.null(m$offset)) extra$offset <- as.name(m$offset)
  if (!is.null(m$contrasts)) extra$contrasts <- lapply(m$contrasts, function(name) paste0("contr.", name))
  family <- function() switch(m$family, gamma = Gamma(m$link), binomial = binomial(m$link), poisson = poisson(m$link),
                              gaussian = gaussian(m$link), nbinom2 = nbinom2(m$link))
  run <- function(f, ...) eval(as.call(c(list(f, formula, data = quote(d), ...), extra)), globalenv())
  switch(m$kind,
    lm = run(quote(lm)),
    glm = run(quote(glm), family = family(), control = control_glm),
    lmer = {
      problem <- lme4_problem(m, d)
      theta <- best_of(problem$devfun, problem$start, problem$lower)$par
      run(quote(lme4::lmer), REML = m$reml, start = theta, control = still)
    },
    clm = run(quote(ordinal::clm), link = m$link, control = list(gradTol = 1e-10)),
    glmmTMB = polished(run(quote(glmmTMB), family = family(), ziformula = as.formula(if (is.null(m$zi)) "~ 0" else m$zi))))
}

polished <- function(fit) {
  obj <- fit$obj
  obj$env$inner.control$tol <- 1e-13
  obj$env$inner.control$tol10 <- 0
  par <- fit$fit$par
  for (i in 1:8) {
    H <- numDeriv::jacobian(obj$gr, par, method.args = list(d = 0.01, eps = 0.01))
    step <- solve((H + t(H)) / 2, as.vector(obj$gr(par)))
    par <- par - step
    if (max(abs(step)) < 1e-10) break
  }
  H <- numDeriv::jacobian(obj$gr, par, method.args = list(d = 0.01, eps = 0.01))
  obj$fn(par)                              # also sets last.par
  names(par) <- names(fit$fit$par)
  fit$fit$par <- par
  fit$fit$parfull <- obj$env$last.par
  names(fit$fit$parfull) <- names(obj$env$last.par)
  fit$sdr <- TMB::sdreport(obj, par, hessian.fixed = (H + t(H)) / 2)
  dimnames(fit$sdr$cov.fixed) <- list(names(par), names(par))
  fit
}

total_sd <- function(fit, m) {
  if (m$kind == "lm") return(sigma(fit))
  vc <- if (m$kind == "glmmTMB") VarCorr(fit)$cond else VarCorr(fit)
  sqrt(sum(vapply(vc, function(v) v[1, 1], 0)) + if (m$kind == "lmer") sigma(fit)^2 else 0)
}

# ---- answers --------------------------------------------------------------------------------------------------

chi_mean <- function(f, df) {
  if (!is.finite(df)) return(f(1))
  u <- (1:80 - 0.5) / 80                 # midpoints of the chi distribution, in its own probabilities
  mean(vapply(sqrt(qchisq(u, df) / df), f, 0))
}
mvt_exact <- function(object, t, df, level, families) {
  set.seed(1)
  V <- vcov(object)
  p <- c <- rep(NA_real_, length(t))
  for (rows in families) {
    R <- cov2cor(V[rows, rows, drop = FALSE])
    inside <- function(x, df) chi_mean(function(s) pmvnorm(rep(-x * s, length(rows)), rep(x * s, length(rows)), corr = R,
      algorithm = GenzBretz(10000, 5e-5))[1], df)
    p[rows] <- 1 - mapply(inside, abs(t[rows]), df[rows])
    key <- round(df[rows], 8)
    for (each in unique(key)) {
      root <- uniroot(function(x) inside(x, each) - level, c(1, 8), tol = 1e-4)$root
      c[rows[key == each]] <- root
    }
  }
  list(p = p, c = c)
}

column <- function(s, names) { at <- which(names(s) %in% names); if (length(at)) I(unname(s[[at[1]]])) else NULL }

answer <- function(fit, m, a) {
  mode <- if (!is.null(a$ddf)) switch(a$ddf, normal = "asymptotic", a$ddf)
  # Normal theory for generalised mixed models: emmeans has residual df for glmmTMB, and none for glmer.
  extra <- switch(m$kind, lmer = list(lmer.df = mode), glmmTMB = list(df = Inf), list())
  level <- if (is.null(a$level)) 0.95 else a$level
  if (isTRUE(a$joint)) {
    grid <- list(fit)
    if (m$kind == "glmmTMB") {
      grid[[1]] <- ref_grid(fit, cov.reduce = emmeans:::meanint)
      grid[[1]]@dffun <- function(k, dfargs) Inf
    }
    if (length(a$by)) grid$by <- a$by
    j <- do.call(joint_tests, c(grid, if (m$kind != "glmmTMB") extra))
    return(list(term = I(as.character(j[["model term"]])), num_df = I(j$df1), den_df = I(ifelse(is.finite(j$df2), j$df2, 1e9)), statistic = I(j$F.ratio), p_value = I(j$p.value),
                by = if (length(a$by)) I(as.character(j[[a$by]]))))
  }
  args <- c(list(fit, specs = unclass(a$specs)), extra)
  if (length(a$by)) args$by <- a$by
  if (length(a$at)) args$at <- a$at
  if (length(a$weights)) args$weights <- a$weights
  e <- do.call(emmeans, args)
  if (!is.null(a$coefs)) e <- contrast(e, a$coefs)
  if (!is.null(a$interaction)) e <- contrast(e, interaction = a$interaction)
  if (!is.null(a$method)) {
    options <- list(e, a$method)
    if (!is.null(a$ref)) options$ref <- a$ref
    if (a$method %in% c("trt.vs.ctrl") && is.null(a$adjust)) a$adjust <- "mvt"
    e <- do.call(contrast, options)
  }
  if (!is.null(a$delta)) {
    s <- as.data.frame(test(e, delta = a$delta, side = if (is.null(a$side)) "equivalence" else a$side, adjust = "none"))
    return(list(estimate = column(s, "estimate"), se = I(s$SE), df = I(s$df), statistic = column(s, c("t.ratio", "z.ratio")), p_value = I(s$p.value)))
  }
  set.seed(7)
  options <- list(e, infer = c(TRUE, TRUE), level = level)
  if (!is.null(a$type)) options$type <- a$type
  if (!is.null(a$adjust)) options$adjust <- a$adjust
  if (isTRUE(a$bias_adjust)) {
    options$bias.adjust <- TRUE
    options$sigma <- if (is.null(a$sigma)) total_sd(fit, m) else a$sigma
  }
  s <- do.call(summary, options)
  said <- attr(s, "mesg")
  s <- as.data.frame(s)
  standard <- c("SE", "df", "lower.CL", "upper.CL", "asymp.LCL", "asymp.UCL", "t.ratio", "z.ratio", "p.value", "null", ".wgt.")
  value <- intersect(c("emmean", "estimate", "ratio", "odds.ratio", "prob", "rate", "response"), names(s))[1]
  labels <- lapply(s[setdiff(names(s), c(standard, value))], function(v) I(as.character(v)))
  out <- list(labels = labels, estimate = I(s[[value]]), se = I(s$SE), df = I(ifelse(is.infinite(s$df), 1e9, s$df)),
    lower = column(s, c("lower.CL", "asymp.LCL")), upper = column(s, c("upper.CL", "asymp.UCL")),
    statistic = column(s, c("t.ratio", "z.ratio")), p_value = I(s$p.value), sigma = options$sigma, said = I(said))
  used <- c(a$adjust, if (!is.null(a$method) && a$method %in% c("consec", "mean_chg")) "mvt")[1]
  if (identical(used, "mvt") && (!is.null(a$method) || !is.null(a$coefs))) {
    by <- if (length(a$by)) split(seq_along(s$df), s[a$by], drop = TRUE) else list(seq_along(s$df))
    link <- as.data.frame(summary(e, infer = c(TRUE, TRUE), adjust = "none", type = "link"))
    t <- link[[intersect(c("t.ratio", "z.ratio"), names(link))]]
    if (!anyNA(t)) { exact <- mvt_exact(e, t, s$df, level, by); out$mvt_p <- I(exact$p); out$mvt_c <- I(exact$c) }
  }
  out
}

describe <- function(m) {
  began <- proc.time()[3]
  fit <- suppressWarnings(suppressMessages(fitted_here(m)))
  assign("fit", fit, envir = globalenv())
  answers <- lapply(m$questions, function(a) {
    a <- a[!vapply(a, is.null, TRUE)]
    if (!length(a$specs)) a$specs <- NULL
    got <- tryCatch(suppressWarnings(suppressMessages(answer(fit, m, a))), error = function(e) { cat(m$id, deparse(a), conditionMessage(e), "\n"); list(failed = conditionMessage(e)) })
    list(question = a, answer = got)
  })
  cat(sprintf("%-18s %2d questions, %5.1f s\n", m$id, length(answers), proc.time()[3] - began))
  c(m[setdiff(names(m), c("questions", "r", "r_weights"))], list(answers = answers))
}

chosen <- if (length(only)) Filter(function(m) m$id %in% only, models_here) else models_here
found <- lapply(chosen, describe)
polynomials <- lapply(2:12, function(k) unname(as.list(emmeans:::poly.emmc(seq_len(k)))))
said <- list(versions = list(R = as.character(getRversion()), emmeans = as.character(packageVersion("emmeans")),
  lmerTest = as.character(packageVersion("lmerTest")), pbkrtest = as.character(packageVersion("pbkrtest"))),
  models = found, polynomials = polynomials)
json <- toJSON(said, digits = I(12), auto_unbox = TRUE, na = "null", null = "null")
if (length(only)) cat(substr(json, 1, 3000), "\n") else writeLines(json, "emmeans.json")
