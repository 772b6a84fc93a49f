//! The cone of covariance matrices: ways out of saddles, exact zeros, lower basins, and the conditions at the end.

use super::{Cone, NOISE, Optimum, Point, Search};
use crate::dense;
use crate::error::Error;
use crate::structure::{Kind, Structure};

/// An eigenvalue of G below minus this fraction of its natural size is a way down.
const DESCENT: f64 = 1e-6;

/// Standard deviations (standardised columns, in units of sigma) below this are tried at exactly zero.
const VANISHING: f64 = 1e-3;

/// Up to this many random effects, boundary points are looked at for a lower basin.
const FEW_EFFECTS: usize = 2000;

/// Theta along a way out of a saddle, as a function of how far.
type Path = Box<dyn Fn(f64) -> Vec<f64>>;

impl Search<'_> {
    /// If some multiplier is negative, moves Sigma along it and returns true.
    pub(super) fn leave_saddle(&mut self, point: &mut Point) -> Result<bool, Error> {
        let inner = self.inner(&point.x);
        let mut at = 0;
        for (t, term) in self.problem.cross.terms.iter().enumerate() {
            let (s, k) = (&term.structure, term.structure.k);
            let own = at..at + s.n_theta();
            at = own.end;
            let scale = scale_of(&point.d.size[t], k);
            let theta = &inner[own.clone()];
            let trial: Option<(f64, Path)> = match s.kind {
                Kind::Unstructured => {
                    let (values, vectors) = dense::eigen(&point.d.g[t], k);
                    (values[0] < -DESCENT * scale).then(|| {
                        let v = vectors[..k].to_vec();
                        let lambda = s.lambda(theta);
                        let sigma = dense::square(&lambda, &dense::transpose(&lambda, k), k);
                        let s = *s;
                        let along = move |tau: f64| {
                            let mut sigma = sigma.clone();
                            for j in 0..k {
                                for i in 0..k {
                                    sigma[i + j * k] += tau * v[i] * v[j];
                                }
                            }
                            let (d, u) = dense::eigen(&sigma, k);
                            let root: Vec<f64> =
                                (0..k * k).map(|l| u[l] * d[l / k].max(0.0).sqrt()).collect();
                            s.theta_of(&root)
                        };
                        (values[0], Box::new(along) as Path)
                    })
                }
                _ => {
                    // A standard deviation at zero whose variance would like to grow.
                    let sds = s.n_theta() - usize::from(s.rho_index().is_some());
                    let lowest = (0..sds)
                        .map(|i| (i, multiplier(&point.d.g[t], s, i, &point.raw[own.clone()])))
                        .filter(|(i, _)| theta[*i].abs() < VANISHING)
                        .min_by(|a, b| a.1.total_cmp(&b.1));
                    lowest.filter(|(_, g)| *g < -DESCENT * scale).map(|(i, g)| {
                        let theta = theta.to_vec();
                        let linear = s.kind != Kind::Diagonal && !s.homogeneous;
                        let along = move |tau: f64| {
                            let mut theta = theta.clone();
                            theta[i] = if linear { tau } else { tau.sqrt() };
                            theta
                        };
                        (g, Box::new(along) as Path)
                    })
                }
            };
            let Some((slope, along)) = trial else {
                continue;
            };
            let mut tau = 1.0;
            while tau > 1e-12 && !self.exhausted() {
                let mut x = inner.clone();
                x[own.clone()].copy_from_slice(&along(tau));
                let f =
                    self.problem.evaluate(&x, self.options.reml, &mut self.factor).unwrap_or(f64::INFINITY);
                let down = f < point.f + 1e-4 * tau * slope && f < point.f - self.noise(point.f);
                self.note(f, slope, tau, -tau * slope, down, "saddle");
                if down {
                    let x = self.moved(&point.x, &inner, &x);
                    *point = self.complete(x, f);
                    return Ok(true);
                }
                tau *= 0.1;
            }
        }
        Ok(false)
    }

    /// Sets components that have all but vanished to exactly zero; true when the criterion agrees.
    pub(super) fn snap(&mut self, point: &mut Point) -> Result<bool, Error> {
        let inner = self.inner(&point.x);
        let mut x = inner.clone();
        let mut at = 0;
        for term in &self.problem.cross.terms {
            let (s, k) = (&term.structure, term.structure.k);
            let own = at..at + s.n_theta();
            at = own.end;
            let theta = &inner[own.clone()];
            if s.kind == Kind::Unstructured {
                let lambda = s.lambda(theta);
                let gram = dense::square(&lambda, &dense::transpose(&lambda, k), k);
                let (d, u) = dense::eigen(&gram, k);
                let zero = |v: f64| v < VANISHING * VANISHING;
                // Only when a direction is nearly, but not up to rounding, gone.
                if d.iter().any(|v| zero(*v) && *v > 1e-28 * d[k - 1].max(1.0)) {
                    let root: Vec<f64> = (0..k * k)
                        .map(|l| if zero(d[l / k]) { 0.0 } else { u[l] * d[l / k].sqrt() })
                        .collect();
                    x[own].copy_from_slice(&clean(s.theta_of(&root)));
                }
            } else {
                let sds = s.n_theta() - usize::from(s.rho_index().is_some());
                for i in own.start..own.start + sds {
                    if x[i].abs() < VANISHING {
                        x[i] = 0.0;
                    }
                }
            }
        }
        if x == inner || self.exhausted() {
            return Ok(false);
        }
        let f = self.problem.evaluate(&x, self.options.reml, &mut self.factor).unwrap_or(f64::INFINITY);
        let agrees = f <= point.f + 100.0 * NOISE * (1.0 + point.f.abs()) + self.noise(point.f);
        self.note(f, 0.0, 0.0, 0.0, agrees, "boundary");
        if agrees {
            let x = self.moved(&point.x, &inner, &x);
            *point = self.complete(x, f);
        } else {
            self.problem.evaluate(&inner, self.options.reml, &mut self.factor)?;
        }
        // The criterion was no worse, and stationarity is looked at again either way.
        Ok(agrees)
    }

    /// Looks at the criterion with one term, or one column of a term, at zero; true when that is lower.
    ///
    /// On tiny designs an interior optimum can be local while the boundary is lower. One factorisation a
    /// candidate, so it is done where that costs next to nothing and where several optima are a real possibility.
    pub(super) fn lower_basin(&mut self, point: &mut Point) -> Result<bool, Error> {
        if self.problem.cross.n_random() > FEW_EFFECTS {
            return Ok(false);
        }
        let inner = self.inner(&point.x);
        let mut candidates = Vec::new();
        let mut at = 0;
        for term in &self.problem.cross.terms {
            let s = &term.structure;
            let own = at..at + s.n_theta();
            at = own.end;
            let sds = s.n_theta() - usize::from(s.rho_index().is_some());
            let row = |t: usize| if s.kind == Kind::Unstructured { s.entry(t).0 } else { t };
            let columns = if s.k == 1 || s.homogeneous { 0 } else { s.k };
            // None: all standard deviations of the term.
            for column in std::iter::once(None).chain((0..columns).map(Some)) {
                let mut x = inner.clone();
                for t in (0..sds).filter(|t| column.is_none_or(|c| row(*t) == c)) {
                    x[own.start + t] = 0.0;
                }
                candidates.push(x);
            }
        }
        candidates.retain(|x| *x != inner);
        for x in candidates {
            if self.exhausted() {
                break;
            }
            let f = self.problem.evaluate(&x, self.options.reml, &mut self.factor).unwrap_or(f64::INFINITY);
            let lower = f < point.f - 1e-9 * (1.0 + point.f.abs());
            if lower {
                self.note(f, 0.0, 0.0, 0.0, lower, "basin");
                let x = self.moved(&point.x, &inner, &x);
                *point = self.complete(x, f);
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn finish(self, point: Point, converged: bool, promised: f64) -> Result<Optimum, Error> {
        let inner = self.inner(&point.x);
        let mut cone = Vec::new();
        let mut at = 0;
        for (t, term) in self.problem.cross.terms.iter().enumerate() {
            let (s, k) = (&term.structure, term.structure.k);
            let own = at..at + s.n_theta();
            at = own.end;
            let (g, scale) = (&point.d.g[t], scale_of(&point.d.size[t], k));
            let lambda = s.lambda(&inner[own.clone()]);
            let largest = |m: &[f64]| m.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            let (stationarity, lowest) = match s.kind {
                Kind::Unstructured => (largest(&dense::square(g, &lambda, k)), dense::eigen(g, k).0[0]),
                _ => {
                    let sds = s.n_theta() - usize::from(s.rho_index().is_some());
                    let lowest = (0..sds)
                        .filter(|i| s.kind == Kind::Diagonal || inner[own.start + i] == 0.0)
                        .map(|i| multiplier(g, s, i, &point.raw[own.clone()]))
                        .fold(f64::INFINITY, f64::min);
                    (largest(&point.d.gradient[own.clone()]), lowest)
                }
            };
            cone.push(Cone {
                g: g.clone(),
                lambda,
                scale,
                stationarity: stationarity / scale,
                min_eigenvalue: if lowest.is_finite() { lowest / scale } else { 0.0 },
            });
        }
        Ok(Optimum {
            theta: self.problem.outer(&inner),
            criterion: point.f,
            promised,
            evaluations: self.trace.len(),
            converged,
            cone,
            trace: self.trace,
        })
    }
}

/// Rounding dust off exact zeros.
pub(super) fn clean(mut theta: Vec<f64>) -> Vec<f64> {
    let largest = theta.iter().fold(0.0f64, |a, v| a.max(v.abs()));
    for v in &mut theta {
        if v.abs() < 1e-12 * largest {
            *v = 0.0;
        }
    }
    theta
}

/// Slope of f in the i-th variance, or in the standard deviation itself where covariances are linear in it.
fn multiplier(g: &[f64], s: &Structure, i: usize, raw: &[f64]) -> f64 {
    let k = s.k;
    match s.kind {
        Kind::CompoundSymmetry | Kind::Ar1 if !s.homogeneous => raw[i],
        _ if s.homogeneous => (0..k).map(|j| g[j + j * k]).sum(),
        _ => g[i + i * k],
    }
}

fn scale_of(size: &[f64], k: usize) -> f64 {
    (0..k).map(|i| size[i + i * k].abs()).fold(f64::MIN_POSITIVE, f64::max)
}
