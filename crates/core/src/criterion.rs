//! The profiled criterion f(theta), its gradient and its average-information Hessian.
//!
//! ```text
//!   f = log|M| [+ log|X'H^-1 X|] + nu (1 + log(2 pi r2 / nu)) - sum log w        nu = n (ML) or n - p (REML)
//!   G_t = df/dSigma_t = sum_j Z_tj'P Z_tj - (nu / r2) sum_j (Z_tj'e)(Z_tj'e)'
//!   df/dtheta_i = tr(G Sigma_i)           Hessian ~ AI + tr(G Sigma_ij)
//!   AI_ij = nu w_i'P w_j / r2 - nu (e'w_i)(e'w_j) / r2^2,     w_i = Z Sigma_i Z'e
//! ```
//!
//! Sigma_i and Sigma_ij are the derivatives of a term's covariance in its parameters (structure.rs). All of it lives in
//! q-space: the cost does not depend on the number of rows.

use crate::cross::{Cross, Rows};
use crate::dense;
use crate::error::Error;
use crate::factor::{Factor, Modes, Scale};
use crate::term::TermShape;
use rayon::prelude::*;

/// Below this share of its total variation the response counts as reproduced exactly.
const EXACT: f64 = 1e-26;

/// Standard deviations at the start are kept between these, in units of sigma.
const START: (f64, f64) = (0.1, 2.0);

/// Cross-products with the parameter bookkeeping around them; immutable once built.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What the rows contributed.
    pub cross: Cross,
}

/// A direction in which a covariance changes: a term and a symmetric k x k matrix.
pub type Direction = (usize, Vec<f64>);

/// First and second order information at one theta.
#[derive(Debug, Clone)]
pub struct Derivatives {
    /// `df/dSigma_t`, k x k for each term, standardised columns.
    pub g: Vec<Vec<f64>>,
    /// `sum_j Z'PZ` of each term: the natural scale of its G.
    pub size: Vec<Vec<f64>>,
    /// Gradient in theta.
    pub gradient: Vec<f64>,
    /// Average information plus curvature, T x T.
    pub hessian: Vec<f64>,
    /// Average information alone: its diagonal is the scale of theta.
    pub information: Vec<f64>,
}

impl Problem {
    /// Sums the rows and checks that there is something to estimate.
    pub fn new(rows: &Rows<'_>) -> Result<Problem, Error> {
        let problem = Problem { cross: Cross::from_rows(rows)? };
        problem.check(rows.y, rows.weights)?;
        Ok(problem)
    }

    /// Refuses a response that X reproduces.
    pub(crate) fn check(&self, y: &[f64], weights: Option<&[f64]>) -> Result<(), Error> {
        let cross = &self.cross;
        let m = cross.p + 1;
        let residual = cross.xx[m * m - 1];
        let scale: f64 = y.iter().map(|v| (v - cross.fixed.y0).powi(2)).sum::<f64>()
            * weights.map_or(1.0, |w| w.iter().sum::<f64>() / w.len().max(1) as f64);
        if !scale.is_normal() {
            return Err(Error::NotFinite { what: "the sum of squares of the response".into() });
        }
        // What is left when y is stored in doubles: a unit in the last place in every row.
        let largest = y.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let weight = weights.map_or(cross.n as f64, |w| w.iter().sum());
        let rounding = weight * (f64::EPSILON * largest).powi(2);
        if residual <= EXACT * scale + rounding {
            return Err(Error::ZeroResidual);
        }
        Ok(())
    }

    /// Number of parameters of all terms.
    #[must_use]
    pub fn n_theta(&self) -> usize {
        self.cross.terms.iter().map(|t| t.structure.n_theta()).sum()
    }

    /// Degrees of freedom of the criterion.
    #[must_use]
    pub fn nu(&self, reml: bool) -> f64 {
        (if reml { self.cross.n - self.cross.p } else { self.cross.n }) as f64
    }

