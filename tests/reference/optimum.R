# The optimum of a criterion to more digits than any optimiser stops at. Read by generate.R and inference.R.

# Newton on the parameters that are not held at their lower bound.
polish <- function(f, par, lower, method = list(d = 0.02, eps = 1e-3, r = 5)) {
  value <- f(par)
  gradient <- NULL
  for (i in which(is.finite(lower) & par < lower + 2e-2)) {      # is it exactly zero?
    at_zero <- replace(par, i, lower[i])
    if (f(at_zero) <= value + 1e-9) { par <- at_zero; value <- f(par) }
  }
  for (iteration in 1:15) {
    free <- which(!(is.finite(lower) & par <= lower))
    if (!length(free)) return(list(par = par, value = value, gradient = 0))
    g <- function(z) f(replace(par, free, z))
    gradient <- numDeriv::grad(g, par[free], method.args = method)
    e <- eigen(numDeriv::hessian(g, par[free]), symmetric = TRUE)
    keep <- e$values > 1e-5 * max(e$values)
    V <- e$vectors[, keep, drop = FALSE]
    step <- -V %*% (crossprod(V, gradient) / e$values[keep])
    new <- replace(par, free, par[free] + step)
    bound <- is.finite(lower) & new < lower
    new[bound] <- lower[bound]
    reached <- f(new)
    if (!is.finite(reached) || reached > value + 1e-9) break
    value <- reached
    par <- new
    if (max(abs(step)) < 1e-10 * max(1, abs(par))) break
  }
  list(par = par, value = value, gradient = max(abs(gradient)))
}

best_of <- function(f, start, lower) {
  bounded <- is.finite(lower)
  tries <- list(
    nloptwrap = function(p) nloptr::nloptr(p, f, lb = lower, opts = list(
      algorithm = "NLOPT_LN_BOBYQA", xtol_abs = 1e-12, ftol_abs = 1e-12, ftol_rel = 1e-15, xtol_rel = 0,
      maxeval = 50000))$solution,
    bobyqa = function(p) minqa::bobyqa(p, f, lower = lower, control = list(rhoend = 1e-9, maxfun = 50000))$par,
    Nelder_Mead = function(p) lme4::Nelder_Mead(f, p, lower = lower, control = list(
      maxfun = 50000, FtolAbs = 1e-11, XtolRel = 1e-11))$par,
    nlminb = function(p) nlminb(p, f, lower = lower, control = list(rel.tol = 1e-14, iter.max = 2000,
                                                                    eval.max = 5000))$par
  )
  if (length(start) > 8) tries$Nelder_Mead <- NULL
  found <- lapply(tries, function(run) tryCatch(run(start), error = function(e) start))
  # Once more from the best, then polished.
  best <- names(which.min(sapply(found, f)))
  again <- tryCatch(tries$bobyqa(found[[best]]), error = function(e) found[[best]])
  par <- if (f(again) < f(found[[best]])) again else found[[best]]
  c(polish(f, par, lower), optimizer = paste(best, "+ bobyqa + Newton"))
}
