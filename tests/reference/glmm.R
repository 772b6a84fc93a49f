# Make glmm.json: generalised models by glmmTMB, ordinal, MASS and stats. Run inside tests/reference:  Rscript glmm.R
#
# An optimiser stops at its tolerance, so Newton steps on the package's own objective and gradient follow. `gradient` is
# what is left of that, in standard errors. What glmmTMB lacks (cauchit, loglog, inverse Gaussian) is in glmm.cpp, written
# for this purpose; cumulative models are fitted by ordinal::clmm, and glmm.cpp polishes the result.
#
# Rscript glmm.R NAME ... makes only these models, and prints them.

suppressMessages({library(glmmTMB); library(lme4); library(ordinal); library(MASS); library(mlmRev); library(jsonlite)})
only <- commandArgs(trailingOnly = TRUE)

# --- tables -------------------------------------------------------------------------------------------------------------

keep <- function(d, columns, file) {
  write.csv(d[, columns], file.path("data", paste0(file, ".csv")), row.names = FALSE, quote = FALSE)
  d
}
yes <- function(x) as.integer(x == levels(x)[2])
alphabetical <- function(x) factor(as.character(x), sort(unique(as.character(x)), method = "radix"))
read <- function(file) read.csv(file.path("data", paste0(file, ".csv")), stringsAsFactors = TRUE)
data("toenail", package = "HSAUR3")
toenail <- with(toenail, data.frame(outcome = yes(outcome), treatment, time = round(time, 6), patient = patientID))
data_sets <- list(
  glmm = transform(read("glmm"), id = factor(seq_len(240))), glmm_links = read("glmm_links"), mating = read("mating"),
  cbpp = keep(transform(lme4::cbpp, proportion = incidence / size), c("herd", "incidence", "size", "period", "proportion"), "cbpp"),
  grouseticks = keep(lme4::grouseticks, c("INDEX", "TICKS", "BROOD", "HEIGHT", "YEAR", "LOCATION"), "grouseticks"),
  contraception = keep(transform(Contraception, use = yes(use), livch = factor(paste0("n", livch))), c("use", "age", "livch", "urban", "district"), "contraception"),
  verbagg = keep(transform(VerbAgg, r2 = yes(r2)), c("r2", "Anger", "Gender", "btype", "situ", "id", "item"), "verbagg"),
  epil = keep(transform(MASS::epil, subject = factor(subject), row = factor(seq_len(236)), visit = period), c("y", "trt", "lbase", "lage", "V4", "visit", "subject", "row"), "epil"),
  bacteria = keep(transform(MASS::bacteria, y = yes(y), late = as.integer(week > 2), trt = alphabetical(trt)), c("y", "trt", "late", "ID"), "bacteria"),
  toenail = keep(toenail, names(toenail), "toenail"),
  salamanders = keep(transform(Salamanders, site = alphabetical(site), spp = alphabetical(spp), mined = alphabetical(mined)), c("count", "spp", "mined", "cover", "DOY", "site"), "salamanders"),
  owls = keep(Owls, c("SiblingNegotiation", "FoodTreatment", "ArrivalTime", "SexParent", "BroodSize", "Nest"), "owls"),
  wine = keep(ordinal::wine, c("rating", "temp", "contact", "bottle", "judge"), "wine"),
  quine = keep(MASS::quine, c("Eth", "Sex", "Age", "Lrn", "Days"), "quine")
)

# --- optima -------------------------------------------------------------------------------------------------------------

central <- function(f, par, step) sapply(seq_along(par), function(i) {
  e <- replace(numeric(length(par)), i, step[i])
  (8 * (f(par + e) - f(par - e)) - (f(par + 2 * e) - f(par - 2 * e))) / (12 * step[i])
})

