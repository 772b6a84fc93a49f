//! Trust-region Newton on theta, and the certificate at the optimum.
//!
//! The search runs in the parameters of the standardised columns, unconstrained: signs of lambda's columns do not matter
//! to Sigma, correlations go through tanh. Steps solve the trust-region problem exactly, in the eigenvectors of the Hessian
//! scaled by the square roots of the average information, with |eigenvalue| in place of negative ones. It ends when the decrease that
//! the model still promises is negligible, never because a step was small.
//!
//! At the end the cone decides (method: section 3): `G lambda = 0` and G positive semidefinite. A negative eigenvalue of G at a
//! stationary point is a saddle: Sigma moves along that eigenvector and the search goes on. A component that has
//! shrunk to nothing is set to exactly zero when the criterion does not mind.

use crate::criterion::{Derivatives, Problem};
use crate::dense;
use crate::error::Error;
use crate::factor::{Factor, Modes};
use crate::structure::{Kind, Structure};
use std::cell::OnceCell;

/// A promised decrease of f below this is no reason to go on.
const NEGLIGIBLE: f64 = 1e-11;

/// A promised decrease below this is rounding error.
const FINAL: f64 = 1e-16;

/// Relative rounding error of an evaluation of f: actual decreases below it say nothing.
const NOISE: f64 = 1e-13;

/// An eigenvalue of G below minus this fraction of its natural size is a way down.
const DESCENT: f64 = 1e-6;

/// Standard deviations (standardised columns, in units of sigma) below this are tried at exactly zero.
const VANISHING: f64 = 1e-3;

/// The Hessian learns from the gradients seen once a step promises less than this, or after so many evaluations.
const SECANT_BELOW: f64 = 1e-3;
const SECANT_FROM: usize = 20;

/// After so many evaluations, and then again and again, unstructured terms are turned into their principal axes.
const TURN_FROM: usize = 5;
const TURN_EVERY: usize = 4;

/// Up to this many random effects, boundary points are looked at for a lower basin.
const FEW_EFFECTS: usize = 2000;

/// A penalised residual sum of squares below this share of the total is rounding error: the random effects reproduce the
/// response (it is constant within groups, say), the criterion has no minimum.
const REPRODUCED: f64 = 1e-13;

/// How the search is limited.
#[derive(Debug, Clone)]
pub struct Options {
    /// REML or ML.
    pub reml: bool,
    /// Starting theta (the user's), or the default.
    pub start: Option<Vec<f64>>,
    /// Evaluations of the criterion after which to give up.
    pub max_evaluations: usize,
}

/// One evaluation of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Number of the evaluation, from 1.
    pub evaluation: usize,
    /// Criterion there.
    pub criterion: f64,
    /// Gradient norm in information units at the point stepped from.
    pub gradient: f64,
    /// Trust radius.
    pub radius: f64,
    /// Decrease that the model promised.
    pub predicted: f64,
    /// Was the step taken?
    pub accepted: bool,
    /// What kind of step: start, newton, saddle, boundary or basin.
    pub kind: &'static str,
}

/// Optimality of one term over its cone of covariance matrices.
#[derive(Debug, Clone)]
pub struct Cone {
    /// Multiplier G = df/dSigma, k x k, standardised columns.
    pub g: Vec<f64>,
    /// lambda, k x k, standardised columns.
    pub lambda: Vec<f64>,
    /// Natural size of G: the largest diagonal element of `sum Z'PZ`.
    pub scale: f64,
    /// Largest element of `|G lambda|` over the scale (gradient for other structures).
    pub stationarity: f64,
    /// Smallest multiplier over the scale: an eigenvalue of G, or a diagonal element for diagonal terms.
    pub min_eigenvalue: f64,
}

