# Make glmm_quadrature.json: integrals over random effects. Run inside tests/reference, after glmm.R:
# Rscript glmm_quadrature.R
#
# Marginal log-likelihoods by the trapezoidal rule (whose error falls exponentially here) on a grid around the modes,
# checked by stats::integrate, and by adaptive Gauss-Hermite quadrature with k nodes (Liu and Pierce 1994), all constants
# kept. Both are maximised by Newton steps with derivatives from numDeriv. lme4 leaves constants out: of glmer only the
# estimates are kept, and they must be those found here. GLMMadaptive is not in Debian.

# Rscript glmm_quadrature.R NAME ... runs only these studies, and writes nothing.

suppressMessages({library(lme4); library(jsonlite); library(numDeriv)})
only <- commandArgs(trailingOnly = TRUE)
read <- function(file) read.csv(file.path("data", paste0(file, ".csv")), stringsAsFactors = TRUE)

# --- rows: log-likelihood, and minus its second derivative, in eta ----------------------------------------------------------

binomial_rows <- function(y, trials) list(
  value = function(eta, aux) dbinom(y, trials, plogis(eta), log = TRUE),
  slope = function(eta, aux) y - trials * plogis(eta),
  bend = function(eta, aux) trials * plogis(eta) * plogis(-eta))
poisson_rows <- function(y) list(
  value = function(eta, aux) dpois(y, exp(eta), log = TRUE),
  slope = function(eta, aux) y - exp(eta),
  bend = function(eta, aux) exp(eta))
nbinom2_rows <- function(y) list(  # aux: log size
  value = function(eta, aux) dnbinom(y, size = exp(aux), mu = exp(eta), log = TRUE),
  slope = function(eta, aux) y - (y + exp(aux)) * exp(eta) / (exp(eta) + exp(aux)),
  bend = function(eta, aux) (y + exp(aux)) * exp(eta + aux) / (exp(eta) + exp(aux))^2)

# --- one grouping factor, one or two effects --------------------------------------------------------------------------------