polish <- function(obj, par) {
  gr <- function(p) as.vector(obj$gr(p))
  obj$env$inner.control$tol <- 1e-13
  obj$env$inner.control$tol10 <- 0  # do not call a change of 1e-3 nothing
  value <- as.numeric(obj$fn(par))
  H <- optimHess(par, obj$fn, obj$gr)
  for (i in 1:12) {
    e <- eigen((H + t(H)) / 2, symmetric = TRUE)
    step <- -e$vectors %*% (crossprod(e$vectors, gr(par)) / pmax(abs(e$values), 1e-9 * max(abs(e$values))))
    new <- par + as.vector(step)
    reached <- as.numeric(obj$fn(new))
    if (!is.finite(reached) || reached > value + 1e-8) break
    par <- new
    value <- reached
    H <- central(gr, par, pmin(0.02 / sqrt(pmax(abs(diag(H)), 1e-2)), 0.05))
    if (max(abs(gr(par)) / sqrt(pmax(abs(diag(H)), 1e-2))) < 1e-9) break
  }
  H <- central(gr, par, pmin(0.02 / sqrt(pmax(abs(diag(H)), 1e-2)), 0.05))
  H <- (H + t(H)) / 2
  # A variance of zero is a direction without an end, and without any influence.
  variance <- if (max(abs(eigen(H)$values)) / min(abs(eigen(H)$values)) < 1e14) diag(solve(H)) else diag(MASS::ginv(H, 1e-14))
  se <- sqrt(variance)
  value <- as.numeric(obj$fn(par))  # also sets the modes
  list(par = par, value = value, gradient = max(abs(gr(par)) * pmin(se, 1)), se = se)
}

at <- function(p, what) { i <- names(p$par) == what; list(estimate = unname(p$par[i]), se = unname(p$se[i])) }

# --- glmmTMB ------------------------------------------------------------------------------------------------------------

tmb <- function(name, formula, data, distribution, family, ours = formula, zi = NULL, disp = NULL, weights = NULL, link = NULL, start = NULL) {
  if (length(only) && !name %in% only) return(NULL)
  d <- data_sets[[data]]
  d$.w <- if (is.null(weights)) rep(1, nrow(d)) else d[[weights]]
  began <- proc.time()[3]
  fit <- suppressWarnings(glmmTMB(as.formula(formula), d, family = distribution, ziformula = as.formula(if (is.null(zi)) "~ 0" else zi),
    dispformula = as.formula(if (is.null(disp)) "~ 1" else disp), weights = .w, start = start,
    control = glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4))))
  p <- polish(fit$obj, fit$fit$par)
  r <- fit$obj$report(fit$obj$env$last.par)
  out <- list(name = name, source = "glmmTMB", data = data, formula = ours, family = family, link = link, weights = weights, zi_formula = zi,
       disp_formula = disp, loglik = -p$value, gradient = p$gradient, fixef = c(list(names = names(fixef(fit)$cond)), at(p, "beta")),
       zi = at(p, "betazi"), disp = at(p, "betad"), shape = at(p, "psi"), theta_se = I(at(p, "theta")$se),
       sd = I(as.numeric(unlist(r$sd))), correlation = I(as.numeric(unlist(lapply(r$corr, function(m) m[lower.tri(m)])))))
  if (!length(out$sd)) out$sd <- out$correlation <- out$theta_se <- NULL
  cat(sprintf("%-22s %14.6f  gradient %.1e  %4.1f s\n", name, -p$value, p$gradient, proc.time()[3] - began))
  out
}

