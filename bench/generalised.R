# Generalised mixed models in R: Rscript generalised.R lme4|glmmTMB file.csv formula family weights repeats; prints JSON.
# Rscript generalised.R export file.csv writes VerbAgg.
arguments <- commandArgs(TRUE)
if (arguments[1] == "export") {
  v <- transform(lme4::VerbAgg, y = as.integer(r2 == "Y"))
  write.csv(v[, c("y", "Anger", "Gender", "btype", "situ", "id", "item")], arguments[2], row.names = FALSE, quote = FALSE)
  cat("{}\n")
  quit()
}
rows <- read.csv(arguments[2])
for (name in intersect(c("g", "id", "item", "herd", "period", "Gender", "btype", "situ"), names(rows))) rows[[name]] <- factor(rows[[name]])
formula <- as.formula(arguments[3])
family <- arguments[4]
rows$.w <- if (arguments[5] == "-") 1 else rows[[arguments[5]]]
quiet <- function(code) suppressMessages(suppressWarnings(code))
fit <- if (arguments[1] == "lme4") {
  quiet(library(lme4))
  function() if (family == "nbinom2") glmer.nb(formula, rows) else glmer(formula, rows, binomial, weights = .w)
} else {
  quiet(library(glmmTMB))
  function() glmmTMB(formula, rows, if (family == "nbinom2") nbinom2 else binomial, weights = .w)
}
m <- quiet(fit())
first <- system.time(quiet(fit()))[["elapsed"]]
times <- if (first > 5) first else c(first, replicate(as.integer(arguments[6]) - 1, system.time(quiet(fit()))[["elapsed"]]))
cat(sprintf('{"seconds": %.6f, "loglik": %.10f}\n', median(times), as.numeric(logLik(m))))
