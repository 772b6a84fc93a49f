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

mod boundary;
mod coordinate;
mod model;

use crate::criterion::{Derivatives, Problem};
use crate::dense;
use crate::error::Error;
use crate::factor::{Factor, Modes};
use crate::structure::Kind;
use boundary::clean;
use coordinate::{Coordinate, coordinates};
use model::{Model, correct};

/// A promised decrease of f below this is no reason to go on.
const NEGLIGIBLE: f64 = 1e-11;

/// A promised decrease below this is rounding error.
const FINAL: f64 = 1e-16;

/// Relative rounding error of an evaluation of f: actual decreases below it say nothing.
const NOISE: f64 = 1e-13;

/// The Hessian learns from the gradients seen once a step promises less than this, or after so many evaluations.
const SECANT_BELOW: f64 = 1e-3;

const SECANT_FROM: usize = 20;

/// After so many evaluations, and then again and again, unstructured terms are turned into their principal axes.
const TURN_FROM: usize = 5;

const TURN_EVERY: usize = 4;

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
            None => self.problem.start(),
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

    /// Rounding error of an evaluation near criterion `f`: that of its sum, and of r2 where groups differ far more than rows.
    fn noise(&self, f: f64) -> f64 {
        let c = &self.problem.cross;
        let m = c.p + 1;
        let cancelled = c.xx[m * m - 1] / self.factor.r2;
        let cancelled = if cancelled.is_finite() { cancelled.max(0.0) } else { 0.0 };
        NOISE * (1.0 + f.abs() + c.n as f64) + 4.0 * f64::EPSILON * c.n as f64 * cancelled
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
            let noise = self.noise(point.f);
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
                    && (predicted > SECANT_BELOW || self.trace.len().is_multiple_of(TURN_EVERY));
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
}