B <- "binomial"
N <- "glmm"
L <- "glmm_links"
mixed <- list(
  # one design, each family at its usual link
  tmb("logit", "binary ~ x + f + (1 | g)", N, binomial, B),
  tmb("probit_crossed", "binary ~ x + (1 | g) + (1 | h)", N, binomial("probit"), B, link = "probit"),
  tmb("cloglog", "binary ~ x + (1 | g)", N, binomial("cloglog"), B, link = "cloglog"),
  tmb("slopes", "cbind(hits, trials - hits) ~ x + (x | g)", N, binomial, B),
  tmb("diagonal", "cbind(hits, trials - hits) ~ x + (1 | g) + (0 + x | g)", N, binomial, B, ours = "cbind(hits, trials - hits) ~ x + (x || g)"),
  tmb("weighted", "binary ~ x + (1 | g)", N, binomial, B, weights = "w"),
  tmb("poisson_slopes", "count ~ x + f + (x | g) + (1 | h)", N, poisson, "poisson"),
  tmb("poisson_weighted", "count ~ x + (1 | g)", N, poisson, "poisson", weights = "w"),
  tmb("poisson_cs", "count ~ x + cs(0 + f | g)", N, poisson, "poisson"),
  tmb("poisson_diag", "count ~ x + diag(0 + f | g)", N, poisson, "poisson"),
  tmb("offset_nested", "count ~ x + offset(log(exposure)) + (1 | g) + (1 | g:h)", N, poisson, "poisson", ours = "count ~ x + offset(log(exposure)) + (1 | g/h)"),
  tmb("observation_level", "count ~ x + (1 | g) + (1 | id)", N, poisson, "poisson"),
  tmb("nbinom2", "over ~ x + (1 | g)", N, nbinom2, "nbinom2"),
  tmb("nbinom1", "over ~ x + (1 | g)", N, nbinom1, "nbinom1"),
  tmb("nbinom2_dispersion", "over ~ x + (1 | g)", N, nbinom2, "nbinom2", disp = "~ z"),
  tmb("zip", "excess ~ x + (1 | g)", N, poisson, "poisson", zi = "~ 1"),
  tmb("zinb_x", "excess ~ x + (1 | g)", N, nbinom2, "nbinom2", zi = "~ z"),
  tmb("hurdle", "excess ~ x + (1 | g)", N, truncated_poisson, "truncated_poisson", zi = "~ z"),
  tmb("hurdle_nb", "over ~ x + (1 | g)", N, truncated_nbinom2, "truncated_nbinom2", zi = "~ 1"),
  tmb("gamma_log", "amount ~ x + f + (1 | g)", N, Gamma("log"), "gamma", link = "log"),
  tmb("gamma_slopes", "amount ~ x + (x | g)", N, Gamma("log"), "gamma", link = "log"),
  tmb("beta", "rate ~ x + (1 | g)", N, beta_family, "beta"),
  tmb("betabinomial", "cbind(overhits, trials - overhits) ~ x + (1 | g)", N, betabinomial, "betabinomial"),
  tmb("tweedie", "rain ~ x + (1 | g)", N, tweedie, "tweedie"),
  tmb("student", "heavy ~ x + (1 | g)", N, t_family, "t"),
  tmb("gaussian_log", "amount ~ x + (1 | g)", N, gaussian("log"), "gaussian", link = "log"),
  tmb("gaussian_dispersion", "real ~ x + (1 | g)", N, gaussian, "gaussian", disp = "~ z"),
  # the other links
  tmb("binomial_log", "cbind(hits_log, trials - hits_log) ~ x + (1 | g)", L, binomial("log"), B, link = "log", start = list(beta = c(-1.2, 0.5), theta = -2)),
  tmb("poisson_sqrt", "count_sqrt ~ x + (1 | g)", L, poisson("sqrt"), "poisson", link = "sqrt"),
  tmb("poisson_identity", "count_identity ~ x + (1 | g)", L, poisson("identity"), "poisson", link = "identity"),
  tmb("nbinom2_sqrt", "over_sqrt ~ x + (1 | g)", L, nbinom2("sqrt"), "nbinom2", link = "sqrt"),
  tmb("nbinom2_identity", "over_identity ~ x + (1 | g)", L, nbinom2("identity"), "nbinom2", link = "identity"),
  tmb("nbinom1_sqrt", "linear_sqrt ~ x + (1 | g)", L, nbinom1("sqrt"), "nbinom1", link = "sqrt"),
  tmb("nbinom1_disp", "linear_log ~ x + (1 | g)", L, nbinom1, "nbinom1", disp = "~ z"),
  tmb("zinb1", "zero_linear ~ x + (1 | g)", L, nbinom1, "nbinom1", zi = "~ 1"),
  tmb("hurdle_nb1", "zero_linear ~ x + (1 | g)", L, truncated_nbinom1, "truncated_nbinom1", zi = "~ x"),
  tmb("hurdle_nb2", "zero_linear ~ x + (1 | g)", L, truncated_nbinom2, "truncated_nbinom2", zi = "~ x", disp = "~ z"),
  tmb("truncated", "positive_count ~ x + (1 | g)", L, truncated_poisson, "truncated_poisson"),
  tmb("gamma_inverse", "amount_inverse ~ x + (1 | g)", L, Gamma("inverse"), "gamma", link = "inverse"),
  tmb("gamma_identity", "amount_identity ~ x + (1 | g)", L, Gamma("identity"), "gamma", link = "identity"),
  tmb("gamma_dispersion", "amount_dispersed ~ x + (1 | g)", L, Gamma("log"), "gamma", link = "log", disp = "~ z"),
  tmb("gamma_hurdle", "dry ~ x + (1 | g)", L, ziGamma("log"), "gamma", link = "log", zi = "~ x"),
  tmb("gaussian_inverse", "real_inverse ~ x + (1 | g)", L, gaussian("inverse"), "gaussian", link = "inverse"),
  tmb("gaussian_sqrt", "real_sqrt ~ x + (1 | g)", L, gaussian("sqrt"), "gaussian", link = "sqrt"),
  tmb("beta_probit", "share ~ x + (1 | g)", L, beta_family("probit"), "beta", link = "probit"),
  tmb("beta_cloglog", "share_cloglog ~ x + (1 | g)", L, beta_family("cloglog"), "beta", link = "cloglog"),
  tmb("beta_dispersion", "share ~ x + (1 | g)", L, beta_family, "beta", disp = "~ z"),
  tmb("betabinomial_probit", "cbind(overhits, trials - overhits) ~ x + (1 | g)", L, betabinomial("probit"), "betabinomial", link = "probit"),
  tmb("betabinomial_cloglog", "cbind(overhits, trials - overhits) ~ x + (1 | g)", L, betabinomial("cloglog"), "betabinomial", link = "cloglog"),
  tmb("tweedie_sqrt", "rain ~ x + (1 | g)", L, tweedie("sqrt"), "tweedie", link = "sqrt"),
  tmb("tweedie_identity", "rain ~ x + (1 | g)", L, tweedie("identity"), "tweedie", link = "identity"),
  tmb("student_heavy", "heavy ~ x + (1 | g)", L, t_family, "t"),
  tmb("student_log", "heavy_log ~ x + (1 | g)", L, t_family("log"), "t", link = "log"),
  # classic data sets
  tmb("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", binomial, B),
  tmb("cbpp_shares", "proportion ~ period + (1 | herd)", "cbpp", binomial, B, weights = "size"),
  tmb("grouseticks", "TICKS ~ YEAR + HEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", "grouseticks", poisson, "poisson"),
  tmb("contraception", "use ~ age + I(age^2) + urban + livch + (1 | district)", "contraception", binomial, B),
  tmb("contraception_slopes", "use ~ age + I(age^2) + urban + livch + (urban | district)", "contraception", binomial, B),
  tmb("verbagg", "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", "verbagg", binomial, B),
  tmb("mating", "mated ~ female_kind * male_kind + (1 | female) + (1 | male)", "mating", binomial, B),
  tmb("toenail", "outcome ~ treatment * time + (1 | patient)", "toenail", binomial, B),
  tmb("bacteria", "y ~ trt + late + (1 | ID)", "bacteria", binomial, B),
  tmb("epil_nbinom2", "y ~ lbase * trt + lage + V4 + (1 | subject)", "epil", nbinom2, "nbinom2"),
  tmb("epil_observation", "y ~ lbase * trt + lage + V4 + (1 | subject) + (1 | row)", "epil", poisson, "poisson"),
  tmb("epil_slopes", "y ~ lbase * trt + lage + visit + (visit | subject)", "epil", poisson, "poisson"),
  tmb("epil_ar1", "y ~ lbase * trt + lage + ar1(0 + factor(visit) | subject)", "epil", poisson, "poisson"),
  tmb("salamanders_poisson", "count ~ spp + mined + (1 | site)", "salamanders", poisson, "poisson", zi = "~ mined"),
  tmb("salamanders", "count ~ spp + mined + (1 | site)", "salamanders", nbinom2, "nbinom2", zi = "~ spp + mined", disp = "~ DOY"),
  tmb("owls", "SiblingNegotiation ~ FoodTreatment * SexParent + ArrivalTime + offset(log(BroodSize)) + (1 | Nest)", "owls", nbinom2, "nbinom2", zi = "~ 1"),
  tmb("owls_nbinom1", "SiblingNegotiation ~ FoodTreatment * SexParent + ArrivalTime + offset(log(BroodSize)) + (1 | Nest)", "owls", nbinom1, "nbinom1", zi = "~ FoodTreatment", disp = "~ SexParent"),
  # without random effects
  tmb("quine_nbinom2", "Days ~ Sex + Age + Eth * Lrn", "quine", nbinom2, "nbinom2"),
  tmb("quine_nbinom1", "Days ~ Sex + Age + Eth * Lrn", "quine", nbinom1, "nbinom1"),
  tmb("beta_plain", "rate ~ x + f", N, beta_family, "beta"),
  tmb("betabinomial_plain", "cbind(overhits, trials - overhits) ~ x + f", N, betabinomial, "betabinomial")
)

