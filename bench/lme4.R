# Fits one case with lme4's defaults: Rscript lme4.R file.csv "formula" repeats; prints JSON.
suppressMessages(library(lme4))
arguments <- commandArgs(TRUE)
rows <- read.csv(arguments[1])
formula <- as.formula(arguments[2])
repeats <- as.integer(arguments[3])
for (name in intersect(c("Subject", "school", "lea", "s", "d", "dept", "subject", "item", "g", "user"), names(rows)))
  rows[[name]] <- factor(rows[[name]])

peak <- function() {
  status <- tryCatch(suppressWarnings(readLines("/proc/self/status")), error = function(e) character())
  line <- grep("^VmHWM", status, value = TRUE)
  if (length(line)) 1024 * as.numeric(gsub("[^0-9]", "", line)) else NA
}
seconds <- function(code, times) {
  median(replicate(times, system.time(suppressMessages(suppressWarnings(code())))[["elapsed"]]))
}

invisible(gc())
try(suppressWarnings(writeLines("5", "/proc/self/clear_refs")), silent = TRUE)
before <- peak()
busy <- function() sum(proc.time()[c("user.self", "sys.self")])
start <- busy()
first <- seconds(function() fit <<- lmer(formula, rows), 1)
cpu <- busy() - start
memory <- peak() - before
# A case of minutes is fitted once, one of many seconds twice.
if (first > 10) repeats <- min(repeats, 2)
whole <- median(c(first, if (repeats > 1) seconds(function() lmer(formula, rows), repeats - 1)))
# After the formula: deviance function, search, result. Only of cases that are quick.
after <- NA
if (first < 0.5) {
  parts <- lFormula(formula, rows)
  many <- 10
  after <- seconds(function() for (i in seq_len(many)) {
    f <- do.call(mkLmerDevfun, parts)
    mkMerMod(environment(f), optimizeLmer(f), parts$reTrms, parts$fr)
  }, repeats) / many
}
number <- function(x, form) if (is.na(x)) "null" else sprintf(form, x)
blas <- sub(".*/", "", normalizePath(sessionInfo()$LAPACK))
cat(sprintf('{"seconds": %.6f, "cpu": %.6f, "fit": %s, "memory": %s, "criterion": %.8f, "evaluations": %d, "version": "%s", "r": "%s", "blas": "%s"}\n',
            whole, cpu, number(after, "%.6f"), number(memory, "%.0f"), REMLcrit(fit), fit@optinfo$feval,
            as.character(packageVersion("lme4")), as.character(getRversion()), blas))
