//! The covariance structure of one random-effects term: parameters -> `Sigma = lambda lambda'` and its derivatives.
//!
//! A structure is asked for three things: the k x k lower triangular `lambda(theta)`, the first derivatives
//! `dSigma/dtheta_i` and the second derivatives `d2Sigma/dtheta_i dtheta_j`. With `G = df/dSigma` the chain rule gives the
//! gradient `tr(G Sigma_i)` and the curvature `tr(G Sigma_ij)` of any criterion (method: section 3).
//!
//! | structure | theta | Sigma |
//! |---|---|---|
//! | unstructured | column-major lower triangle of lambda | `lambda lambda'` |
//! | diagonal | k standard deviations, or one | `diag(theta^2)` |
//! | compound symmetry | k standard deviations (or one), rho | `sd_i sd_j rho` |
//! | AR(1) | k standard deviations (or one), rho | `sd_i sd_j rho^|i-j|` |

use crate::dense;

/// The families of covariance matrices that a term can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any positive semidefinite matrix.
    Unstructured,
    /// No correlations.
    Diagonal,
    /// One correlation between all pairs.
    CompoundSymmetry,
    /// Correlation `rho^|i-j|`.
    Ar1,
}

/// Where a column scaling may be absorbed without leaving the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Any triangular change of basis.
    Triangular,
    /// One factor a column.
    PerColumn,
    /// One factor for all columns.
    Common,
}

/// A family of k x k covariance matrices with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure {
    /// The family.
    pub kind: Kind,
    /// One standard deviation for all columns?
    pub homogeneous: bool,
    /// Columns per level.
    pub k: usize,
}

impl Structure {
    /// Number of parameters.
    #[must_use]
    pub fn n_theta(&self) -> usize {
        match self.kind {
            Kind::Unstructured => self.k * (self.k + 1) / 2,
            Kind::Diagonal => self.n_sd(),
            Kind::CompoundSymmetry | Kind::Ar1 => self.n_sd() + 1,
        }
    }

    fn n_sd(&self) -> usize {
        if self.homogeneous { 1 } else { self.k }
    }

    /// Which rescaling of the columns keeps the family.
    #[must_use]
    pub fn scaling(&self) -> Scaling {
        match self.kind {
            Kind::Unstructured => Scaling::Triangular,
            _ if self.homogeneous => Scaling::Common,
            _ => Scaling::PerColumn,
        }
    }

    /// The correlation may lie strictly between these bounds.
    #[must_use]
    pub fn rho_bounds(&self) -> Option<(f64, f64)> {
        match self.kind {
            Kind::CompoundSymmetry => Some((-1.0 / (self.k as f64 - 1.0).max(1.0), 1.0)),
            Kind::Ar1 => Some((-1.0, 1.0)),
            _ => None,
        }
    }

    /// Position of rho in theta, for the structures that have one.
    #[must_use]
    pub fn rho_index(&self) -> Option<usize> {
        self.rho_bounds().map(|_| self.n_sd())
    }

    /// Parameters of uncorrelated effects with these k standard deviations (their mean when homogeneous).
    #[must_use]
    pub fn start(&self, sds: &[f64]) -> Vec<f64> {
        let mut theta = vec![0.0; self.n_theta()];
        match self.kind {
            Kind::Unstructured => {
                let mut at = 0;
                for (j, sd) in sds.iter().enumerate() {
                    theta[at] = *sd;
                    at += self.k - j;
                }
            }
            _ if self.homogeneous => theta[0] = sds.iter().sum::<f64>() / self.k as f64,
            _ => theta[..self.k].copy_from_slice(sds),
        }
        theta
    }

    fn sd(&self, theta: &[f64], i: usize) -> f64 {
        theta[if self.homogeneous { 0 } else { i }]
    }

    /// Correlation between columns i and j and its first two derivatives in rho.
    fn correlation(&self, rho: f64, i: usize, j: usize) -> [f64; 3] {
        if i == j {
            return [1.0, 0.0, 0.0];
        }
        match self.kind {
            Kind::CompoundSymmetry => [rho, 1.0, 0.0],
            Kind::Ar1 => {
                let m = i.abs_diff(j) as i32;
                let first = f64::from(m) * rho.powi(m - 1);
                let second = if m < 2 { 0.0 } else { f64::from(m * (m - 1)) * rho.powi(m - 2) };
                [rho.powi(m), first, second]
            }
            _ => [0.0; 3],
        }
    }

    /// Lower triangular `lambda` (k x k, column-major) with `Sigma = lambda lambda'`.
    #[must_use]
    pub fn lambda(&self, theta: &[f64]) -> Vec<f64> {
        let k = self.k;
        let mut lambda = vec![0.0; k * k];
        match self.kind {
            Kind::Unstructured => {
                let mut at = 0;
                for j in 0..k {
                    for i in j..k {
                        lambda[i + j * k] = theta[at];
                        at += 1;
                    }
                }
            }
            Kind::Diagonal => {
                for i in 0..k {
                    lambda[i + i * k] = self.sd(theta, i);
                }
            }
            Kind::CompoundSymmetry | Kind::Ar1 => {
                // Cholesky of the correlation matrix, semidefinite pivots as zeros; rows scaled by the sds.
                let rho = theta[self.n_sd()];
                for j in 0..k {
                    for i in j..k {
                        let mut s = self.correlation(rho, i, j)[0];
                        for l in 0..j {
                            s -= lambda[i + l * k] * lambda[j + l * k];
                        }
                        lambda[i + j * k] = if i == j {
                            s.max(0.0).sqrt()
                        } else if lambda[j + j * k] > 0.0 {
                            s / lambda[j + j * k]
                        } else {
                            0.0
                        };
                    }
                }
                for j in 0..k {
                    for i in j..k {
                        lambda[i + j * k] *= self.sd(theta, i).abs();
                    }
                }
            }
        }
        lambda
    }