# --- glmm.cpp -----------------------------------------------------------------------------------------------------------

LINKS <- c("identity", "log", "inverse", "sqrt", "inverse_squared", "logit", "probit", "cloglog", "loglog", "cauchit")
FAMILIES <- c("binomial", "inverse_gaussian", "cumulative", "beta", "betabinomial")
build <- file.path(tempdir(), "glmm.cpp")
file.copy("glmm.cpp", build)
invisible(capture.output(TMB::compile(build, flags = "-O1 -w")))
dyn.load(TMB::dynlib(file.path(tempdir(), "glmm")))

made <- function(y, trials, X, groups, family, link, beta, sd, gamma) {
  Z <- do.call(cbind, c(list(Matrix::Matrix(0, length(y), 0, sparse = TRUE)), lapply(groups, function(g) t(Matrix::fac2sparse(g)))))
  levels <- vapply(groups, nlevels, 0L)
  data <- list(y = as.numeric(y), trials = as.numeric(trials), offset = numeric(length(y)), X = unname(X), Z = methods::as(methods::as(Z, "generalMatrix"), "CsparseMatrix"),
               term = rep(seq_along(groups), levels) - 1L, family = match(family, FAMILIES) - 1L, link = match(link, LINKS) - 1L)
  TMB::MakeADFun(data, list(beta = beta, theta = log(sd), gamma = gamma, b = numeric(sum(levels))), random = if (length(groups)) "b", DLL = "glmm", silent = TRUE)
}

