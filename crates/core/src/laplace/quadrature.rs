//! Adaptive Gauss-Hermite quadrature for one grouping factor (Pinheiro and Bates 1995; Liu and Pierce 1994).
//!
//! The integral over the effects of a level is taken around their mode, in the metric of its curvature:
//! `u = u^ + sqrt(2) L^-T z` with `M_j = L L'`. One node is the Laplace approximation; all constants are kept for any number.

use super::{Laplace, State};
use crate::dense;
use crate::error::Error;
use crate::family::Second;
use std::f64::consts::{PI, SQRT_2};

/// Most effects of a level that are integrated over.
pub const MOST: usize = 3;

impl Laplace {
    /// Effects per level if there is one grouping factor with few enough of them.
    #[must_use]
    pub fn integrable(&self) -> Option<usize> {
        match self.table.factors.as_slice() {
            [one] if one.k <= MOST => Some(one.k),
            _ => None,
        }
    }

    /// -2 log-likelihood at psi by quadrature with the given Gauss-Hermite nodes and weights; the modes are left in `state`.
    pub fn integrate(
        &self,
        psi: &[f64],
        nodes: &[f64],
        weights: &[f64],
        state: &mut State,
    ) -> Result<f64, Error> {
        let laplace = self.evaluate(psi, state)?;
        let Some(k) = self.integrable() else {
            return Ok(laplace);
        };
        let problem = state.problem.as_ref().unwrap_or(&self.problem);
        let c = &problem.cross;
        let (levels, factor) = (c.n_nodes(), &self.table.factors[0]);
        let lambda = state.factor.scales[0].lambda.clone();
        // lambda L^-T of each level: what a unit of z does to b; and L^-T: what it does to u.
        let mut to_u = Vec::with_capacity(levels * k * k);
        for e in 0..levels {
            let a = &c.diag[c.d[e]..c.d[e + 1]];
            let mut m = dense::square(&dense::transpose(&lambda, k), &dense::square(a, &lambda, k), k);
            (0..k).for_each(|i| m[i + i * k] += 1.0);
            dense::cholesky(&mut m, k, k)?;
            for j in 0..k {
                (0..j).for_each(|i| m[i + j * k] = 0.0);
            }
            let inverse = dense::invert_lower(&m, k)
                .ok_or_else(|| Error::NotFinite { what: "the curvature of a level".into() })?;
            to_u.extend(dense::transpose(&inverse, k));
        }
        let count = nodes.len().pow(k as u32);
        let mut sums = vec![0.0; levels];
        let aux: Vec<&[f64]> = state.aux.iter().map(Vec::as_slice).collect();
        let mut rows = vec![Second::default(); self.table.n];
        let mut by_level = |eta: &[f64]| {
            self.family.second_rows(&self.y, self.table.weights.as_deref(), eta, &aux, &mut rows);
            let mut out = vec![0.0; levels];
            for (node, row) in factor.node.iter().zip(&rows) {
                out[*node as usize] += row.value;
            }
            out
        };
        let base = by_level(&state.eta);
        let mut z = vec![0.0; k];
        for point in 0..count {
            let (mut rest, mut log_weight) = (point, 0.0);
            for value in &mut z {
                let at = rest % nodes.len();
                rest /= nodes.len();
                *value = nodes[at];
                log_weight += weights[at].ln() - 0.5 * PI.ln() + nodes[at] * nodes[at];
            }
            let shift = |e: usize| -> Vec<f64> {
                let t = &to_u[e * k * k..(e + 1) * k * k];
                (0..k).map(|i| SQRT_2 * (0..k).map(|j| t[i + j * k] * z[j]).sum::<f64>()).collect()
            };
            let shifts: Vec<f64> = (0..levels).flat_map(shift).collect();
            let eta: Vec<f64> = (0..self.table.n)
                .map(|i| {
                    let own = &shifts[factor.node[i] as usize * k..][..k];
                    let b = |l: usize| (0..=l).map(|j| lambda[l + j * k] * own[j]).sum::<f64>();
                    state.eta[i] + (0..k).map(|l| factor.z[i * k + l] * b(l)).sum::<f64>()
                })
                .collect();
            let values = by_level(&eta);
            for e in 0..levels {
                let penalty: f64 = (0..k)
                    .map(|i| {
                        let (u, s) = (state.u[c.q[e] + i], shifts[e * k + i]);
                        -u * s - 0.5 * s * s
                    })
                    .sum();
                let term = (values[e] - base[e] + penalty + log_weight).exp();
                sums[e] += if term.is_finite() { term } else { 0.0 };
            }
        }
        Ok(laplace - 2.0 * sums.iter().map(|s| s.ln()).sum::<f64>())
    }
}