/// Where the search ended and how it got there.
#[derive(Debug, Clone)]
pub struct Optimum {
    /// theta in the user's columns.
    pub theta: Vec<f64>,
    /// Criterion.
    pub criterion: f64,
    /// Decrease of f that a further Newton step promises.
    pub promised: f64,
    /// Evaluations of the criterion.
    pub evaluations: usize,
    /// Did it end because nothing is left to gain?
    pub converged: bool,
    /// Cone conditions by term.
    pub cone: Vec<Cone>,
    /// All evaluations.
    pub trace: Vec<Step>,
}

/// A point of the search with everything known there.
struct Point {
    x: Vec<f64>,
    f: f64,
    d: Derivatives,
    /// Gradient in inner theta.
    raw: Vec<f64>,
}

/// How a parameter is searched for: as it is, or through a map that keeps it in its range.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Coordinate {
    /// Signs do not matter, or any value is allowed.
    Same,
    /// A standard deviation whose sign would matter: `exp`.
    Log,
    /// A correlation between two bounds: `tanh`.
    Bounded(f64, f64),
}

impl Coordinate {
    fn free(self, value: f64) -> f64 {
        match self {
            Coordinate::Same => value,
            Coordinate::Log => value.abs().ln(),
            Coordinate::Bounded(lo, hi) => {
                let half = (hi - lo) / 2.0;
                ((value - lo - half) / half).clamp(-0.999_999, 0.999_999).atanh()
            }
        }
    }

    /// Value and its first two derivatives.
    fn value(self, z: f64) -> [f64; 3] {
        match self {
            Coordinate::Same => [z, 1.0, 0.0],
            Coordinate::Log => [z.exp(); 3],
            Coordinate::Bounded(lo, hi) => {
                let (half, th) = ((hi - lo) / 2.0, z.tanh());
                let first = half * (1.0 - th * th);
                [lo + half + half * th, first, -2.0 * th * first]
            }
        }
    }
}

/// Theta along a way out of a saddle, as a function of how far.
type Path = Box<dyn Fn(f64) -> Vec<f64>>;

fn coordinates(s: &Structure) -> Vec<Coordinate> {
    let n = s.n_theta();
    match s.rho_bounds() {
        None => vec![Coordinate::Same; n],
        Some((lo, hi)) => {
            let sd = if s.homogeneous { Coordinate::Same } else { Coordinate::Log };
            let mut all = vec![sd; n - 1];
            all.push(Coordinate::Bounded(lo, hi));
            all
        }
    }
}

struct Search<'a> {
    problem: &'a Problem,
    options: &'a Options,
    coordinates: Vec<Coordinate>,
    /// Axes of each unstructured term, k x k; empty while they are those of its columns.
    frames: Vec<Vec<f64>>,
    factor: Factor,
    trace: Vec<Step>,
}

impl Problem {
    /// Minimises the criterion.
    pub fn optimize(&self, options: &Options) -> Result<Optimum, Error> {
        let coordinates = self.cross.terms.iter().flat_map(|t| coordinates(&t.structure)).collect();
        let frames = vec![Vec::new(); self.cross.terms.len()];
        Search { problem: self, options, coordinates, frames, factor: Factor::default(), trace: Vec::new() }
            .run()
    }
}

