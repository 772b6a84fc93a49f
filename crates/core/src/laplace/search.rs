//! BFGS from the linearised model (start.rs), and the joint Hessian at the end.
//!
//! Gradients are exact, so a dozen steps do. Where the curvature that was assumed turns out wrong, the linearised model is asked
//! again: with many coefficients BFGS alone would have to learn it one direction at a time.

use super::{Gradient, Laplace, State};
use crate::criterion::Problem;
use crate::dense;
use crate::error::Error;
use crate::factor::Factor;
use crate::structure::Kind;
use rayon::prelude::*;

/// A promised decrease of F below this is no reason to go on.
const NEGLIGIBLE: f64 = 1e-12;

/// When F does not change any more, a promise below this is its rounding (or a parameter on its way to infinity).
const STALLED: f64 = 1e-6;

/// A relative change of F that may be rounding; three such steps in a row are the end.
const QUIET: f64 = 1e-11;

/// Standard deviations (standardised columns, scale of the link) below this are tried at zero, and stay there if F rises by no
/// more than that.
const NEARLY_ZERO: f64 = 1e-3;
const SAME: f64 = 1e-9;

/// Up to so many rows a singular fit is tried from more than one other start.
const FEW_ROWS: usize = 10_000;

/// Second derivative that stands for a parameter held at its limit: it does not move.
const HELD: f64 = 1e12;

/// Longest step, in the metric of the Hessian.
const LONGEST: f64 = 6.0;

/// Least curvature to begin with, in scaled parameters.
const FLAT: f64 = 1e-2;

/// Curvature along a step over what was assumed: outside of these the linearised model is asked again.
const TRUSTED: (f64, f64) = (0.7, 1.4);

/// So often, and only while more than this is promised.
const REFRESHES: usize = 3;
const WORTH: f64 = 1e-3;

/// Where the search ended.
#[derive(Debug, Clone)]
pub struct LaplaceOptimum {
    /// (theta of standardised columns, beta~, gamma).
    pub psi: Vec<f64>,
    /// F there.
    pub criterion: f64,
    /// Its gradient.
    pub gradient: Vec<f64>,
    /// What another step still promises.
    pub promised: f64,
    /// Evaluations of F.
    pub evaluations: usize,
    /// Newton steps for modes in all of them.
    pub inner: usize,
    /// Nothing was left to gain.
    pub converged: bool,
    /// Parameters at a limit that F would go beyond.
    pub held: Vec<bool>,
    /// About the standard error of each parameter, from the search's own Hessian.
    pub scale: Vec<f64>,
    /// dF/dSigma of each term and its scale, standardised columns.
    pub cone: Vec<(Vec<f64>, Vec<f64>)>,
    /// The mode and all that belongs to it.
    pub state: State,
}

/// An evaluated point.
pub(super) struct Point {
    pub psi: Vec<f64>,
    pub f: f64,
    pub g: Gradient,
    pub state: State,
}

impl Laplace {
    /// Minimises F, starting from a linear predictor and the gammas.
    pub fn optimize(
        &self,
        eta: &[f64],
        gamma: &[f64],
        max_evaluations: usize,
    ) -> Result<LaplaceOptimum, Error> {
        let (psi, block) = self.start(&self.table.sort(eta), gamma)?;
        let mut first = self.begin_at(psi.clone(), &block, max_evaluations)?;
        if first.converged && self.is_singular(&first.psi) {
            // There may be a better optimum inside: look from larger variances, too. With many rows that is rare.
            let starts: &[f64] = if self.table.n <= FEW_ROWS { &[1.0, 4.0] } else { &[1.0] };
            for sd in starts {
                let mut other = psi.clone();
                let terms = &self.problem.cross.terms;
                let large = terms.iter().flat_map(|t| t.structure.start(&vec![*sd; t.structure.k]));
                other.iter_mut().zip(large).for_each(|(own, v)| *own = v);
                let Ok(mut second) = self.begin_at(other, &block, max_evaluations) else { continue };
                second.evaluations += first.evaluations;
                second.inner += first.inner;
                if second.converged && second.criterion < first.criterion - SAME {
                    first = second;
                } else {
                    (first.evaluations, first.inner) = (second.evaluations, second.inner);
                }
            }
        }
        Ok(first)
    }