own <- function(name, response, fixed, groups, data, family, link, beta, sd, gamma = numeric()) {
  if (length(only) && !name %in% only) return(NULL)
  d <- data_sets[[data]]
  X <- model.matrix(as.formula(fixed), d)
  shares <- grepl("binomial", family)
  trials <- if (shares) d$trials else rep(1, nrow(d))
  obj <- made(d[[response]], trials, X, lapply(groups, function(g) d[[g]]), family, link, beta, sd, gamma)
  fit <- suppressWarnings(nlminb(obj$par, obj$fn, obj$gr, control = list(rel.tol = 1e-12, iter.max = 500, eval.max = 1000)))
  p <- polish(obj, fit$par)
  cat(sprintf("%-22s %14.6f  gradient %.1e\n", name, -p$value, p$gradient))
  left <- if (shares) sprintf("cbind(%s, trials - %s)", response, response) else response
  list(name = name, source = "glmm.cpp", data = data, formula = paste(left, fixed, paste0("+ (1 | ", groups, ")", collapse = " ")),
       family = family, link = link, loglik = -p$value, gradient = p$gradient, fixef = c(list(names = colnames(X)), at(p, "beta")),
       zi = list(), disp = at(p, "gamma"), shape = list(), sd = I(exp(at(p, "theta")$estimate)), theta_se = I(at(p, "theta")$se), correlation = I(numeric()))
}

