//! The log-likelihoods that are summed most often, without their constants.

use crate::family::Second;

/// Factors of up to two that are multiplied before a logarithm is taken.
const FACTORS: usize = 512;

/// Kernels of binomial rows: `w (y eta - log(1 + e^eta))`. Without weights the logarithm is that of a product of many rows.
pub fn binomial_logit(y: &[f64], weight: Option<&[f64]>, eta: &[f64], out: &mut [Second]) -> f64 {
    let mut sum = 0.0;
    let shares = |eta: f64| {
        let e = (-eta.abs()).exp();
        let small = 1.0 / (1.0 + e);
        let mu = if eta >= 0.0 { small } else { e * small };
        (e, mu, e * small * small)
    };
    match weight {
        Some(weight) => {
            for (i, out) in out.iter_mut().enumerate() {
                let (w, (e, mu, v)) = (weight[i], shares(eta[i]));
                if w != 0.0 {
                    sum += w * (y[i] * eta[i] - eta[i].max(0.0) - e.ln_1p());
                }
                *out = Second { value: 0.0, d1: w * (y[i] - mu), d2: -w * v };
            }
        }
        None => {
            for ((y, eta), out) in y.chunks(FACTORS).zip(eta.chunks(FACTORS)).zip(out.chunks_mut(FACTORS)) {
                let mut product = 1.0;
                for ((y, eta), out) in y.iter().zip(eta).zip(out) {
                    let (e, mu, v) = shares(*eta);
                    product *= 1.0 + e;
                    sum += y * eta - eta.max(0.0);
                    *out = Second { value: 0.0, d1: y - mu, d2: -v };
                }
                sum -= product.ln();
            }
        }
    }
    sum
}

/// Kernels of Poisson rows: `w (y eta - e^eta)`.
pub fn poisson_log(y: &[f64], weight: Option<&[f64]>, eta: &[f64], out: &mut [Second]) -> f64 {
    let mut sum = 0.0;
    for (i, out) in out.iter_mut().enumerate() {
        let (w, mu) = (weight.map_or(1.0, |w| w[i]), eta[i].exp());
        if w != 0.0 {
            sum += w * (y[i] * eta[i] - mu);
            *out = Second { value: 0.0, d1: w * (y[i] - mu), d2: -w * mu };
        } else {
            *out = Second::default();
        }
    }
    sum
}
