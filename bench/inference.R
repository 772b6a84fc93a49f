# Inference by R's packages on the rows that bench/inference.py wrote: Rscript inference.R case; prints JSON.
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest)})
case <- commandArgs(TRUE)[1]
sleep <- lme4::sleepstudy
quiet <- function(code) suppressMessages(suppressWarnings(code))
m <- quiet(lme4::lmer(Reaction ~ Days + (Days | Subject), sleep))
tested <- quiet(lmerTest::lmer(Reaction ~ Days + (Days | Subject), sleep))
parameters <- function(fit) c(fixef(fit), getME(fit, "theta"), sigma(fit))
task <- list(
  bootstrap = function() bootMer(m, parameters, nsim = 1000),
  profile = function() confint(m, quiet = TRUE),
  satterthwaite = function() summary(tested),
  kenward_roger = function() summary(tested, ddf = "Kenward-Roger"),
  influence = function() influence(m, "Subject")
)[[case]]
invisible(quiet(if (case != "bootstrap") task()))
cat(sprintf('{"seconds": %.6f}\n', median(replicate(if (case == "bootstrap") 1 else 3, system.time(quiet(task()))[["elapsed"]]))))