# par: beta, then log sd or (log sd, log sd, atanh cor), then the auxiliary parameter
model <- function(rows, X, W, group) {
  k <- ncol(W)
  p <- ncol(X)
  split <- function(par) {
    sd <- exp(par[p + 1:k])
    r <- if (k == 2) tanh(par[p + 3]) else 0
    S <- if (k == 1) matrix(sd^2) else matrix(c(sd[1]^2, r * sd[1] * sd[2], r * sd[1] * sd[2], sd[2]^2), 2)
    list(fixed = as.vector(X %*% par[1:p]), P = solve(S), half = 0.5 * log(det(S)), aux = par[-(1:(p + c(1, 3)[k]))], sd = sd, S = S)
  }
  joint <- function(b, q) as.vector(rowsum(rows$value(q$fixed + rowSums(W * b[group, , drop = FALSE]), q$aux), group)) -
    0.5 * rowSums((b %*% q$P) * b) - q$half - 0.5 * k * log(2 * pi)
  curvature <- function(b, q) {
    w <- rows$bend(q$fixed + rowSums(W * b[group, , drop = FALSE]), q$aux)
    lapply(seq_len(k * k), function(e) {
      i <- (e - 1) %/% k + 1
      j <- (e - 1) %% k + 1
      as.vector(rowsum(w * W[, i] * W[, j], group)) + q$P[i, j]
    })
  }
  modes <- function(q) {
    b <- matrix(0, nlevels(group), k)
    value <- joint(b, q)
    for (i in 1:200) {
      s <- rows$slope(q$fixed + rowSums(W * b[group, , drop = FALSE]), q$aux)
      g <- rowsum(s * W, group) - b %*% q$P
      H <- curvature(b, q)
      step <- if (k == 1) g / H[[1]] else cbind(H[[4]] * g[, 1] - H[[2]] * g[, 2], H[[1]] * g[, 2] - H[[2]] * g[, 1]) / (H[[1]] * H[[4]] - H[[2]]^2)
      if (max(abs(step)) < 1e-13) break
      scale <- rep(1, nrow(b))
      repeat {
        found <- joint(b + scale * step, q)
        worse <- found < value - 1e-10 * (1 + abs(value))
        if (!any(worse) || min(scale) < 1e-8) break
        scale[worse] <- scale[worse] / 2
      }
      b <- b + scale * step
      value <- found
    }
    b
  }
  root <- function(H) {  # L with L L' the inverse curvature, by level: (11, 21, 22)
    if (k == 1) return(list(1 / sqrt(H[[1]])))
    det <- H[[1]] * H[[4]] - H[[2]]^2
    a <- sqrt(H[[4]] / det)
    c <- -H[[2]] / det / a
    list(a, c, sqrt(H[[1]] / det - c^2))
  }
  # Sum over points z (m, k) with log weights lw of exp(joint) at mode + L z
  summed <- function(q, z, lw) {
    b <- modes(q)
    L <- root(curvature(b, q))
    top <- joint(b, q)
    total <- 0
    for (t in seq_len(nrow(z))) {
      at <- if (k == 1) b + L[[1]] * z[t, 1] else b + cbind(L[[1]] * z[t, 1], L[[2]] * z[t, 1] + L[[3]] * z[t, 2])
      total <- total + exp(joint(at, q) - top + lw[t])
    }
    sum(log(total) + top + log(L[[1]]) + if (k == 2) log(L[[3]]) else 0)
  }
  exact <- function(par) {
    q <- split(par)
    L <- root(curvature(modes(q), q))
    # A density whose curvature is at least that of the prior falls off at least as fast.
    reach <- 9 * max(if (k == 1) q$sd / L[[1]] else c(q$sd[1] / L[[1]], q$sd[2] / L[[3]]))
    step <- if (k == 1) min(0.5, 0.25 / max(L[[1]])) else 0.4
    axis <- seq(-ceiling(reach / step), ceiling(reach / step)) * step
    z <- if (k == 1) matrix(axis) else as.matrix(expand.grid(axis, axis))
    z <- z[rowSums(z^2) <= reach^2 + 1e-9, , drop = FALSE]
    summed(q, z, rep(k * log(step), nrow(z)))
  }
  hermite <- function(par, nodes) {
    rule <- statmod::gauss.quad(nodes, "hermite")
    axis <- seq_len(nodes)
    each <- if (k == 1) matrix(axis) else as.matrix(expand.grid(axis, axis))
    z <- matrix(sqrt(2) * rule$nodes[each], ncol = k)
    lw <- (log(rule$weights) + rule$nodes^2 + 0.5 * log(2))[each]
    summed(split(par), z, rowSums(matrix(lw, ncol = k)))
  }
  by_integrate <- function(par) {  # one effect: another rule altogether
    q <- split(par)
    b <- modes(q)
    s <- root(curvature(b, q))[[1]]
    sum(sapply(seq_along(s), function(j) {
      i <- which(as.integer(group) == j)
      f <- function(u) sapply(u, function(v) {
        eta <- q$fixed
        eta[i] <- eta[i] + W[i, 1] * v
        sum(rows$value(eta, q$aux)[i]) + dnorm(v, 0, q$sd, log = TRUE)
      })
      top <- f(b[j])
      width <- 9 * q$sd
      ends <- c(b[j] - width, b[j] - 3 * s[j], b[j], b[j] + 3 * s[j], b[j] + width)
      ends <- sort(pmin(pmax(ends, b[j] - width), b[j] + width))
      area <- sum(sapply(1:4, function(e) integrate(function(u) exp(f(u) - top), ends[e], ends[e + 1], rel.tol = 1e-11)$value))
      log(area) + top
    }))
  }
  list(exact = exact, hermite = hermite, by_integrate = by_integrate, p = p, k = k, names = colnames(X))
}

maximum <- function(f, par) {
  value <- f(par)
  far <- Inf  # length of the last step in standard errors
  for (i in 1:20) {
    g <- grad(f, par, method.args = list(r = 4, d = 0.01))
    if (far > 0.02) H <- hessian(f, par, method.args = list(r = 4, d = 0.05))
    e <- eigen(-H, symmetric = TRUE)
    step <- as.vector(e$vectors %*% (crossprod(e$vectors, g) / abs(e$values)))
    scale <- 1
    while (scale > 1e-6 && !isTRUE(f(par + scale * step) >= value - 1e-10)) scale <- scale / 2
    par <- par + scale * step
    value <- f(par)
    far <- max(abs(step) * sqrt(abs(diag(H))))
    if (far < 1e-7) break
  }
  V <- solve(-hessian(f, par, method.args = list(r = 4, d = 0.05)))
  g <- grad(f, par, method.args = list(r = 4, d = 0.01))
  list(par = par, value = value, gradient = max(abs(g) * sqrt(diag(V))), se = sqrt(diag(V)))
}