    fn begin_at(
        &self,
        psi: Vec<f64>,
        block: &[f64],
        max_evaluations: usize,
    ) -> Result<LaplaceOptimum, Error> {
        let mut state = State::default();
        let f = self.evaluate(&psi, &mut state)?;
        let g = self.gradient(&psi, &mut state)?;
        let b = self.assumed(&psi, &g, block, &state)?;
        self.descend(Point { psi, f, g, state }, b, max_evaluations)
    }

    /// Whether the covariance of some term has a direction without variance.
    fn is_singular(&self, psi: &[f64]) -> bool {
        self.problem.split(&psi[..self.n_theta()]).any(|(term, own)| {
            let (lambda, k) = (term.structure.lambda(own), term.structure.k);
            (0..k).any(|i| lambda[i + i * k] == 0.0)
        })
    }

    /// The Hessian as far as it is known: theta and beta from the linearised model, gamma from differences.
    fn assumed(&self, psi: &[f64], g: &Gradient, block: &[f64], state: &State) -> Result<Vec<f64>, Error> {
        let (t, p, m) = (self.n_theta(), self.p(), self.n_psi());
        let mut b = vec![0.0; m * m];
        for j in 0..t {
            (0..t).for_each(|i| b[i + j * m] = g.hessian_theta[i + j * t]);
        }
        for j in 0..p {
            (0..p).for_each(|i| b[(t + i) + (t + j) * m] = block[i + j * p]);
        }
        for j in t + p..m {
            let h = 1e-3;
            let mut near = psi.to_vec();
            near[j] += h;
            let mut trial = State::from_modes(&state.u);
            self.evaluate(&near, &mut trial)?;
            let moved = self.gradient(&near, &mut trial)?;
            for i in 0..m {
                let slope = (moved.values[i] - g.values[i]) / h;
                b[i + j * m] = slope;
                b[j + i * m] = slope;
            }
        }
        for i in t + p..m {
            for j in t + p..i {
                let mean = 0.5 * (b[i + j * m] + b[j + i * m]);
                (b[i + j * m], b[j + i * m]) = (mean, mean);
            }
        }
        Ok(b)
    }