    /// Each term with its slice of theta.
    pub fn split<'a>(&'a self, theta: &'a [f64]) -> impl Iterator<Item = (&'a TermShape, &'a [f64])> {
        let mut at = 0;
        self.cross.terms.iter().map(move |term| {
            let from = at;
            at += term.structure.n_theta();
            (term, &theta[from..at])
        })
    }

    /// theta of standardised columns from the user's.
    #[must_use]
    pub fn inner(&self, theta: &[f64]) -> Vec<f64> {
        self.split(theta).flat_map(|(term, t)| term.inner_theta(t)).collect()
    }

    /// theta of the user's columns from the standardised.
    #[must_use]
    pub fn outer(&self, theta: &[f64]) -> Vec<f64> {
        self.split(theta).flat_map(|(term, t)| term.outer_theta(t)).collect()
    }

    /// Where a search starts, in standardised columns: standard deviations from moments of the least-squares residuals.
    ///
    /// For one column of a factor with J levels, `sum_j (z_j'r)^2 / z_j'z_j` is about `J s^2 + n s_b^2`, crossing with other
    /// factors neglected. What that leaves to the residuals is sigma^2; correlations start at zero.
    #[must_use]
    pub fn start(&self) -> Vec<f64> {
        let c = &self.cross;
        let (px, n) = (c.p + 1, c.n as f64);
        let total = c.xx[px * px - 1] / n;
        let shares: Vec<Vec<f64>> = c
            .factor_k
            .iter()
            .zip(&c.node_of)
            .map(|(k, nodes)| {
                let column = |a: usize| {
                    let between: f64 = nodes
                        .iter()
                        .map(|e| {
                            let (d, q) = (c.d[*e as usize], c.q[*e as usize]);
                            let size = c.diag[d + a * (k + 1)];
                            if size > 0.0 { c.xy[(q + a) * px + c.p].powi(2) / size } else { 0.0 }
                        })
                        .sum();
                    ((between - nodes.len() as f64 * total) / n / total).max(0.0)
                };
                (0..*k).map(column).collect()
            })
            .collect();
        let left = (1.0 - shares.iter().flatten().sum::<f64>()).max(0.1);
        let sds = |term: &TermShape| -> Vec<f64> {
            let own = &shares[term.factor][term.offset..term.offset + term.structure.k];
            own.iter().map(|share| (share / left).sqrt().clamp(START.0, START.1)).collect()
        };
        c.terms.iter().flat_map(|term| term.structure.start(&sds(term))).collect()
    }

    /// lambda of each grouping factor: block diagonal over its terms.
    pub(crate) fn scales(&self, inner: &[f64]) -> Vec<Scale> {
        let mut lambdas: Vec<Vec<f64>> = self.cross.factor_k.iter().map(|k| vec![0.0; k * k]).collect();
        for (term, theta) in self.split(inner) {
            let (k, o) = (term.structure.k, term.offset);
            let kf = self.cross.factor_k[term.factor];
            let lambda = term.structure.lambda(theta);
            for j in 0..k {
                for i in j..k {
                    lambdas[term.factor][(o + i) + (o + j) * kf] = lambda[i + j * k];
                }
            }
        }
        lambdas.into_iter().zip(&self.cross.factor_k).map(|(l, k)| Scale::new(l, *k)).collect()
    }

    /// Factors the problem at `inner` and returns the criterion; the factor is left in `factor`.
    pub fn evaluate(&self, inner: &[f64], reml: bool, factor: &mut Factor) -> Result<f64, Error> {
        factor.eliminate(&self.cross, self.scales(inner))?;
        if factor.r2 <= 0.0 {
            return Err(Error::ZeroResidual);
        }
        let nu = self.nu(reml);
        let mut f = factor.log_det_m + nu * (1.0 + (2.0 * std::f64::consts::PI * factor.r2 / nu).ln());
        if reml {
            f += factor.log_det_x - 2.0 * self.cross.fixed.log_det;
        }
        Ok(f - self.cross.log_weights)
    }

    /// The frames that make derivatives those of the user's theta.
    #[must_use]
    pub fn outer_frames(&self) -> Vec<Vec<f64>> {
        self.cross.terms.iter().map(|t| t.forth.clone()).collect()
    }

    /// Derivatives at the point that `factor` was evaluated at.
    ///
    /// `frames` has a k x k matrix F for each term, with `F Sigma(theta) F'` its covariance in standardised columns; an empty
    /// one stands for the identity.
    #[must_use]
    pub fn derivatives(
        &self,
        theta: &[f64],
        frames: &[Vec<f64>],
        reml: bool,
        factor: &Factor,
        modes: &Modes,
    ) -> Derivatives {
        let c = &self.cross;
        let ratio = self.nu(reml) / factor.r2;
        let zpz = factor.invert(c, reml, false).zpz;
        let scores = self.score_products(modes);
        let (mut g, mut size) = (Vec::new(), Vec::new());
        for term in &c.terms {
            let (k, o, kf) = (term.structure.k, term.offset, c.factor_k[term.factor]);
            let at = |l: usize| (o + l % k) + (o + l / k) * kf;
            size.push((0..k * k).map(|l| zpz[term.factor][at(l)]).collect::<Vec<f64>>());
            g.push(
                (0..k * k)
                    .map(|l| zpz[term.factor][at(l)] - ratio * scores[term.factor][at(l)])
                    .collect::<Vec<f64>>(),
            );
        }
        let n_theta = self.n_theta();
        let mut gradient = Vec::with_capacity(n_theta);
        let mut curvature = vec![0.0; n_theta * n_theta];
        let mut directions = Vec::with_capacity(n_theta);
        let mut first = 0;
        for (t, (term, theta)) in self.split(theta).enumerate() {
            let (s, k) = (&term.structure, term.structure.k);
            let frame = &frames[t];
            let own = if frame.is_empty() { g[t].clone() } else { TermShape::congruent(&g[t], frame, k) };
            let transposed = dense::transpose(frame, if frame.is_empty() { 0 } else { k });
            for i in 0..theta.len() {
                let d = s.d_sigma(theta, i);
                gradient.push(d.iter().zip(&own).map(|(x, y)| x * y).sum());
                for j in 0..theta.len() {
                    curvature[(first + i) + (first + j) * n_theta] = s.curvature(theta, &own, i, j);
                }
                let d = if frame.is_empty() { d } else { TermShape::congruent(&d, &transposed, k) };
                directions.push((t, d));
            }
            first += theta.len();
        }
        let information = self.information(&directions, reml, factor, modes);
        let hessian = information.iter().zip(&curvature).map(|(a, b)| a + b).collect();
        Derivatives { g, size, gradient, hessian, information }
    }

    /// `sum_j (Z_j'e)(Z_j'e)'` of each grouping factor.
    pub(crate) fn score_products(&self, modes: &Modes) -> Vec<Vec<f64>> {
        let c = &self.cross;
        let mut out: Vec<Vec<f64>> = c.factor_k.iter().map(|k| vec![0.0; k * k]).collect();
        for e in 0..c.n_nodes() {
            let k = c.k(e);
            let s = &modes.ze[c.q[e]..c.q[e + 1]];
            let sum = &mut out[c.factor_of[e] as usize];
            for j in 0..k {
                for i in 0..k {
                    sum[i + j * k] += s[i] * s[j];
                }
            }
        }
        out
    }

    /// Average information for the given directions dSigma/dtheta_i (standardised columns), T x T.
    fn information(&self, directions: &[Direction], reml: bool, factor: &Factor, modes: &Modes) -> Vec<f64> {
        let n_dir = directions.len();
        let (mut ai, ew) = self.quadratics(directions, factor, modes);
        let (nu, r2) = (self.nu(reml), factor.r2);
        for j in 0..n_dir {
            for i in 0..n_dir {
                ai[i + j * n_dir] = nu * (ai[i + j * n_dir] / r2 - ew[i] * ew[j] / (r2 * r2));
            }
        }
        ai
    }

    /// `w_i'P w_j` (P of REML type), T x T, and `e'w_i` for directions dSigma_i of single terms in standardised columns.
    pub(crate) fn quadratics(
        &self,
        directions: &[Direction],
        factor: &Factor,
        modes: &Modes,
    ) -> (Vec<f64>, Vec<f64>) {
        let c = &self.cross;
        let n_dir = directions.len();
        if n_dir == 0 {
            return (Vec::new(), Vec::new());
        }
        if c.factor_k.len() == 1 {
            let full: Vec<Vec<f64>> = directions.iter().map(|d| self.embed(d)).collect();
            let scores = &self.score_products(modes)[0];
            let ew: Vec<f64> = full.iter().map(|d| d.iter().zip(scores).map(|(x, y)| x * y).sum()).collect();
            return (factor.quadratic_alone(c, &full, &modes.ze), ew);
        }
        // One column of C' for each random effect: Sigma_i (Z_j'e), and its product with Z_j'e for e'w_i.
        let mut ct = vec![0.0; n_dir * c.n_random()];
        let mut ew = vec![0.0; n_dir];
        for (t, term) in c.terms.iter().enumerate() {
            let (k, o, kf) = (term.structure.k, term.offset, c.factor_k[term.factor]);
            let own: Vec<usize> = (0..n_dir).filter(|d| directions[*d].0 == t).collect();
            let fill = |e: usize, columns: &mut [f64], ew: &mut [f64]| {
                let at = c.q[e] + o;
                let s = &modes.ze[at..at + k];
                for &d in &own {
                    for i in 0..k {
                        let v: f64 = (0..k).map(|j| directions[d].1[i + j * k] * s[j]).sum();
                        columns[d + (o + i) * n_dir] = v;
                        ew[d] += v * s[i];
                    }
                }
            };
            if term.factor == 0 {
                // The leading levels are contiguous; chunks of fixed size make sums independent of threads.
                const CHUNK: usize = 4096;
                let lead = &mut ct[..c.n_leading * kf * n_dir];
                let one = |(chunk, columns): (usize, &mut [f64])| {
                    let mut ew = vec![0.0; n_dir];
                    for (l, columns) in columns.chunks_exact_mut(kf * n_dir).enumerate() {
                        fill(chunk * CHUNK + l, columns, &mut ew);
                    }
                    ew
                };
                let parts: Vec<Vec<f64>> = if c.n_leading > CHUNK {
                    lead.par_chunks_mut(CHUNK * kf * n_dir).enumerate().map(one).collect()
                } else {
                    vec![one((0, lead))]
                };
                for part in parts {
                    ew.iter_mut().zip(part).for_each(|(s, v)| *s += v);
                }
            } else {
                for e in &c.node_of[term.factor] {
                    let e = *e as usize;
                    fill(e, &mut ct[c.q[e] * n_dir..c.q[e + 1] * n_dir], &mut ew);
                }
            }
        }
        (factor.quadratic(c, &ct, n_dir), ew)
    }

    /// A direction of a term as a matrix over all columns of its grouping factor.
    pub(crate) fn embed(&self, (t, d): &Direction) -> Vec<f64> {
        let term = &self.cross.terms[*t];
        let (k, o, kf) = (term.structure.k, term.offset, self.cross.factor_k[term.factor]);
        let mut out = vec![0.0; kf * kf];
        (0..k * k).for_each(|l| out[(o + l % k) + (o + l / k) * kf] = d[l]);
        out
    }
}
