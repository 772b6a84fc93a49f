# What R's terms() makes of random formulas, and how R prints expressions; for tests/test_formula.py.
# Run in this directory: Rscript terms.R   (needs jsonlite)
library(jsonlite)
set.seed(20)

pick <- function(...) sample(c(...), 1)
atom <- function() pick("a", "b", "c", "d")
tree <- function(depth) {
  if (depth == 0 || runif(1) < 0.25) return(atom())
  op <- pick("+", "+", "+", "*", ":", "/", "%in%", "^")
  if (op == "^") return(sprintf("(%s)^%s", tree(depth - 1), pick(2, 3)))
  sides <- c(tree(depth - 1), tree(depth - 1))
  sides <- ifelse(runif(2) < 0.5, sprintf("(%s)", sides), sides)
  paste(sides[1], op, sides[2])
}
whole <- function() {
  text <- tree(3)
  for (i in seq_len(pick(0, 0, 1, 2)))
    text <- sprintf(pick("%s - 1", "%s + 0", "0 + %s", "1 + %s", "-1 + %s", "%s - a", "%s - (b + c)", "%s - a:b"), text)
  paste("y ~", text)
}
# No minus inside a product: an operand from which everything was taken away swallows its neighbour in R, as in
# (a - a) * b; mixwell keeps to sets.
formulas <- head(unique(replicate(900, whole())), 400)
result <- lapply(formulas, function(text) {
  x <- terms(as.formula(text))
  labels <- gsub(" %in% ", ":", attr(x, "term.labels"), fixed = TRUE)
  list(formula = text, intercept = attr(x, "intercept"), labels = as.list(labels))
})

expressions <- c(
  "I(x^2*3)", "I((x+1)^2)", "I(-x^2)", "I((-x)^2)", "I(x^-1)", "I(x^y^z)", "I((x^y)^z)", "I(a-(b-c))", "I(a/(b*c))",
  "I(a/b*c)", "I(a*-b)", "I(a%%2+1)", "I((a+b)%%2)", "I(a%/%2)", "I(x>3)", "I((a<b)*(c>=2))", "I(g=='a')",
  "I(g!=\"b\\\"c\")", "log(x,base=2)", "poly(x,2,raw=TRUE)", "bs(x,knots=c(1,2.5))", "I(x*1e5)", "I(x*100000)",
  "I(x*123456)", "I(x*0.0001)", "I(x*0.001)", "I(x*1e-10)", "I(x/1000)", "I(x*1e15)", "I(x*1234567890123)",
  "log(`a b`)", "I(`1x`+.5)", "I(- -x)", "I(a--b)", "I(2^-x)", "I(x*3.14159265358979)", "I(+x)",
  "scale(x,center=FALSE)", "I(-(a+b))", "I(-a*b)", "I(-(a*b))", "I((a*b)^2)", "I(a^(b*c))", "I((a>b)+1)", "I(a+(b>c))",
  "log(x^2+1)", "exp(-x/2)"
)
printed <- lapply(expressions, function(text) list(text = text, label = deparse(parse(text = text)[[1]])))

write_json(list(r = R.version.string, terms = result, labels = printed), "terms.json", auto_unbox = TRUE, null = "list")
