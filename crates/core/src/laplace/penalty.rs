//! Penalties on the parameters: minus twice the logarithm of a prior density, up to its constant.
//!
//! ```text
//!   sum_j (beta_j / sd_j)^2   +   sum over terms of  power log|Sigma| + tr(S Sigma^-1)
//! ```
//!
//! The first is a normal prior, the second an inverse Wishart one with `power = df + k + 1`: it keeps a covariance away from
//! zero and from infinity. Both are written in the user's columns; S comes in those, and is kept in standardised ones.

use super::Laplace;
use crate::dense;
use crate::error::Error;

/// Normal on beta, inverse Wishart on the covariances of some terms.
#[derive(Debug, Clone)]
pub struct Penalty {
    /// `1 / sd^2` of each kept column, zero without a prior.
    precision: Vec<f64>,
    /// By term: power of |Sigma|, and S in standardised columns.
    covariance: Vec<Option<(f64, Vec<f64>)>>,
}

impl Penalty {
    /// Of a model: a precision for each kept column; for each term a power and S (k x k) in the user's columns.
    #[must_use]
    pub fn new(model: &Laplace, precision: Vec<f64>, covariance: Vec<Option<(f64, Vec<f64>)>>) -> Penalty {
        let terms = &model.problem.cross.terms;
        let covariance = covariance
            .into_iter()
            .zip(terms)
            .map(|(own, term)| {
                let k = term.structure.k;
                own.map(|(power, s)| {
                    let half = dense::square(&term.forth, &s, k);
                    (power, dense::square(&half, &dense::transpose(&term.forth, k), k))
                })
            })
            .collect();
        Penalty { precision, covariance }
    }

    /// At psi; an error where a covariance with a prior is singular.
    pub fn value(&self, model: &Laplace, psi: &[f64]) -> Result<f64, Error> {
        let beta = model.beta(psi);
        let mut sum: f64 = beta.iter().zip(&self.precision).map(|(b, w)| w * b * b).sum();
        let own = model.problem.split(&psi[..model.n_theta()]);
        for ((term, theta), prior) in own.zip(&self.covariance) {
            let Some((power, s)) = prior else { continue };
            let k = term.structure.k;
            let inverse = inverse(&term.structure.lambda(theta), k)
                .ok_or_else(|| Error::NotFinite { what: "the prior of a covariance".into() })?;
            let log_det = |m: &[f64]| (0..k).map(|i| 2.0 * m[i + i * k].abs().ln()).sum::<f64>();
            sum += power * (log_det(&term.structure.lambda(theta)) - log_det(&term.forth));
            sum += s.iter().zip(&inverse).map(|(a, b)| a * b).sum::<f64>();
        }
        Ok(sum)
    }

    /// Adds the derivative in Sigma of a term.
    pub fn add_slope(&self, term: usize, lambda: &[f64], k: usize, g: &mut [f64]) {
        let Some((power, s)) = &self.covariance[term] else { return };
        let Some(inverse) = inverse(lambda, k) else { return };
        let inner = dense::square(&dense::square(&inverse, s, k), &inverse, k);
        g.iter_mut().enumerate().for_each(|(l, g)| *g += power * inverse[l] - inner[l]);
    }

    /// Adds the derivative in beta~.
    pub fn add_to_beta(&self, model: &Laplace, psi: &[f64], out: &mut [f64]) {
        let (beta, p) = (model.beta(psi), model.p());
        for j in 0..p {
            out[j] += 2.0 * (0..=j).map(|i| model.back[i + j * p] * self.precision[i] * beta[i]).sum::<f64>();
        }
    }
}

/// `Sigma^-1` from its factor.
fn inverse(lambda: &[f64], k: usize) -> Option<Vec<f64>> {
    let inverse = dense::invert_lower(lambda, k)?;
    let out = dense::square(&dense::transpose(&inverse, k), &inverse, k);
    out.iter().all(|v| v.is_finite()).then_some(out)
}