I_ <- "inverse_gaussian"
unusual <- list(
  own("binomial_cauchit", "hits_cauchit", "~ x", "g", L, B, "cauchit", c(-0.6, 1.2), 0.5),
  own("binomial_loglog", "hits_loglog", "~ x", "g", L, B, "loglog", c(-0.6, 1.2), 0.5),
  own("binomial_identity", "hits_identity", "~ x", "g", L, B, "identity", c(0.35, 0.2), 0.05),  # glmmTMB: NaN at any start
  own("cauchit_crossed", "hits_crossed", "~ x", c("g", "h"), L, B, "cauchit", c(-0.6, 1.2), c(0.5, 0.6)),
  own("logit_again", "hits_loglog", "~ x + z", "g", L, B, "logit", c(-0.6, 1.2, 0), 0.5),  # the program against glmmTMB, below
  own("inverse_gaussian", "wald_squared", "~ x", "g", L, I_, "inverse_squared", c(0.8, 0.6), 0.1, -1.9),
  own("inverse_gaussian_log", "wald_log", "~ x", "g", L, I_, "log", c(0.8, 0.6), 0.5, -2.3),
  own("inverse_gaussian_inverse", "wald_inverse", "~ x", "g", L, I_, "inverse", c(0.8, 0.6), 0.1, -1.9),
  own("inverse_gaussian_identity", "wald_identity", "~ x", "g", L, I_, "identity", c(4, 2), 0.6, -3.9),
  own("beta_loglog", "share_loglog", "~ x", "g", L, "beta", "loglog", c(-0.6, 1.2), 0.5, 2.3),
  own("beta_cauchit", "share_cauchit", "~ x", "g", L, "beta", "cauchit", c(-0.6, 1.2), 0.5, 2.3),
  own("betabinomial_loglog", "overhits", "~ x", "g", L, "betabinomial", "loglog", c(-0.2, 0.8), 0.3, 1.6),
  own("betabinomial_cauchit", "overhits", "~ x", "g", L, "betabinomial", "cauchit", c(-0.6, 1.2), 0.3, 1.6)
)
if (!length(only)) {
  there <- tmb("logit_again", "cbind(hits_loglog, trials - hits_loglog) ~ x + z + (1 | g)", L, binomial, B)
  here <- Filter(function(m) identical(m$name, "logit_again"), unusual)[[1]]
  stopifnot(abs(there$loglik - here$loglik) < 1e-9, all.equal(there$fixef$se, here$fixef$se, tolerance = 1e-7))
}

# --- ordinal ------------------------------------------------------------------------------------------------------------

ordered_mixed <- function(name, data, response, fixed, groups, link) {
  if (length(only) && !name %in% only) return(NULL)
  d <- data_sets[[data]]
  d$.y <- factor(d[[response]], ordered = TRUE)
  # With one grouping factor clmm has cloglog and loglog the other way round than clm (ordinal 2022.11-16); ours are clm's.
  named <- if (length(groups) == 1 && link %in% c("cloglog", "loglog")) setdiff(c("cloglog", "loglog"), link) else link
  terms <- paste0("+ (1 | ", groups, ")", collapse = " ")
  fit <- suppressWarnings(clmm(as.formula(paste(".y", fixed, terms)), data = d, link = named, control = clmm.control(gradTol = 1e-7, maxIter = 500)))
  X <- model.matrix(as.formula(fixed), d)[, -1, drop = FALSE]
  by <- lapply(groups, function(g) d[[g]])
  sd <- vapply(groups, function(g) as.numeric(attr(VarCorr(fit)[[g]], "stddev")), 0)
  obj <- made(as.integer(d$.y) - 1, rep(1, nrow(d)), X, by, "cumulative", link, unname(fit$beta), unname(sd), unname(fit$alpha))
  p <- polish(obj, obj$par)
  # Where clmm's search for the modes stops short of them (it says so), its log-likelihood is off.
  there <- -as.numeric(obj$fn(obj$par)) - as.numeric(logLik(fit))
  cat(sprintf("%-22s %14.6f  gradient %.1e  clmm is off by %.1e, by %.1e where it stopped\n", name, -p$value, p$gradient,
              -p$value - as.numeric(logLik(fit)), there))
  stopifnot(abs(there) < 2e-3, -p$value > as.numeric(logLik(fit)) - 1e-6)
  list(name = name, source = "clmm", data = data, formula = paste(response, fixed, terms), family = "cumulative", link = link,
       loglik = -p$value, gradient = p$gradient, fixef = c(list(names = colnames(X)), at(p, "beta")), thresholds = at(p, "gamma"),
       sd = I(exp(at(p, "theta")$estimate)), theta_se = I(at(p, "theta")$se), correlation = I(numeric()))
}
ORDERED <- c("logit", "probit", "cloglog", "loglog", "cauchit")
ordered_models <- c(
  lapply(ORDERED, function(link) ordered_mixed(paste0("clmm_", link), N, "grade", "~ x", "g", link)),
  lapply(c("logit", "probit", "cloglog"), function(link) ordered_mixed(paste0("clmm_crossed_", link), L, "grade", "~ x + z", c("g", "h"), link)),
  lapply("logit", function(link) ordered_mixed("wine", "wine", "rating", "~ temp + contact", c("judge", "bottle"), link))
)
ordered_plain <- lapply(ORDERED, function(link) {
  name <- paste0("clm_", link)
  if (length(only) && !name %in% only) return(NULL)
  fit <- clm(rating ~ temp + contact, data = data_sets$wine, link = link, control = clm.control(gradTol = 1e-13, maxIter = 200))
  se <- unname(sqrt(diag(vcov(fit))))
  k <- length(fit$alpha)
  if (link == "cauchit") {  # clm takes 1e5 for infinity, beyond which a Cauchy variable is found with probability 3e-6
    X <- model.matrix(rating ~ temp + contact, data_sets$wine)[, -1]
    p <- polish(made(as.integer(data_sets$wine$rating) - 1, rep(1, nrow(X)), X, list(), "cumulative", link, unname(fit$beta), numeric(), unname(fit$alpha)), c(fit$beta, fit$alpha))
    p$par <- setNames(p$par, rep(c("beta", "gamma"), c(2, k)))
    cat(sprintf("%-22s %14.6f  gradient %.1e  clm is off by %.1e\n", name, -p$value, p$gradient, -p$value - as.numeric(logLik(fit))))
    return(list(name = name, source = "glmm.cpp", data = "wine", formula = "rating ~ temp + contact", family = "cumulative", link = link, loglik = -p$value,
         gradient = p$gradient, fixef = c(list(names = names(fit$beta)), at(p, "beta")), thresholds = at(p, "gamma")))
  }
  list(name = name, source = "clm", data = "wine", formula = "rating ~ temp + contact", family = "cumulative", link = link, loglik = as.numeric(logLik(fit)),
       gradient = max(abs(fit$gradient) * se), fixef = list(names = names(fit$beta), estimate = unname(fit$beta), se = se[-seq_len(k)]),
       thresholds = list(estimate = unname(fit$alpha), se = se[seq_len(k)]))
})

