//! Where to begin, BFGS from there, and the joint Hessian at the end.
//!
//! The start is a generalised linear model, then one linear mixed model on its working response: theta, beta and the
//! Hessian of beta come from it. From then on gradients are exact, so a dozen BFGS steps do.

use super::{Gradient, Laplace, State};
use crate::criterion::Problem;
use crate::cross::Rows;
use crate::dense;
use crate::error::Error;
use crate::factor::Factor;
use crate::family::Second;
use crate::newton::Options;
use crate::structure::Kind;
use crate::term::Term;
use rayon::prelude::*;

/// A promised decrease of F below this is no reason to go on.
const NEGLIGIBLE: f64 = 1e-12;

/// When F does not change any more, a promise below this is its rounding (or a parameter on its way to infinity).
const STALLED: f64 = 1e-6;

/// A relative change of F that may be rounding; three such steps in a row are the end.
const QUIET: f64 = 1e-11;

/// Standard deviations at the start lie between these.
const START: (f64, f64) = (0.15, 5.0);

/// Longest step, in the metric of the Hessian.
const LONGEST: f64 = 6.0;

/// Least curvature to begin with, in scaled parameters.
const FLAT: f64 = 1e-2;

/// Working weights below this share of the largest are raised to it.
const FAINT: f64 = 1e-8;

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
        let mut state = State::default();
        let f = self.evaluate(&psi, &mut state)?;
        let g = self.gradient(&psi, &mut state)?;
        let b = self.first_hessian(&psi, &g, &block, &state)?;
        self.descend(Point { psi, f, g, state }, b, max_evaluations)
    }

    /// The Hessian to begin with: theta and beta from the linearised model, gamma from differences.
    fn first_hessian(
        &self,
        psi: &[f64],
        g: &Gradient,
        block: &[f64],
        state: &State,
    ) -> Result<Vec<f64>, Error> {
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
        let mut next_state = State::default();
        let (mut promised, mut converged, mut quiet) = (f64::INFINITY, m == 0, 0);
        while evaluations < max_evaluations && !converged {
            let (mut step, decrease) = newton_step(&b, &g.values);
            promised = decrease;
            if promised <= NEGLIGIBLE {
                converged = true;
                break;
            }
            let length = (2.0 * promised).sqrt();
            if length > LONGEST {
                step.iter_mut().for_each(|s| *s *= LONGEST / length);
            }
            let slope: f64 = step.iter().zip(&g.values).map(|(s, g)| s * g).sum();
            let mut scale = 1.0;
            let mut found = None;
            for _ in 0..25 {
                let trial: Vec<f64> = psi.iter().zip(&step).map(|(x, s)| x + scale * s).collect();
                next_state.u.clone_from(&state.u);
                evaluations += 1;
                let value = self.evaluate(&trial, &mut next_state).unwrap_or(f64::INFINITY);
                total += next_state.inner;
                if value <= f + 1e-4 * scale * slope
                    || (value - f).abs() <= 1e-12 * f.abs() && promised < 1e-8
                {
                    found = Some((trial, value));
                    break;
                }
                // Minimum of the parabola through what is known, kept within limits.
                let parabola = if value.is_finite() {
                    -0.5 * slope * scale * scale / (value - f - slope * scale)
                } else {
                    0.0
                };
                scale = parabola.clamp(0.1 * scale, 0.5 * scale);
            }
            let Some((next_psi, value)) = found else {
                converged = promised < STALLED;
                break;
            };
            quiet = if (f - value).abs() <= QUIET * f.abs() { quiet + 1 } else { 0 };
            std::mem::swap(&mut state, &mut next_state);
            let next = self.gradient(&next_psi, &mut state)?;
            update(&mut b, &psi, &next_psi, &g.values, &next.values);
            (psi, g, f) = (next_psi, next, value);
            if quiet >= 3 && promised < STALLED {
                promised = newton_step(&b, &g.values).1;
                converged = promised < STALLED;
                break;
            }
        }
        let cone = g.g.into_iter().zip(g.size).collect();
        Ok(LaplaceOptimum {
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

    /// The record of a point that was found elsewhere.
    pub fn at(&self, psi: &[f64], scale: &[f64]) -> Result<LaplaceOptimum, Error> {
        let mut state = State::default();
        let criterion = self.evaluate(psi, &mut state)?;
        let g = self.gradient(psi, &mut state)?;
        Ok(LaplaceOptimum {
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

    /// psi to begin with, and the Hessian of beta~ there (p x p).
    fn start(&self, eta: &[f64], gamma: &[f64]) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let (n, p) = (self.table.n, self.p());
        let aux = self.table.auxiliary(gamma);
        let offset = |i: usize| self.table.offset.as_ref().map_or(0.0, |o| o[i]);
        let x: Vec<Option<&[f64]>> = self.table.x.chunks_exact(n.max(1)).take(p).map(Some).collect();
        let mut eta = eta.to_vec();
        let mut rows = Vec::new();
        let mut psi: Vec<f64> = Vec::new();
        let mut working = |eta: &[f64]| -> (Vec<f64>, Vec<f64>) {
            self.rows_at(eta, &aux, &mut rows);
            let weight = |r: &Second| if r.d2.is_finite() { -r.d2 } else { 0.0 };
            let largest = rows.iter().map(weight).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
            let w: Vec<f64> = rows.iter().map(|r| weight(r).max(FAINT * largest)).collect();
            let y = (0..n)
                .map(|i| eta[i] - offset(i) + if rows[i].d1.is_finite() { rows[i].d1 / w[i] } else { 0.0 })
                .collect();
            (w, y)
        };
        for _ in 0..if p > 0 { 6 } else { 0 } {
            let (w, y) = working(&eta);
            let data = Rows { y: &y, x: x.clone(), terms: Vec::new(), weights: Some(&w) };
            let Ok(linear) = Problem::new(&data) else { break };
            let beta = linear.solve(&[], false, false)?.beta;
            if beta.len() < p {
                break;
            }
            let next = self.table.fixed_part(&beta);
            let moved = next.iter().zip(&eta).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let before: f64 =
                if psi.is_empty() { f64::NEG_INFINITY } else { self.rows_at(&eta, &aux, &mut Vec::new()) };
            if self.rows_at(&next, &aux, &mut Vec::new()) < before - 1.0 {
                break;
            }
            eta = next;
            psi = beta;
            if moved < 1e-3 {
                break;
            }
        }
        psi.resize(p, 0.0);
        let (w, y) = working(&eta);
        let columns: Vec<Vec<Vec<f64>>> =
            self.problem.cross.terms.iter().map(|t| self.table.columns_of(t)).collect();
        let terms = self
            .problem
            .cross
            .terms
            .iter()
            .zip(&columns)
            .map(|(t, columns)| Term {
                codes: &self.table.factors[t.factor].codes,
                n_levels: t.n_levels,
                columns: columns.iter().map(|c| Some(c.as_slice())).collect(),
                structure: t.structure,
            })
            .collect();
        let linear = Problem::new(&Rows { y: &y, x, terms, weights: Some(&w) });
        let (theta, block) = match linear {
            Ok(mixed) => {
                let options = Options { reml: false, start: None, max_evaluations: 30 };
                let theta = self.first_theta(&mixed, mixed.optimize(&options).ok().map(|o| o.theta))?;
                let solution = mixed.solve(&theta, false, false)?;
                if solution.beta.len() == p {
                    psi.copy_from_slice(&solution.beta);
                    (theta, solution.schur.iter().map(|v| 2.0 * v).collect())
                } else {
                    (theta, self.gram(&w))
                }
            }
            // The working response is reproduced: nothing to learn from it.
            Err(_) => (
                self.problem
                    .cross
                    .terms
                    .iter()
                    .flat_map(|t| t.structure.start(&vec![0.5; t.structure.k]))
                    .collect(),
                self.gram(&w),
            ),
        };
        let mut out = theta;
        out.extend(psi);
        out.extend_from_slice(gamma);
        Ok((out, block))
    }

    /// `2 X~'WX~`.
    fn gram(&self, w: &[f64]) -> Vec<f64> {
        let (n, p) = (self.table.n, self.p());
        let column = |j: usize| &self.table.x[j * n..(j + 1) * n];
        let entry = |l: usize| {
            let (a, b) = (column(l % p), column(l / p));
            2.0 * a.iter().zip(b).zip(w).map(|((a, b), w)| a * b * w).sum::<f64>()
        };
        (0..p * p).map(entry).collect()
    }

    /// Relative standard deviations of the linear model times its sigma, kept away from zero.
    fn first_theta(&self, mixed: &Problem, found: Option<Vec<f64>>) -> Result<Vec<f64>, Error> {
        let sigma = match &found {
            Some(theta) => mixed.solve(theta, false, false)?.sigma2.sqrt().clamp(0.3, 2.0),
            None => 1.0,
        };
        let found = found.unwrap_or_else(|| mixed.outer(&mixed.start()));
        let mut out = Vec::with_capacity(found.len());
        for (term, theta) in self.problem.split(&found) {
            let s = &term.structure;
            let mut own = theta.to_vec();
            if s.kind == Kind::Unstructured {
                let sds: Vec<f64> = (0..s.k)
                    .map(|i| {
                        let row = s.lambda(theta);
                        (0..=i).map(|j| row[i + j * s.k].powi(2)).sum::<f64>().sqrt()
                    })
                    .collect();
                for (t, v) in own.iter_mut().enumerate() {
                    let (i, j) = s.entry(t);
                    let least = START.0 * if i == 0 { 1.0 } else { 0.5 };
                    *v *= sigma * (START.1 / (sigma * sds[i]).max(START.1));
                    if i == j {
                        *v = v.abs().max(least);
                    }
                }
            } else {
                for (t, v) in own.iter_mut().enumerate() {
                    *v = if Some(t) == s.rho_index() {
                        0.9 * *v
                    } else {
                        (sigma * *v).clamp(START.0, START.1)
                    };
                }
            }
            out.extend(own);
        }
        Ok(out)
    }

    /// Hessian of F in psi: central differences of the exact gradient, the columns side by side.
    pub fn hessian(&self, optimum: &LaplaceOptimum, scale: &[f64]) -> Result<Vec<f64>, Error> {
        let m = self.n_psi();
        let column = |j: usize| -> Result<Vec<f64>, Error> {
            let h = 1e-3 * scale[j];
            let at = |sign: f64| -> Result<Vec<f64>, Error> {
                let mut psi = optimum.psi.clone();
                psi[j] += sign * h;
                let mut state = State::from_modes(&optimum.state.u);
                self.evaluate(&psi, &mut state)?;
                Ok(self.gradient(&psi, &mut state)?.values)
            };
            let (up, down) = (at(1.0)?, at(-1.0)?);
            Ok(up.iter().zip(&down).map(|(a, b)| (a - b) / (2.0 * h)).collect())
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
fn positive(b: &mut [f64], m: usize) {
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

/// `-B^-1 g` with |eigenvalues|, and the decrease it promises.
fn newton_step(b: &[f64], g: &[f64]) -> (Vec<f64>, f64) {
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

/// BFGS with Powell's damping.
fn update(b: &mut [f64], x: &[f64], x_new: &[f64], g: &[f64], g_new: &[f64]) {
    let m = x.len();
    let s: Vec<f64> = x_new.iter().zip(x).map(|(a, b)| a - b).collect();
    let y: Vec<f64> = g_new.iter().zip(g).map(|(a, b)| a - b).collect();
    let bs: Vec<f64> = (0..m).map(|i| (0..m).map(|j| b[i + j * m] * s[j]).sum()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let (sbs, sy) = (dot(&s, &bs), dot(&s, &y));
    if sbs <= 0.0 {
        return;
    }
    let share = if sy >= 0.1 * sbs { 1.0 } else { 0.9 * sbs / (sbs - sy) };
    let r: Vec<f64> = y.iter().zip(&bs).map(|(y, b)| share * y + (1.0 - share) * b).collect();
    let sr = dot(&s, &r);
    if sr <= 1e-300 {
        return;
    }
    for j in 0..m {
        for i in 0..m {
            b[i + j * m] += r[i] * r[j] / sr - bs[i] * bs[j] / sbs;
        }
    }
}