    /// BFGS from a point with a Hessian there.
    pub(super) fn descend(
        &self,
        from: Point,
        mut b: Vec<f64>,
        max_evaluations: usize,
    ) -> Result<LaplaceOptimum, Error> {
        let m = self.n_psi();
        positive(&mut b, m);
        let Point { mut psi, mut f, mut g, mut state } = from;
        let (mut evaluations, mut total) = (1 + self.n_gamma, state.inner);
        let bounds = self.bounds();
        let mut next_state = State::default();
        let (mut promised, mut converged, mut quiet, mut refreshed) = (f64::INFINITY, m == 0, 0, 0);
        while evaluations < max_evaluations && !converged {
            let (mut step, decrease) = free_step(&b, &g.values, &held(&bounds, &psi, &g.values));
            promised = decrease;
            if promised <= NEGLIGIBLE {
                converged = true;
                break;
            }
            let length = (2.0 * promised).sqrt();
            if length > LONGEST {
                step.iter_mut().for_each(|s| *s *= LONGEST / length);
            }
            let mut scale = 1.0;
            let mut found = None;
            for _ in 0..25 {
                let trial: Vec<f64> =
                    (0..m).map(|i| (psi[i] + scale * step[i]).clamp(bounds[i].0, bounds[i].1)).collect();
                let along: f64 = (0..m).map(|i| (trial[i] - psi[i]) * g.values[i]).sum();
                next_state.u.clone_from(&state.u);
                evaluations += 1;
                let value = self.evaluate(&trial, &mut next_state).unwrap_or(f64::INFINITY);
                total += next_state.inner;
                if value <= f + 1e-4 * along || (value - f).abs() <= 1e-12 * f.abs() && promised < 1e-8 {
                    found = Some((trial, value));
                    break;
                }
                // Minimum of the parabola through what is known, kept within limits.
                let parabola =
                    if value.is_finite() { -0.5 * along * scale / (value - f - along) } else { 0.0 };
                scale = parabola.clamp(0.1 * scale, 0.5 * scale);
            }
            let Some((next_psi, value)) = found else {
                converged = promised < STALLED;
                break;
            };
            // Without derivatives there is no way on: the last point that had them is what was reached.
            let Ok(next) = self.gradient(&next_psi, &mut next_state) else { break };
            if next.values.iter().any(|v| !v.is_finite()) {
                break;
            }
            quiet = if (f - value).abs() <= QUIET * f.abs() { quiet + 1 } else { 0 };
            std::mem::swap(&mut state, &mut next_state);
            let curvature = update(&mut b, &psi, &next_psi, &g.values, &next.values);
            (psi, g, f) = (next_psi, next, value);
            let surprising = !(TRUSTED.0..TRUSTED.1).contains(&curvature);
            if surprising && refreshed < REFRESHES && promised > WORTH {
                refreshed += 1;
                evaluations += self.n_gamma;
                let again =
                    self.beta_block(&psi, &state).and_then(|block| self.assumed(&psi, &g, &block, &state));
                if let Ok(hessian) = again {
                    b = hessian;
                    positive(&mut b, m);
                }
            }
            if quiet >= 3 && promised < STALLED {
                promised = free_step(&b, &g.values, &held(&bounds, &psi, &g.values)).1;
                converged = promised < STALLED;
                break;
            }
        }
        if let Some(trial) = self.snapped(&psi).filter(|_| converged) {
            next_state.u.clone_from(&state.u);
            evaluations += 1;
            if let Ok(value) = self.evaluate(&trial, &mut next_state)
                && value <= f + SAME * (1.0 + 1e-3 * f.abs())
            {
                g = self.gradient(&trial, &mut next_state)?;
                (psi, f, state) = (trial, value, next_state);
            }
        }
        let cone = g.g.into_iter().zip(g.size).collect();
        Ok(LaplaceOptimum {
            held: held(&bounds, &psi, &g.values),
            psi,
            criterion: f,
            gradient: g.values,
            promised,
            evaluations,
            inner: total,
            converged,
            scale: (0..m).map(|i| (2.0 / b[i + i * m].abs().max(1e-12)).sqrt().min(1.0)).collect(),
            cone,
            state,
        })
    }

    /// psi with standard deviations (in some direction) that are nearly zero at zero; None when there are none.
    fn snapped(&self, psi: &[f64]) -> Option<Vec<f64>> {
        let mut out = Vec::with_capacity(psi.len());
        for (term, own) in self.problem.split(&psi[..self.n_theta()]) {
            let (s, k) = (&term.structure, term.structure.k);
            if s.kind != Kind::Unstructured {
                let rho = s.rho_index();
                let snap = |(t, v): (usize, &f64)| {
                    if Some(t) != rho && v.abs() < NEARLY_ZERO { 0.0 } else { *v }
                };
                out.extend(own.iter().enumerate().map(snap));
                continue;
            }
            let lambda = s.lambda(own);
            let (values, vectors) =
                dense::eigen(&dense::square(&lambda, &dense::transpose(&lambda, k), k), k);
            let root = |v: f64| if v.max(0.0).sqrt() < NEARLY_ZERO { 0.0 } else { v.sqrt() };
            if values.iter().all(|v| root(*v) > 0.0) {
                out.extend_from_slice(own);
                continue;
            }
            let scaled: Vec<f64> = (0..k * k).map(|l| vectors[l] * root(values[l / k])).collect();
            out.extend(s.theta_of(&scaled));
        }
        out.extend_from_slice(&psi[self.n_theta()..]);
        (out != psi).then_some(out)
    }

