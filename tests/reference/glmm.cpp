// Laplace approximation of the models that glmmTMB does not have: random intercepts, any link.
// glmm.R compiles it with TMB, whose automatic differentiation gives the derivatives.
#include <TMB.hpp>

template <class Type>
Type inverse_link(Type eta, int link) {
  switch (link) {
    case 0: return eta;
    case 1: return exp(eta);
    case 2: return Type(1) / eta;
    case 3: return eta * eta;
    case 4: return Type(1) / sqrt(eta);
    case 5: return Type(1) / (Type(1) + exp(-eta));
    case 6: return pnorm(eta);
    case 7: return Type(1) - exp(-exp(eta));
    case 8: return exp(-exp(-eta));
    case 9: return Type(0.5) + atan(eta) / Type(M_PI);
  }
  error("unknown link");
  return eta;
}

template <class Type>
Type objective_function<Type>::operator()() {
  DATA_VECTOR(y);  // successes, amounts, categories 0..K-1
  DATA_VECTOR(trials);
  DATA_VECTOR(offset);
  DATA_MATRIX(X);
  DATA_SPARSE_MATRIX(Z);  // all levels of all terms
  DATA_IVECTOR(term);     // of each column of Z
  DATA_INTEGER(family);   // 0 binomial, 1 inverse Gaussian, 2 cumulative, 3 beta, 4 beta-binomial
  DATA_INTEGER(link);
  PARAMETER_VECTOR(beta);
  PARAMETER_VECTOR(theta);  // log standard deviations
  PARAMETER_VECTOR(gamma);  // log dispersion (precision), or thresholds
  PARAMETER_VECTOR(b);

  Type nll = 0;
  for (int j = 0; j < b.size(); j++) nll -= dnorm(b(j), Type(0), exp(theta(term(j))), true);
  vector<Type> eta = X * beta + offset;
  if (b.size() > 0) eta += Z * b;
  for (int i = 0; i < y.size(); i++) {
    if (family == 2) {
      int k = CppAD::Integer(y(i));
      Type upper = k < gamma.size() ? inverse_link(gamma(k) - eta(i), link) : Type(1);
      Type lower = k > 0 ? inverse_link(gamma(k - 1) - eta(i), link) : Type(0);
      nll -= log(upper - lower);
      continue;
    }
    Type mu = inverse_link(eta(i), link), s = gamma.size() > 0 ? exp(gamma(0)) : Type(1);
    if (family == 0) nll -= dbinom(y(i), trials(i), mu, true);
    if (family == 1) {
      Type off = (y(i) - mu) / mu;
      nll += Type(0.5) * (log(Type(2 * M_PI) * s) + Type(3) * log(y(i)) + off * off / (s * y(i)));
    }
    if (family == 3) nll -= dbeta(y(i), mu * s, (Type(1) - mu) * s, true);
    if (family == 4) {
      Type p = mu * s, q = (Type(1) - mu) * s, n = trials(i);
      nll -= lgamma(n + 1) - lgamma(y(i) + 1) - lgamma(n - y(i) + 1) + lgamma(y(i) + p) +
             lgamma(n - y(i) + q) - lgamma(n + s) + lgamma(s) - lgamma(p) - lgamma(q);
    }
  }
  return nll;
}