stored <- function(name, data, formula, family, m, fit, nodes, ...) {
  p <- m$p
  k <- m$k
  extra <- seq_along(fit$par)[-(1:(p + c(1, 3)[k]))]
  cat(sprintf("%-28s nodes %5s  loglik %.9f  gradient %.1e  sd %s\n", name, nodes, fit$value, fit$gradient, paste(format(exp(fit$par[p + 1:k]), digits = 10), collapse = " ")))
  list(name = name, data = data, formula = formula, family = family, nodes = nodes, loglik = fit$value, gradient = fit$gradient,
       fixef = list(names = m$names, estimate = fit$par[1:p], se = fit$se[1:p]), sd = I(exp(fit$par[p + 1:k])),
       correlation = if (k == 2) tanh(fit$par[p + 3]), log_size = if (length(extra)) list(estimate = fit$par[extra], se = fit$se[extra]), ...)
}

cases <- list()
add <- function(...) cases[[length(cases) + 1]] <<- Filter(Negate(is.null), stored(...))

study <- function(name, data, formula, family, m, start, counts, glmer = FALSE) {
  if (length(only) && !name %in% only) return()
  # With two effects the grid is too slow to search on: 21 x 21 nodes instead, checked by it.
  true <- maximum(if (m$k == 1) m$exact else function(par) m$hermite(par, 21), start)
  check <- if (m$k == 1) m$by_integrate(true$par) else m$exact(true$par)
  stopifnot(abs(check - true$value) < 1e-8)
  add(name, data, formula, family, m, true, "all", check = check)
  for (nodes in counts) {
    found <- maximum(function(par) m$hermite(par, nodes), true$par)
    if (glmer && nodes > 1) {
      fit <- suppressWarnings(lme4::glmer(as.formula(formula), cbpp, family, nAGQ = nodes,
        control = glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))))
      p <- m$p
      stopifnot(abs(fixef(fit) - found$par[1:p]) < 1e-5 * found$se[1:p], abs(getME(fit, "theta") - exp(found$par[p + 1])) < 1e-5)
    }
    add(paste0(name, "_", nodes), data, formula, family, m, found, nodes)
  }
}

cbpp <- transform(read("cbpp"), period = factor(period), herd = factor(herd))
study("cbpp", "cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "binomial",
      model(binomial_rows(cbpp$incidence, cbpp$size), model.matrix(~ period, cbpp), matrix(1, nrow(cbpp)), cbpp$herd),
      c(-1.4, -1, -1.1, -1.6, -0.4), c(1, 5, 11, 25), glmer = TRUE)

toenail <- transform(read("toenail"), patient = factor(patient))
study("toenail", "toenail", "outcome ~ treatment * time + (1 | patient)", "binomial",
      model(binomial_rows(toenail$outcome, rep(1, nrow(toenail))), model.matrix(~ treatment * time, toenail), matrix(1, nrow(toenail)), toenail$patient),
      c(-1.6, -0.16, -0.39, -0.14, 1.388), c(1, 7, 25))

epil <- transform(read("epil"), subject = factor(subject))
study("epil", "epil", "y ~ lbase * trt + lage + V4 + (1 | subject)", "nbinom2",
      model(nbinom2_rows(epil$y), model.matrix(~ lbase * trt + lage + V4, epil), matrix(1, nrow(epil)), epil$subject),
      c(1.8, 0.9, -0.3, 0.5, -0.1, 0.3, -0.76, 2), c(1, 5, 11))

d <- read("glmm")
study("slopes", "glmm", "cbind(hits, trials - hits) ~ x + (x | g)", "binomial",
      model(binomial_rows(d$hits, d$trials), model.matrix(~ x, d), model.matrix(~ x, d), d$g), c(0.3, 0.5, -0.4, -0.9, 0), c(1, 9))

if (!length(only)) writeLines(c("[", paste(vapply(cases, function(m) as.character(toJSON(m, digits = NA, auto_unbox = TRUE)), ""), collapse = ",\n"), "]"), "glmm_quadrature.json")
