# Make models.json: reference fits by R. Run inside tests/reference:  Rscript generate.R
#
# lme4's default tolerances are too loose to compare with at 1e-8, so: several derivative-free optimisers at tight
# tolerances, the best of them, then Newton steps on lme4's own criterion with extrapolated derivatives. `before` is
# what lme4's default call reaches.

source("models.R")
source("optimum.R")

write_extra()
data_sets <- c(shipped, read_extra())

covariance_of <- function(relative, sigma) {
  sd <- sqrt(diag(relative))
  R <- relative / ifelse(sd > 0, sd, 1)
  R <- t(t(R) / ifelse(sd > 0, sd, 1))
  diag(R) <- 1
  list(sd = sigma * sd, corr = unname(R))
}

describe_lme4 <- function(m, data) {
  problem <- lme4_problem(m, data)
  default <- do.call(lme4_default, list(m, problem))
  found <- best_of(problem$devfun, problem$start, problem$lower)
  problem$devfun(found$par)
  fit <- mkMerMod(environment(problem$devfun), list(par = found$par, fval = found$value, feval = 0, conv = 0, message = ""),
                  problem$parsed$reTrms, fr = problem$parsed$fr)
  sigma <- sigma(fit)
  re <- problem$parsed$reTrms
  terms <- lme4_terms(re, found$par)
  b <- getME(fit, "b")@x
  for (t in seq_along(terms)) {
    now <- terms[[t]]
    f <- re$flist[[attr(re$flist, "assign")[t]]]
    k <- length(now$names)
    block <- matrix(b[re$Gp[t] + seq_len(re$Gp[t + 1] - re$Gp[t])], k)
    show <- seq_len(min(4, nlevels(f)))
    terms[[t]] <- c(now, covariance_of(tcrossprod(now$lambda), sigma), list(
      levels = unname(lapply(levels(f)[show], function(level)
        as.character(unlist(data[match(level, f), now$parts])))),
      ranef = t(block[, show, drop = FALSE])))
  }
  if (isTRUE(m$merge)) {                                      # one term of mixwell, several of lme4
    terms <- list(list(
      group = terms[[1]]$group, parts = terms[[1]]$parts, names = m$id,
      lambda = diag(sapply(terms, function(t) t$lambda[1, 1])), sd = sapply(terms, `[[`, "sd"),
      corr = diag(length(terms)), levels = terms[[1]]$levels, ranef = do.call(cbind, lapply(terms, `[[`, "ranef"))))
  }
  list(id = m$id, data = m$data, formula = m$formula, r_formula = m$r, method = if (m$reml) "REML" else "ML",
       weights = m$weights, offset = m$offset, contrasts = m$contrasts, engine = "lme4",
       criterion = found$value, before = default, gradient = found$gradient, optimizer = found$optimizer,
       n = nrow(problem$parsed$fr), dropped = names(attr(problem$parsed$X, "col.dropped")),
       names = I(names(fixef(fit))), fixef = I(unname(fixef(fit))), se = I(unname(sqrt(diag(as.matrix(vcov(fit)))))),
       sigma = sigma, theta = I(unname(found$par)), terms = terms)
}

# What lme4 reaches by default, for the record.
lme4_default <- function(m, problem) {
  opt <- tryCatch(optimizeLmer(problem$devfun, control = list()), error = function(e) NULL)
  if (is.null(opt)) NA else opt$fval
}

# glmmTMB's own criterion at given parameters: its log standard deviations and its transforms of rho.
tmb_value <- function(m, data, problem, at) {
  tmb <- glmmTMB(as.formula(m$tmb), data, REML = m$reml)
  theta <- unlist(lapply(seq_along(problem$terms), function(i) {
    t <- problem$terms[[i]]
    part <- at$parts[[i]]
    rho <- if (t$size > t$sds) part[t$size]
    low <- -1 / (t$k - 1)
    c(log(part[seq_len(t$sds)] * sqrt(at$sigma2)),
      switch(t$structure, cs = qlogis((rho - low) / (1 - low)), ar1 = rho / sqrt(1 - rho^2)))
  }))
  par <- c(if (!m$reml) at$beta, log(at$sigma2), theta)
  list(here = 2 * as.numeric(tmb$obj$fn(par)), reached = -2 * as.numeric(logLik(tmb)))
}

