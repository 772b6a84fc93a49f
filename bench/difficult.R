# What lme4's defaults return on rescaled predictors: Rscript bench/difficult.R
suppressMessages(library(lme4))
changes <- list("2000 + Days" = function(x) 2000 + x, "1e6 * Days" = function(x) 1e6 * x,
                "1e-6 * Days" = function(x) 1e-6 * x, "1.7e9 + 86400 * Days" = function(x) 1.7e9 + 86400 * x)
for (name in names(changes)) {
  rows <- transform(sleepstudy, x = changes[[name]](Days))
  value <- tryCatch(sprintf("%.3f", suppressMessages(suppressWarnings(logLik(lmer(Reaction ~ x + (x | Subject), rows))))),
                    error = function(e) paste("error:", conditionMessage(e)))
  cat(name, value, sep = "\t"); cat("\n")
}