# --- generalised linear models ------------------------------------------------------------------------------------------

# Coefficients do not depend on the dispersion; its maximum-likelihood estimate, for the log-likelihood, is found here.
likelihood <- function(fit) {
  y <- fit$y
  mu <- fitted(fit)
  switch(fit$family$family,
    gaussian = sum(dnorm(y, mu, sqrt(mean((y - mu)^2)), log = TRUE)),
    Gamma = {
      gap <- mean(y / mu - log(y / mu) - 1)
      shape <- uniroot(function(a) log(a) - digamma(a) - gap, c(1e-3, 1e4), tol = 1e-14)$root
      sum(dgamma(y, shape, shape / mu, log = TRUE))
    },
    inverse.gaussian = {
      phi <- mean((y - mu)^2 / (mu^2 * y))
      sum(-0.5 * (log(2 * pi * phi) + 3 * log(y) + (y - mu)^2 / (phi * mu^2 * y)))
    },
    as.numeric(logLik(fit))
  )
}
plain <- function(name, formula, data, distribution, family, link = NULL, weights = NULL, start = NULL) {
  if (length(only) && !name %in% only) return(NULL)
  d <- data_sets[[data]]
  d$.w <- if (is.null(weights)) rep(1, nrow(d)) else d[[weights]]
  fit <- glm(as.formula(formula), distribution, d, weights = .w, start = start, control = list(epsilon = 1e-16, maxit = 30))
  quasi <- startsWith(distribution$family, "quasi")
  score <- crossprod(model.matrix(fit), residuals(fit, "working") * fit$weights)
  out <- list(name = name, source = "glm", data = data, formula = formula, family = family, link = link, weights = weights,
       gradient = max(abs(score) * sqrt(diag(summary(fit)$cov.unscaled))) / sqrt(summary(fit)$dispersion),
       fixef = list(names = names(coef(fit)), estimate = unname(coef(fit)), se = unname(sqrt(diag(vcov(fit))))),
       deviance = fit$deviance, pearson = summary(fit)$dispersion)
  if (!quasi) out$loglik <- likelihood(fit)
  out
}
hits <- function(x, y = "hits") sprintf("cbind(%s, trials - %s) ~ %s", y, y, x)
plain_models <- list(
  plain("glm_logit", hits("x + f"), N, binomial(), B),
  plain("glm_probit", hits("x + f"), N, binomial("probit"), B, "probit"),
  plain("glm_cloglog", hits("x + f"), N, binomial("cloglog"), B, "cloglog"),
  plain("glm_cauchit", hits("x + f"), N, binomial("cauchit"), B, "cauchit"),
  plain("glm_binomial_log", hits("x", "hits_log"), L, binomial("log"), B, "log", start = c(-1.2, 0.3)),
  plain("glm_binomial_identity", hits("x", "hits_identity"), L, binomial("identity"), B, "identity", start = c(0.4, 0.1)),
  plain("glm_poisson", "count ~ x + f", N, poisson(), "poisson"),
  plain("glm_sqrt", "count ~ x + f", N, poisson("sqrt"), "poisson", "sqrt"),
  plain("glm_identity", "count ~ f", N, poisson("identity"), "poisson", "identity"),
  plain("glm_poisson_identity", "count_identity ~ x + z", L, poisson("identity"), "poisson", "identity"),
  plain("glm_poisson_weighted", "count ~ x + f", N, poisson(), "poisson", weights = "w"),
  plain("glm_gamma", "amount ~ x + f", N, Gamma("log"), "gamma", "log"),
  plain("glm_gamma_inverse", "amount ~ f", N, Gamma(), "gamma"),
  plain("glm_gamma_inverse_x", "amount_inverse ~ x + z", L, Gamma(), "gamma"),
  plain("glm_gamma_identity", "amount_identity ~ x + z", L, Gamma("identity"), "gamma", "identity"),
  plain("glm_gaussian_log", "amount_identity ~ x + z", L, gaussian("log"), "gaussian", "log", start = c(1.4, 0.3, 0)),
  plain("glm_gaussian_inverse", "real_inverse ~ x + z", L, gaussian("inverse"), "gaussian", "inverse", start = c(0.8, 0.6, 0)),
  plain("glm_gaussian_sqrt", "real_sqrt ~ x + z", L, gaussian(make.link("sqrt")), "gaussian", "sqrt", start = c(1.5, 0.8, 0)),
  plain("glm_inverse_gaussian", "wald_squared ~ x + z", L, inverse.gaussian(), I_),
  plain("glm_inverse_gaussian_log", "wald_log ~ x + z", L, inverse.gaussian("log"), I_, "log"),
  plain("glm_inverse_gaussian_inverse", "wald_inverse ~ x + z", L, inverse.gaussian("inverse"), I_, "inverse"),
  plain("glm_inverse_gaussian_identity", "wald_identity ~ x + z", L, inverse.gaussian("identity"), I_, "identity"),
  plain("glm_quasipoisson", "over ~ x + f", N, quasipoisson(), "quasipoisson"),
  plain("glm_quasibinomial", hits("x + f", "overhits"), N, quasibinomial(), "quasibinomial")
)