impl Search<'_> {
    fn run(mut self) -> Result<Optimum, Error> {
        let start = match &self.options.start {
            Some(theta) => self.problem.inner(theta),
            None => self.problem.cross.terms.iter().flat_map(|t| t.structure.start()).collect(),
        };
        let mut point = self.first(self.free(&start))?;
        let (mut converged, mut promised) = self.settle(&mut point)?;
        while !self.exhausted() && self.lower_basin(&mut point)? {
            (converged, promised) = self.settle(&mut point)?;
        }
        self.finish(point, converged, promised)
    }

    /// Descends to a local optimum over the cone: no saddle, and exact zeros where components have vanished.
    fn settle(&mut self, point: &mut Point) -> Result<(bool, f64), Error> {
        let (mut converged, mut promised) = self.descend(point)?;
        for _round in 0..20 {
            if self.exhausted() {
                break;
            }
            if !self.leave_saddle(point)? {
                if !self.snap(point)? {
                    break;
                }
                promised = Model::new(&point.d, point.x.len()).step(f64::INFINITY).1;
                if promised <= NEGLIGIBLE {
                    converged = true;
                    // At the boundary and stationary; only a way back into the cone's interior is left to look for.
                    if !self.leave_saddle(point)? {
                        break;
                    }
                }
            }
            (converged, promised) = self.descend(point)?;
        }
        Ok((converged, promised))
    }

    /// Looks at the criterion with one term, or one column of a term, at zero; true when that is lower.
    ///
    /// On tiny designs an interior optimum can be local while the boundary is lower. One factorisation a
    /// candidate, so it is done where that costs next to nothing and where several optima are a real possibility.
    fn lower_basin(&mut self, point: &mut Point) -> Result<bool, Error> {
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

    fn exhausted(&self) -> bool {
        self.trace.len() >= self.options.max_evaluations
    }

    /// Search coordinates of inner theta.
    fn free(&self, inner: &[f64]) -> Vec<f64> {
        self.moved(inner, &vec![f64::NAN; inner.len()], inner)
    }

    /// `x` with the coordinates of those terms replaced that differ between two inner thetas; the others keep their digits.
    fn moved(&self, x: &[f64], from: &[f64], to: &[f64]) -> Vec<f64> {
        let mut out = x.to_vec();
        for (t, own) in self.spans() {
            if from[own.clone()] == to[own.clone()] {
                continue;
            }
            let (s, frame) = (&self.problem.cross.terms[t].structure, &self.frames[t]);
            if frame.is_empty() {
                own.filter(|i| from[*i] != to[*i]).for_each(|i| out[i] = self.coordinates[i].free(to[i]));
            } else {
                let back = dense::transpose(frame, s.k);
                let lambda = dense::square(&back, &s.lambda(&to[own.clone()]), s.k);
                out[own].copy_from_slice(&s.theta_of(&lambda));
            }
        }
        out
    }

    /// Inner theta of search coordinates.
    fn inner(&self, x: &[f64]) -> Vec<f64> {
        let mut out: Vec<f64> = x.iter().zip(&self.coordinates).map(|(z, c)| c.value(*z)[0]).collect();
        for (t, own) in self.spans() {
            let (s, frame) = (&self.problem.cross.terms[t].structure, &self.frames[t]);
            if !frame.is_empty() {
                let lambda = dense::square(frame, &s.lambda(&x[own.clone()]), s.k);
                out[own].copy_from_slice(&clean(s.theta_of(&lambda)));
            }
        }
        out
    }

    /// Each term with its part of theta.
    fn spans(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + use<> {
        let sizes: Vec<usize> = self.problem.cross.terms.iter().map(|t| t.structure.n_theta()).collect();
        let mut at = 0;
        sizes.into_iter().enumerate().map(move |(t, size)| {
            at += size;
            (t, at - size..at)
        })
    }

    /// Turns unstructured terms into the principal axes of their present covariance.
    ///
    /// There lambda is diagonal and sorted: directions without variance are trailing zero columns, which the search drops in
    /// one step. In the columns of the formula the same covariance can be a curved, nearly flat valley of lambda.
    fn turn(&mut self, x: &mut [f64]) {
        let inner = self.inner(x);
        for (t, own) in self.spans() {
            let s = &self.problem.cross.terms[t].structure;
            if s.kind != Kind::Unstructured {
                continue;
            }
            let k = s.k;
            let lambda = s.lambda(&inner[own.clone()]);
            let (d, u) = dense::eigen(&dense::square(&lambda, &dense::transpose(&lambda, k), k), k);
            self.frames[t] = (0..k).rev().flat_map(|j| u[j * k..(j + 1) * k].to_vec()).collect();
            let mut axes = vec![0.0; k * k];
            (0..k).for_each(|j| axes[j * (k + 1)] = d[k - 1 - j].max(0.0).sqrt());
            x[own].copy_from_slice(&s.theta_of(&axes));
        }
    }

    /// Derivatives in search coordinates at the point the factor holds, and the gradient in inner theta.
    fn derivatives(&self, x: &[f64], modes: &Modes) -> (Derivatives, Vec<f64>) {
        let theta: Vec<f64> = x.iter().zip(&self.coordinates).map(|(z, c)| c.value(*z)[0]).collect();
        let mut d = self.problem.derivatives(&theta, &self.frames, self.options.reml, &self.factor, modes);
        let raw = d.gradient.clone();
        let n = x.len();
        for (r, coordinate) in self.coordinates.iter().enumerate() {
            if *coordinate == Coordinate::Same {
                continue;
            }
            let [_, first, second] = coordinate.value(x[r]);
            for j in 0..n {
                for m in [&mut d.hessian, &mut d.information] {
                    m[r + j * n] *= first;
                    m[j + r * n] *= first;
                }
            }
            d.hessian[r + r * n] += d.gradient[r] * second;
            d.gradient[r] *= first;
        }
        (d, raw)
    }

    fn first(&mut self, x: Vec<f64>) -> Result<Point, Error> {
        let f = self.problem.evaluate(&self.inner(&x), self.options.reml, &mut self.factor)?;
        self.note(f, f64::NAN, f64::INFINITY, 0.0, true, "start");
        Ok(self.complete(x, f))
    }

    fn complete(&mut self, x: Vec<f64>, f: f64) -> Point {
        let modes = self.factor.modes(&self.problem.cross);
        let (d, raw) = self.derivatives(&x, &modes);
        Point { x, f, d, raw }
    }

    fn note(
        &mut self,
        f: f64,
        gradient: f64,
        radius: f64,
        predicted: f64,
        accepted: bool,
        kind: &'static str,
    ) {
        let evaluation = self.trace.len() + 1;
        self.trace.push(Step { evaluation, criterion: f, gradient, radius, predicted, accepted, kind });
    }

    /// Newton steps until nothing is left to gain; returns whether it got there, and what was still promised.
    fn descend(&mut self, point: &mut Point) -> Result<(bool, f64), Error> {
        let n = point.x.len();
        if n == 0 {
            return Ok((true, 0.0));
        }
        let mut radius = f64::INFINITY;
        let mut promised = f64::INFINITY;
        let mut stalled = 0;
        let mut polished = false;
        let mut secant = vec![0.0; n * n];
        while !self.exhausted() {
            let model = Model::corrected(&point.d, &secant, n);
            let (step, predicted, length) = model.step(radius);
            promised = model.step(f64::INFINITY).1;
            if promised <= FINAL || (polished && promised <= NEGLIGIBLE) {
                return Ok((true, promised));
            }
            // Close enough: one more step, for digits that the criterion itself can no longer tell.
            polished = promised <= NEGLIGIBLE;
            let x: Vec<f64> = point.x.iter().zip(&step).map(|(a, b)| a + b).collect();
            let f = self
                .problem
                .evaluate(&self.inner(&x), self.options.reml, &mut self.factor)
                .unwrap_or(f64::INFINITY);
            let noise = NOISE * (1.0 + point.f.abs() + self.problem.cross.n as f64);
            let actual = point.f - f;
            let ratio = actual / predicted.max(f64::MIN_POSITIVE);
            let quiet = predicted <= 10.0 * noise && actual.abs() <= 10.0 * noise;
            let accepted = ratio > 1e-4 || quiet;
            self.note(f, model.gradient_norm, radius, predicted, accepted, "newton");
            if accepted {
                let m = self.problem.cross.p + 1;
                if self.factor.r2 <= REPRODUCED * self.problem.cross.xx[m * m - 1] {
                    return Err(Error::ZeroResidual);
                }
                // Twice the promised decrease: curvature is overestimated, and gradients must be compared along one basis.
                let slow = ratio > 1.5 && self.trace.len() > SECANT_FROM;
                let turned = !slow
                    && self.trace.len() >= TURN_FROM
                    && (predicted > SECANT_BELOW || self.trace.len() % TURN_EVERY == 0);
                let mut x = x;
                if turned {
                    self.turn(&mut x);
                    secant.fill(0.0);
                }
                let next = self.complete(x, f);
                if !turned && (self.trace.len() > SECANT_FROM || predicted < SECANT_BELOW) {
                    if !(0.5..1.5).contains(&ratio) {
                        // The corrected model was wrong about this step: start learning anew.
                        secant.fill(0.0);
                    }
                    if ratio > 0.5 {
                        correct(&mut secant, &point.d, &next.d, &step);
                    }
                }
                *point = next;
                if quiet {
                    stalled += 1;
                    if stalled >= 3 {
                        let left = Model::new(&point.d, n).step(f64::INFINITY).1;
                        return Ok((left <= 100.0 * noise.max(NEGLIGIBLE), left));
                    }
                }
            }
            if ratio < 0.25 && !quiet {
                radius = 0.25 * length.min(radius);
            } else if ratio > 0.75 && length >= 0.99 * radius {
                radius *= 3.0;
            }
            if radius < 1e-14 {
                break;
            }
        }
        Ok((false, promised))
    }

    /// If some multiplier is negative, moves Sigma along it and returns true.
    fn leave_saddle(&mut self, point: &mut Point) -> Result<bool, Error> {
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
                let down = f < point.f + 1e-4 * tau * slope && f < point.f - NOISE * (1.0 + point.f.abs());
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
    fn snap(&mut self, point: &mut Point) -> Result<bool, Error> {
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
        let agrees = f <= point.f + 100.0 * NOISE * (1.0 + point.f.abs());
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

    fn finish(self, point: Point, converged: bool, promised: f64) -> Result<Optimum, Error> {
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
fn clean(mut theta: Vec<f64>) -> Vec<f64> {
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

/// Symmetric rank-one correction of the Hessian from one step: what the gradients say beyond average information.
///
/// Most searches end before it matters. Where average and observed information differ much (few levels, a nearly
/// singular lambda) it turns slow linear convergence into superlinear.
fn correct(secant: &mut [f64], old: &Derivatives, new: &Derivatives, step: &[f64]) {
    let n = step.len();
    let r: Vec<f64> = (0..n)
        .map(|i| {
            let expected: f64 = (0..n).map(|j| (new.hessian[i + j * n] + secant[i + j * n]) * step[j]).sum();
            new.gradient[i] - old.gradient[i] - expected
        })
        .collect();
    let scale = |i: usize| new.information[i + i * n].abs().max(f64::MIN_POSITIVE).sqrt();
    let rs: f64 = r.iter().zip(step).map(|(a, b)| a * b).sum();
    let rr: f64 = (0..n).map(|i| (r[i] / scale(i)).powi(2)).sum::<f64>().sqrt();
    let ss: f64 = (0..n).map(|i| (step[i] * scale(i)).powi(2)).sum::<f64>().sqrt();
    if rs.is_finite() && rs.abs() > 1e-3 * rr * ss {
        for j in 0..n {
            for i in 0..n {
                secant[i + j * n] += r[i] * r[j] / rs;
            }
        }
    }
}

/// The quadratic model in scaled coordinates.
struct Model {
    n: usize,
    scale: Vec<f64>,
    hessian: Vec<f64>,
    gradient: Vec<f64>,
    gradient_norm: f64,
    /// The full Newton step and its promise, when the Hessian is safely positive definite.
    newton: Option<(Vec<f64>, f64)>,
    axes: OnceCell<Axes>,
}

/// Eigen-coordinates of the scaled Hessian: only needed when the trust region binds, or curvature is not positive.
struct Axes {
    values: Vec<f64>,
    vectors: Vec<f64>,
    gradient: Vec<f64>,
}

impl Model {
    fn new(d: &Derivatives, n: usize) -> Model {
        Model::corrected(d, &vec![0.0; n * n], n)
    }

    fn corrected(d: &Derivatives, secant: &[f64], n: usize) -> Model {
        let own = |i: usize| d.information[i + i * n].abs().max(d.hessian[i + i * n].abs());
        let largest = (0..n).map(own).fold(0.0, f64::max);
        let scale: Vec<f64> =
            (0..n).map(|i| own(i).max(1e-12 * largest).max(f64::MIN_POSITIVE).sqrt()).collect();
        let hessian: Vec<f64> = (0..n * n)
            .map(|l| {
                let (i, j) = (l % n, l / n);
                ((d.hessian[i + j * n] + d.hessian[j + i * n]) / 2.0 + secant[i + j * n])
                    / (scale[i] * scale[j])
            })
            .collect();
        let gradient: Vec<f64> = (0..n).map(|i| d.gradient[i] / scale[i]).collect();
        let gradient_norm = norm(&gradient);
        let newton = newton_step(&hessian, &gradient, n);
        Model { n, scale, hessian, gradient, gradient_norm, newton, axes: OnceCell::new() }
    }

    fn axes(&self) -> &Axes {
        self.axes.get_or_init(|| {
            let n = self.n;
            let (values, vectors) = dense::eigen(&self.hessian, n);
            let gradient =
                (0..n).map(|j| (0..n).map(|i| vectors[i + j * n] * self.gradient[i]).sum()).collect();
            // Negative curvature is a direction to go along, flat ones are bounded away from zero.
            let top = values.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            let values = values.iter().map(|v| v.abs().max(1e-10 * top).max(f64::MIN_POSITIVE)).collect();
            Axes { values, vectors, gradient }
        })
    }

    /// Minimiser of the model within `radius`: step, promised decrease, scaled length.
    fn step(&self, radius: f64) -> (Vec<f64>, f64, f64) {
        if let Some((z, promised)) = &self.newton {
            let length = norm(z);
            if length <= radius {
                return (z.iter().zip(&self.scale).map(|(z, s)| z / s).collect(), *promised, length);
            }
        }
        let Axes { values, vectors, gradient } = self.axes();
        let length = |mu: f64| -> f64 {
            gradient.iter().zip(values).map(|(g, v)| (g / (v + mu)).powi(2)).sum::<f64>().sqrt()
        };
        let mut mu = 0.0;
        if length(0.0) > radius {
            // The secular function decreases in mu: bisect until the length is the radius.
            let (mut lo, mut hi) = (0.0, self.gradient_norm / radius);
            for _ in 0..200 {
                mu = 0.5 * (lo + hi);
                if length(mu) > radius {
                    lo = mu;
                } else {
                    hi = mu;
                }
                if hi - lo <= 1e-6 * hi {
                    break;
                }
            }
            mu = hi;
        }
        let z: Vec<f64> = gradient.iter().zip(values).map(|(g, v)| -g / (v + mu)).collect();
        let promised =
            -z.iter().zip(gradient).zip(values).map(|((z, g), v)| z * (g + 0.5 * v * z)).sum::<f64>();
        let n = self.n;
        let step =
            (0..n).map(|i| (0..n).map(|j| vectors[i + j * n] * z[j]).sum::<f64>() / self.scale[i]).collect();
        (step, promised, norm(&z))
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `-H^-1 g` and the decrease it promises, or `None` unless all pivots of H are well above zero.
fn newton_step(hessian: &[f64], gradient: &[f64], n: usize) -> Option<(Vec<f64>, f64)> {
    let mut l = hessian.to_vec();
    dense::cholesky(&mut l, n, n).ok()?;
    if (0..n).any(|j| l[j + j * n] < 1e-4) {
        return None;
    }
    let mut z: Vec<f64> = gradient.iter().map(|g| -g).collect();
    dense::solve_lower(&l, n, n, &mut z, 1);
    let promised = 0.5 * z.iter().map(|v| v * v).sum::<f64>();
    dense::solve_lower_transposed(&l, n, n, &mut z);
    Some((z, promised))
}
