# Fits one case with lme4's defaults: Rscript lme4.R file.csv "formula" repeats; prints JSON.
suppressMessages(library(lme4))
arguments <- commandArgs(TRUE)
rows <- read.csv(arguments[1])
for (name in intersect(c("Subject", "school", "lea", "s", "d", "dept", "subject", "item", "g", "user"), names(rows)))
  rows[[name]] <- factor(rows[[name]])
seconds <- numeric()
for (i in seq_len(as.integer(arguments[3]))) {
  seconds[i] <- system.time(fit <- suppressMessages(suppressWarnings(lmer(as.formula(arguments[2]), rows))))[["elapsed"]]
}
cat(sprintf('{"seconds": %.6f, "criterion": %.8f, "evaluations": %d, "version": "%s"}\n',
            median(seconds), REMLcrit(fit), fit@optinfo$feval, as.character(packageVersion("lme4"))))