describe_structured <- function(m, data) {
  problem <- dense_problem(m, data)
  within_bounds <- function(theta) {
    value <- tryCatch(problem$devfun(theta), error = function(e) 1e10)
    if (is.finite(value)) value else 1e10
  }
  found <- best_of(within_bounds, problem$start, problem$lower)
  at <- problem$solve_at(found$par)
  if (!is.null(m$tmb)) {
    engine <- "glmmTMB"
    value <- tmb_value(m, data, problem, at)
  } else {
    engine <- "lme4"
    same <- lme4_problem(list(r = m$lme4, reml = m$reml), data)
    reached <- best_of(same$devfun, same$start, same$lower)$value
    value <- list(here = reached, reached = reached)
  }
  stopifnot(abs(value$here - found$value) < 1e-8 * abs(found$value))
  terms <- lapply(seq_along(problem$terms), function(i) {
    t <- problem$terms[[i]]
    G <- problem$relative(t, at$parts[[i]])
    b <- matrix(kronecker(diag(nlevels(t$g)), G) %*% crossprod(t$Z, at$residual), t$k)
    show <- seq_len(min(4, nlevels(t$g)))
    c(list(group = t$group, parts = I(t$parts), names = I(t$names), theta = I(at$parts[[i]])),
      covariance_of(G, sqrt(at$sigma2)),
      list(levels = lapply(levels(t$g)[show], function(level) I(as.character(unlist(data[match(level, t$g), t$parts])))),
           ranef = t(b[, show, drop = FALSE])))
  })
  list(id = m$id, data = m$data, formula = m$formula, method = if (m$reml) "REML" else "ML",
       engine = engine, criterion = found$value, criterion_there = value$here, before = value$reached,
       gradient = found$gradient, optimizer = paste(found$optimizer, "on the dense likelihood"), n = nrow(problem$X),
       dropped = NULL, names = I(colnames(problem$X)), fixef = I(unname(at$beta)),
       se = I(unname(sqrt(at$sigma2 * diag(solve(at$S))))), sigma = sqrt(at$sigma2), theta = I(unname(found$par)),
       terms = terms)
}

only <- commandArgs(TRUE)
chosen <- if (length(only)) Filter(function(m) m$id %in% only, models) else models
fits <- lapply(chosen, function(m) {
  started <- Sys.time()
  fit <- suppressWarnings(suppressMessages(
    if (is.null(m$fixed)) describe_lme4(m, data_sets[[m$data]]) else describe_structured(m, data_sets[[m$data]])))
  cat(sprintf("%-24s %18.9f  default %+.1e  |g| %.0e  %.0f s  %s\n", m$id, fit$criterion, fit$before - fit$criterion,
              fit$gradient, as.numeric(Sys.time() - started, units = "secs"), paste(round(fit$theta, 4), collapse = " ")))
  fit
})
packages <- c("lme4", "glmmTMB", "nlme", "MASS", "mlmRev", "minqa", "nloptr", "numDeriv")
if (!length(only)) {
  header <- list(made_by = "tests/reference/generate.R", R = R.version.string,
                 packages = as.list(sapply(packages, function(p) as.character(packageVersion(p)))))
  text <- function(x) toJSON(x, digits = I(17), auto_unbox = TRUE, null = "null", na = "null")
  lines <- vapply(fits, text, "")                              # one model per line: readable differences
  writeLines(c(sub("}$", ',"models":[', text(header)), paste0(lines, c(rep(",", length(lines) - 1), "")), "]}"),
             "models.json")
}