# The standard errors of glm.nb hold theta fixed, at the expected information; those of quine_nbinom2 do not.
negative <- if (length(only)) NULL else {
  fit <- glm.nb(Days ~ Sex + Age + Eth * Lrn, quine, control = glm.control(epsilon = 1e-14, maxit = 100))
  list(loglik = as.numeric(logLik(fit)), theta = fit$theta, fixef = unname(coef(fit)))
}

# Wald chi-squares of car, type III with sum-to-zero contrasts.
wald <- function(type, contrasts) {
  fit <- glmmTMB(binary ~ x * f + z + (1 | g), data_sets$glmm, family = binomial, contrasts = contrasts)
  table <- car::Anova(fit, type = type)
  table <- table[rownames(table) != "(Intercept)", ]
  list(term = rownames(table), statistic = table$Chisq, df = table$Df)
}

versions <- sapply(c("glmmTMB", "TMB", "ordinal", "MASS", "lme4", "mlmRev", "HSAUR3"), function(p) as.character(packageVersion(p)))
text <- function(x) toJSON(x, digits = NA, auto_unbox = TRUE, null = "null")
models <- Filter(Negate(is.null), c(mixed, unusual, ordered_models, ordered_plain, plain_models))
models <- lapply(models, function(m) m[!vapply(m, is.null, TRUE)])
if (length(only)) {
  cat(toJSON(models, digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
} else {
  writeLines(text(list(type2 = wald(2, list(f = "contr.treatment")), type3 = wald(3, list(f = "contr.sum")))), "glmm_anova.json")
  lines <- vapply(models, text, "")
  writeLines(c("{", paste0("\"versions\": ", text(as.list(c(R = as.character(getRversion()), versions))), ","),
               paste0("\"glm.nb\": ", text(negative), ","), "\"models\": [", paste(lines, collapse = ",\n"), "]}"), "glmm.json")
}