    /// The record of a point that was found elsewhere.
    pub fn at(&self, psi: &[f64], scale: &[f64]) -> Result<LaplaceOptimum, Error> {
        let mut state = State::default();
        let criterion = self.evaluate(psi, &mut state)?;
        let g = self.gradient(psi, &mut state)?;
        Ok(LaplaceOptimum {
            held: held(&self.bounds(), psi, &g.values),
            psi: psi.to_vec(),
            criterion,
            gradient: g.values,
            promised: 0.0,
            evaluations: 1,
            inner: state.inner,
            converged: true,
            scale: scale.to_vec(),
            cone: g.g.into_iter().zip(g.size).collect(),
            state,
        })
    }

    /// Hessian of F in psi: central differences of the exact gradient, the columns side by side.
    pub fn hessian(&self, optimum: &LaplaceOptimum, scale: &[f64]) -> Result<Vec<f64>, Error> {
        let (m, bounds) = (self.n_psi(), self.bounds());
        let column = |j: usize| -> Result<Vec<f64>, Error> {
            if optimum.held[j] {
                return Ok((0..m).map(|i| if i == j { HELD } else { 0.0 }).collect());
            }
            let at = |move_by: f64, modes: &[f64]| -> Result<(f64, Vec<f64>, Vec<f64>), Error> {
                let mut psi = optimum.psi.clone();
                psi[j] = (psi[j] + move_by).clamp(bounds[j].0, bounds[j].1);
                let mut state = State::exact_from(modes);
                self.evaluate(&psi, &mut state)?;
                Ok((psi[j], self.gradient(&psi, &mut state)?.values, state.u))
            };
            let here = &optimum.state.u;
            let h = 1e-3 * scale[j];
            // At the edge of the range of a link one side must do, or a shorter step.
            let unknown = || (0..m).map(|i| if i == j { HELD } else { 0.0 }).collect::<Vec<f64>>();
            let Ok(down) = at(-h, here).or_else(|_| at(0.0, here)) else { return Ok(unknown()) };
            // The modes move as far to the other side, nearly.
            let opposite: Vec<f64> = here.iter().zip(&down.2).map(|(u, v)| 2.0 * u - v).collect();
            let Ok(up) = at(h, &opposite).or_else(|_| at(0.0, here)) else { return Ok(unknown()) };
            if up.0 - down.0 <= 0.0 || !up.1.iter().chain(&down.1).all(|v| v.is_finite()) {
                return Ok(unknown());
            }
            let ((low, down, _), (high, up, _)) = (down, up);
            let slope = |(i, (a, b)): (usize, (&f64, &f64))| {
                if optimum.held[i] { 0.0 } else { (a - b) / (high - low) }
            };
            Ok(up.iter().zip(&down).enumerate().map(slope).collect())
        };
        let columns: Vec<Result<Vec<f64>, Error>> = (0..m).into_par_iter().map(column).collect();
        let mut out = vec![0.0; m * m];
        for (j, column) in columns.into_iter().enumerate() {
            out[j * m..(j + 1) * m].copy_from_slice(&column?);
        }
        for j in 0..m {
            for i in 0..j {
                let mean = 0.5 * (out[i + j * m] + out[j + i * m]);
                (out[i + j * m], out[j + i * m]) = (mean, mean);
            }
        }
        Ok(out)
    }

    /// Factor at the point of a state, for covariances.
    #[must_use]
    pub fn factor_of<'a>(&self, state: &'a State) -> (&'a Factor, Option<&'a Problem>) {
        (&state.factor, state.problem.as_ref())
    }
}