    /// Row and column of the entry of lambda that parameter `t` of an unstructured term is.
    #[must_use]
    pub fn entry(&self, t: usize) -> (usize, usize) {
        let mut t = t;
        for j in 0..self.k {
            if t < self.k - j {
                return (j + t, j);
            }
            t -= self.k - j;
        }
        unreachable!("parameter index beyond the triangle")
    }

    /// `dSigma/dtheta_t`, k x k.
    #[must_use]
    pub fn d_sigma(&self, theta: &[f64], t: usize) -> Vec<f64> {
        let k = self.k;
        let mut out = vec![0.0; k * k];
        match self.kind {
            Kind::Unstructured => {
                // e_i (lambda column j)' + its transpose
                let (i, j) = self.entry(t);
                let lambda = self.lambda(theta);
                for r in j..k {
                    out[i + r * k] += lambda[r + j * k];
                    out[r + i * k] += lambda[r + j * k];
                }
            }
            Kind::Diagonal => {
                for i in 0..k {
                    if self.homogeneous || i == t {
                        out[i + i * k] = 2.0 * self.sd(theta, i);
                    }
                }
            }
            Kind::CompoundSymmetry | Kind::Ar1 => {
                let rho = theta[self.n_sd()];
                for j in 0..k {
                    for i in 0..k {
                        let r = self.correlation(rho, i, j);
                        let (si, sj) = (self.sd(theta, i).abs(), self.sd(theta, j).abs());
                        out[i + j * k] = if t == self.n_sd() {
                            si * sj * r[1]
                        } else if self.homogeneous {
                            2.0 * self.sd(theta, 0) * r[0]
                        } else {
                            let sign = if theta[t] < 0.0 { -1.0 } else { 1.0 };
                            sign * r[0]
                                * (f64::from(u8::from(i == t)) * sj + f64::from(u8::from(j == t)) * si)
                        };
                    }
                }
            }
        }
        out
    }

    /// `tr(G d2Sigma/dtheta_s dtheta_t)` for a symmetric k x k matrix `g`.
    #[must_use]
    pub fn curvature(&self, theta: &[f64], g: &[f64], s: usize, t: usize) -> f64 {
        let k = self.k;
        match self.kind {
            Kind::Unstructured => {
                let ((a, ca), (b, cb)) = (self.entry(s), self.entry(t));
                if ca == cb { 2.0 * g[a + b * k] } else { 0.0 }
            }
            Kind::Diagonal if self.homogeneous => 2.0 * (0..k).map(|i| g[i + i * k]).sum::<f64>(),
            Kind::Diagonal => {
                if s == t {
                    2.0 * g[s + s * k]
                } else {
                    0.0
                }
            }
            Kind::CompoundSymmetry | Kind::Ar1 => {
                let last = self.n_sd();
                let rho = theta[last];
                let delta = |a: usize, b: usize| f64::from(u8::from(a == b));
                let sign = |m: usize| if theta[m] < 0.0 { -1.0 } else { 1.0 };
                let mut sum = 0.0;
                for j in 0..k {
                    for i in 0..k {
                        let r = self.correlation(rho, i, j);
                        let (si, sj) = (self.sd(theta, i).abs(), self.sd(theta, j).abs());
                        let first = |m: usize| {
                            if self.homogeneous {
                                2.0 * self.sd(theta, 0)
                            } else {
                                sign(m) * (delta(i, m) * sj + delta(j, m) * si)
                            }
                        };
                        sum += g[i + j * k]
                            * match (s == last, t == last) {
                                (true, true) => si * sj * r[2],
                                (true, false) => first(t) * r[1],
                                (false, true) => first(s) * r[1],
                                (false, false) if self.homogeneous => 2.0 * r[0],
                                (false, false) => {
                                    let both = delta(i, s) * delta(j, t) + delta(i, t) * delta(j, s);
                                    sign(s) * sign(t) * r[0] * both
                                }
                            };
                    }
                }
                sum
            }
        }
    }

    /// `d2Sigma/dtheta_s dtheta_t`, k x k.
    #[must_use]
    pub fn dd_sigma(&self, theta: &[f64], s: usize, t: usize) -> Vec<f64> {
        let k = self.k;
        let entry = |l: usize| {
            let mut g = vec![0.0; k * k];
            g[l] += 0.5;
            g[(l / k) + (l % k) * k] += 0.5;
            self.curvature(theta, &g, s, t)
        };
        (0..k * k).map(entry).collect()
    }

    /// The same covariance with the signs that people expect: a non-negative diagonal of lambda, non-negative sds.
    #[must_use]
    pub fn rectified(&self, theta: &[f64]) -> Vec<f64> {
        let mut theta = theta.to_vec();
        match self.kind {
            Kind::Unstructured => {
                let mut at = 0;
                for j in 0..self.k {
                    let column = &mut theta[at..at + self.k - j];
                    if column.iter().find(|v| **v != 0.0).is_some_and(|v| *v < 0.0) {
                        column.iter_mut().for_each(|v| *v = -*v);
                    }
                    at += self.k - j;
                }
            }
            _ => theta[..self.n_sd()].iter_mut().for_each(|v| *v = v.abs()),
        }
        theta
    }

    /// Parameters of the member of an unstructured family with factor `lambda`.
    #[must_use]
    pub fn theta_of(&self, lambda: &[f64]) -> Vec<f64> {
        debug_assert_eq!(self.kind, Kind::Unstructured);
        let l = dense::retriangularise(lambda, self.k);
        (0..self.n_theta())
            .map(|t| {
                let (i, j) = self.entry(t);
                l[i + j * self.k]
            })
            .collect()
    }
}
