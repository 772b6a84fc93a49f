# Predictions in R: run inside tests/reference, writes predict.json.
#
# stats::predict of lm with intervals and weights; lme4::predict with all, some and no random effects and with new levels;
# conditional variances of lme4::ranef; intervals of population means by lmerTest::contest1D (Satterthwaite, Kenward-Roger).

suppressMessages({library(lme4); library(lmerTest); library(jsonlite)})

tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9))
fit <- function(formula, data, ...) lmerTest::lmer(formula, data, control = tight, ...)
columns <- function(x) as.list(as.data.frame(unname(x) |> `colnames<-`(c("fit", "lower", "upper"))))

# --- lm ---
cars <- transform(mtcars, cyl = factor(cyl), w = 1 + gear)
new <- data.frame(wt = c(1.5, 3.2, 5), cyl = factor(c(4, 6, 8)), w = c(1, 2, 0.5))
plain <- lm(mpg ~ poly(wt, 2) + cyl, cars)
weighted <- lm(mpg ~ wt + cyl, cars, weights = w)
linear <- list(
  data = as.list(transform(cars[c("mpg", "wt", "w")], cyl = as.character(cars$cyl))),
  confidence = columns(predict(plain, new, interval = "confidence", level = 0.9)),
  prediction = columns(predict(plain, new, interval = "prediction")),
  se = unname(predict(plain, new, se.fit = TRUE)$se.fit),
  weighted_confidence = columns(predict(weighted, new, interval = "confidence")),
  weighted_prediction = columns(predict(weighted, new, interval = "prediction", weights = new$w))
)

# --- lmer: point predictions ---
days <- data.frame(Days = c(0, 4.5, 9, 9), Subject = c("308", "335", "372", "new"))
sleep <- fit(Reaction ~ Days + (Days | Subject), sleepstudy)
split <- fit(Reaction ~ Days + (1 | Subject) + (0 + Days | Subject), sleepstudy)
plates <- data.frame(plate = c("a", "b", "x"), sample = c("F", "A", "B"))
crossed <- fit(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin)
at <- function(m, new, form) unname(predict(m, new, re.form = form, allow.new.levels = TRUE))
points <- list(
  sleep = list(all = at(sleep, days, NULL), none = at(sleep, days, NA)),
  split = list(all = at(split, days, NULL), intercept = at(split, days, ~ (1 | Subject)),
               slope = at(split, days, ~ (0 + Days | Subject))),
  crossed = list(all = at(crossed, plates, NULL), plate = at(crossed, plates, ~ (1 | plate)),
                 sample = at(crossed, plates, ~ (1 | sample)))
)

# --- conditional variances ---
levels_of <- function(m, group) {
  v <- attr(lme4::ranef(m, condVar = TRUE)[[group]], "postVar")
  if (is.list(v)) v <- v[[1]]
  lapply(seq_len(dim(v)[3]), function(j) v[, , j, drop = FALSE] |> matrix(dim(v)[1]))
}
condvar <- list(sleep = levels_of(sleep, "Subject"), plate = levels_of(crossed, "plate"), sample = levels_of(crossed, "sample"))

# --- intervals of population means ---
population <- lapply(c(satterthwaite = "Satterthwaite", kenward_roger = "Kenward-Roger"), function(ddf) {
  rows <- lapply(c(0, 4.5, 9), function(d) contest1D(sleep, c(1, d), ddf = ddf, confint = TRUE))
  rows <- do.call(rbind, rows)
  list(fit = rows[["Estimate"]], se = rows[["Std. Error"]], lower = rows[["lower"]], upper = rows[["upper"]])
})

packages <- sapply(c("lme4", "lmerTest", "pbkrtest"), function(p) as.character(packageVersion(p)), simplify = FALSE)
write_json(list(made_by = "tests/reference/predict.R", R = R.version.string, packages = packages, lm = linear,
                points = points, condvar = condvar, population = population),
           "predict.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
