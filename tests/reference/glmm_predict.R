# Make glmm_predict.json: predictions with standard errors. Run inside tests/reference:  Rscript glmm_predict.R
#
# glmmTMB's optimum is polished by Newton steps first, so that it is ours; its predictions then come from sdreport.

suppressMessages({library(glmmTMB); library(ordinal); library(jsonlite)})
read <- function(file) read.csv(file.path("data", paste0(file, ".csv")), stringsAsFactors = TRUE)
d <- read("glmm")
salamanders <- read("salamanders")
wine <- transform(read("wine"), rating = factor(rating, ordered = TRUE))

refine <- function(m) {
  obj <- m$obj
  obj$env$inner.control$tol <- 1e-13
  par <- m$fit$par
  for (i in 1:6) {
    H <- optimHess(par, obj$fn, obj$gr, control = list(ndeps = rep(1e-4, length(par))))
    par <- par - solve(H, as.vector(obj$gr(par)))
  }
  obj$fn(par)
  stopifnot(max(abs(obj$gr(par))) < 1e-7)
  m$fit$par <- m$fit$parfull[names(m$fit$parfull) != "b"] <- par
  m$fit$parfull <- obj$env$last.par
  names(m$fit$parfull) <- names(obj$env$last.par)
  m$sdr <- TMB::sdreport(obj, par, getJointPrecision = TRUE)
  m
}

# Rows to predict: of fitted levels, then (if any) of a level that was not.
values <- function(m, new, types, population = TRUE) {
  out <- list()
  for (type in types) {
    p <- predict(m, new, type = type, se.fit = TRUE, allow.new.levels = TRUE)
    out[[type]] <- list(fit = as.vector(p$fit), se = as.vector(p$se.fit))
    if (population) {
      p <- predict(m, new, type = type, se.fit = TRUE, re.form = NA, allow.new.levels = TRUE)
      out[[paste0(type, "_population")]] <- list(fit = as.vector(p$fit), se = as.vector(p$se.fit))
    }
  }
  out
}

new <- data.frame(x = c(-1, 0.3, 1.2, 0.5), z = c(0.2, -0.5, 1, 0), f = c("a", "b", "a", "b"), g = c("g1", "g22", "g5", "none"),
                  h = c("h6", "h2", "h1", "h3"), trials = c(4, 8, 1, 2), exposure = c(1, 2, 0.5, 1), w = 1)
both <- c("link", "response")
all_types <- c("link", "response", "conditional", "zprob")
sal_new <- data.frame(spp = c("GP", "DF", "PR", "GP"), mined = c("yes", "no", "yes", "no"), cover = c(0.1, -1, 0.5, 0), DOY = c(0, 0.3, -0.2, 1),
                      site = c("R-1", "VF-2", "VF-6", "none"))

out <- list(
  glmmTMB = list(
    binomial = values(refine(glmmTMB(hits / trials ~ x + (x | g), d, binomial, weights = trials)), new, both),
    crossed = values(refine(glmmTMB(hits / trials ~ x * z + (1 | g) + (1 | h), d, binomial("probit"), weights = trials)), new, both),
    poisson = values(refine(glmmTMB(count ~ x + offset(log(exposure)) + (x | g) + (1 | h), d, poisson)), new, both),
    nbinom2 = values(refine(glmmTMB(count ~ x + f + (1 | g), d, nbinom2)), new, c(both, "disp")),
    gamma = values(refine(glmmTMB(amount ~ x + (1 | g), d, Gamma("log"), dispformula = ~ z)), new, c(both, "disp")),
    inflated = values(refine(glmmTMB(count ~ spp + cover + (1 | site), salamanders, poisson, ziformula = ~ mined)), sal_new, all_types),
    hurdle = values(refine(glmmTMB(count ~ spp + cover + (1 | site), salamanders, truncated_poisson, ziformula = ~ mined + DOY)), sal_new, all_types)
  )
)
exact <- glm.control(epsilon = 1e-15, maxit = 100)
wanted <- list(binomial = glm(cbind(hits, trials - hits) ~ x + f, binomial("cloglog"), d, control = exact), poisson = glm(count ~ x * f + offset(log(exposure)), poisson, d, control = exact),
               gamma = glm(amount ~ x + z, Gamma("inverse"), d, control = exact), quasi = glm(count ~ x + f, quasipoisson, d, control = exact), gaussian = glm(real ~ x + f, gaussian, d, weights = w))
out$glm <- lapply(wanted, function(m) {
  lapply(c(link = "link", response = "response"), function(type) {
    p <- predict(m, new, type = type, se.fit = TRUE)
    list(fit = as.vector(p$fit), se = as.vector(p$se.fit), df = if (summary(m)$df.residual > 0) summary(m)$df.residual)
  })
})
cells <- expand.grid(temp = levels(wine$temp), contact = levels(wine$contact))
m <- clm(rating ~ temp + contact, data = wine)
p <- predict(m, cells, type = "prob", se.fit = TRUE, interval = TRUE)
out$clm <- lapply(list(fit = p$fit, se = p$se.fit, lower = p$lwr, upper = p$upr), function(v) as.vector(t(v)))
out$clm$class <- as.integer(as.character(predict(m, cells, type = "class")$fit))
filled <- merge(cells, data.frame(rating = factor(1:5, ordered = TRUE)))
filled <- filled[order(match(paste(filled$temp, filled$contact), paste(cells$temp, cells$contact)), filled$rating), ]
p <- predict(m, filled, type = "cum.prob", se.fit = TRUE)
keep <- filled$rating != 5
out$cumulative <- list(fit = as.vector(p$cprob1)[keep], se = as.vector(p$se.cprob1)[keep])
write(toJSON(out, digits = NA, auto_unbox = TRUE, null = "null"), "glmm_predict.json")
