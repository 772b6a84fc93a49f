# Evaluate R's own criterion at our parameters: where ours is lower than R's optimum, this shows that it is R's
# criterion that is lower there. Run inside tests/reference, after write_ours.py:  Rscript check_ours.R ours.json
#
# Writes ours_in_r.json: for each model our theta, our criterion, and R's criterion at that theta.

source("models.R")
data_sets <- c(shipped, read_extra())
ours <- fromJSON(commandArgs(TRUE)[1], simplifyVector = FALSE)

# lme4 sorts its terms by their number of levels: find for each of its terms ours with the same groups and columns.
lme4_theta <- function(re, terms) {
  wanted <- lme4_terms(re, re$theta)
  used <- rep(FALSE, length(terms))
  unlist(lapply(wanted, function(w) {
    same <- which(!used & vapply(terms, function(t)
      setequal(unlist(t$parts), w$parts) && nrow(matrix_of(t$lambda)) == length(w$names), TRUE))
    used[same[1]] <<- TRUE
    lambda <- matrix_of(terms[[same[1]]]$lambda)
    lambda[lower.tri(lambda, diag = TRUE)]
  }))
}
matrix_of <- function(rows) do.call(rbind, lapply(rows, unlist))

out <- lapply(models, function(m) {
  mine <- ours[[m$id]]
  if (is.null(mine)) return(NULL)
  data <- data_sets[[m$data]]
  if (is.null(m$fixed)) {
    problem <- lme4_problem(m, data)
    theta <- if (isTRUE(m$merge)) diag(matrix_of(mine$terms[[1]]$lambda)) else
      lme4_theta(problem$parsed$reTrms, mine$terms)
  } else {
    problem <- dense_problem(m, data)
    theta <- unlist(mine$theta)
  }
  here <- suppressWarnings(problem$devfun(theta))
  cat(sprintf("%-24s ours %.10f  R at ours %.10f  %+.1e\n", m$id, mine$criterion, here, mine$criterion - here))
  list(theta = I(unlist(mine$theta)), criterion = mine$criterion, in_r = here)
})
names(out) <- vapply(models, `[[`, "", "id")
out <- Filter(Negate(is.null), out)
lines <- vapply(names(out), function(id) sprintf('"%s": %s', id, toJSON(out[[id]], digits = I(17), auto_unbox = TRUE)), "")
writeLines(c("{", paste0(lines, c(rep(",", length(lines) - 1), "")), "}"), "ours_in_r.json")