/// Replaces eigenvalues (in scaled parameters) by their absolute values: BFGS needs a positive beginning, and keeps it.
pub(super) fn positive(b: &mut [f64], m: usize) {
    let size: Vec<f64> = (0..m).map(|i| b[i + i * m].abs().sqrt().max(1e-4)).collect();
    let scaled: Vec<f64> = (0..m * m).map(|l| b[l] / (size[l % m] * size[l / m])).collect();
    let (values, vectors) = dense::eigen(&scaled, m);
    for j in 0..m {
        for i in 0..m {
            let sum: f64 =
                (0..m).map(|l| values[l].abs().max(FLAT) * vectors[i + l * m] * vectors[j + l * m]).sum();
            b[i + j * m] = sum * size[i] * size[j];
        }
    }
}

/// Which parameters are at a limit with F falling beyond it.
fn held(bounds: &[(f64, f64)], psi: &[f64], g: &[f64]) -> Vec<bool> {
    let one = |i: usize| (psi[i] <= bounds[i].0 && g[i] > 0.0) || (psi[i] >= bounds[i].1 && g[i] < 0.0);
    (0..psi.len()).map(one).collect()
}

/// [`newton_step`] in the parameters that are not held.
fn free_step(b: &[f64], g: &[f64], held: &[bool]) -> (Vec<f64>, f64) {
    if !held.contains(&true) {
        return newton_step(b, g);
    }
    let m = g.len();
    let free: Vec<usize> = (0..m).filter(|i| !held[*i]).collect();
    let inner: Vec<f64> = free.iter().flat_map(|j| free.iter().map(move |i| b[i + j * m])).collect();
    let (step, promised) = newton_step(&inner, &free.iter().map(|i| g[*i]).collect::<Vec<f64>>());
    let mut out = vec![0.0; m];
    free.iter().zip(step).for_each(|(i, s)| out[*i] = s);
    (out, promised)
}

/// `-B^-1 g` with |eigenvalues|, and the decrease it promises.
pub(super) fn newton_step(b: &[f64], g: &[f64]) -> (Vec<f64>, f64) {
    let m = g.len();
    let size: Vec<f64> = (0..m).map(|i| b[i + i * m].abs().sqrt().max(1e-8)).collect();
    let scaled: Vec<f64> = (0..m * m).map(|l| b[l] / (size[l % m] * size[l / m])).collect();
    let (values, vectors) = dense::eigen(&scaled, m);
    let largest = values.iter().fold(0.0f64, |a, v| a.max(v.abs())).max(f64::MIN_POSITIVE);
    let mut step = vec![0.0; m];
    let mut promised = 0.0;
    for (l, value) in values.iter().enumerate() {
        let v = &vectors[l * m..(l + 1) * m];
        let along: f64 = (0..m).map(|i| v[i] * g[i] / size[i]).sum();
        let curvature = value.abs().max(1e-6 * largest);
        promised += 0.5 * along * along / curvature;
        (0..m).for_each(|i| step[i] -= v[i] * along / curvature / size[i]);
    }
    (step, promised)
}

/// BFGS with Powell's damping; the curvature along the step over what was assumed.
fn update(b: &mut [f64], x: &[f64], x_new: &[f64], g: &[f64], g_new: &[f64]) -> f64 {
    let m = x.len();
    let s: Vec<f64> = x_new.iter().zip(x).map(|(a, b)| a - b).collect();
    let y: Vec<f64> = g_new.iter().zip(g).map(|(a, b)| a - b).collect();
    let bs: Vec<f64> = (0..m).map(|i| (0..m).map(|j| b[i + j * m] * s[j]).sum()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let (sbs, sy) = (dot(&s, &bs), dot(&s, &y));
    if sbs <= 0.0 {
        return 1.0;
    }
    let share = if sy >= 0.1 * sbs { 1.0 } else { 0.9 * sbs / (sbs - sy) };
    let r: Vec<f64> = y.iter().zip(&bs).map(|(y, b)| share * y + (1.0 - share) * b).collect();
    let sr = dot(&s, &r);
    if sr <= 1e-300 {
        return sy / sbs;
    }
    for j in 0..m {
        for i in 0..m {
            b[i + j * m] += r[i] * r[j] / sr - bs[i] * bs[j] / sbs;
        }
    }
    sy / sbs
}
