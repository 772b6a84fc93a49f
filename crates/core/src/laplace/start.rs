//! The linearised model: where a search begins, and what curvature the coefficients have.
//!
//! The start is a generalised linear model, then one linear mixed model on its working response: theta, beta and the
//! Hessian of beta come from it.

use super::{Laplace, State};
use crate::criterion::Problem;
use crate::cross::Rows;
use crate::error::Error;
use crate::family::Second;
use crate::newton::Options;
use crate::structure::Kind;
use crate::term::Term;

/// Standard deviations at the start lie between these.
const START: (f64, f64) = (0.15, 5.0);

/// Working weights below this share of the largest are raised to it.
const FAINT: f64 = 1e-8;

/// Steps of the generalised linear model.
const STEPS: usize = 6;

/// Halvings of the way to a point out of range.
const HALVINGS: usize = 12;

/// `w` and `eta + d1 / w - offset` of rows whose weights are kept positive.
struct Working {
    w: Vec<f64>,
    y: Vec<f64>,
}

impl Laplace {
    /// psi to begin with, and the Hessian of beta~ there (p x p).
    pub(super) fn start(&self, eta: &[f64], gamma: &[f64]) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let p = self.p();
        let aux = self.table.auxiliary(gamma);
        let mut eta = eta.to_vec();
        let mut rows = Vec::new();
        let mut beta: Vec<f64> = Vec::new();
        let inner = self.constant_beta(&eta);
        for _ in 0..if p > 0 { STEPS } else { 0 } {
            let before = self.rows_at(&eta, &aux, &mut rows);
            let before = if beta.is_empty() { f64::NEG_INFINITY } else { before };
            let Ok(linear) = self.linear(&self.working(&eta, &rows), &[]) else { break };
            let Ok(solution) = linear.solve(&[], false, false) else { break };
            let found = solution.beta;
            if found.len() < p {
                break;
            }
            let found = self.inside(if beta.is_empty() { &inner } else { &beta }, found, &aux);
            let next = self.table.fixed_part(&found);
            let moved = next.iter().zip(&eta).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            if self.rows_at(&next, &aux, &mut rows) < before - 1.0 {
                break;
            }
            (eta, beta) = (next, found);
            if moved < 1e-3 {
                break;
            }
        }
        beta.resize(p, 0.0);
        self.rows_at(&eta, &aux, &mut rows);
        let working = self.working(&eta, &rows);
        let mixed = self.linearized(&working).and_then(|mixed| {
            let options = Options { reml: false, start: None, max_evaluations: 30 };
            let theta = self.first_theta(&mixed, mixed.optimize(&options).ok().map(|o| o.theta))?;
            let solution = mixed.solve(&theta, false, false)?;
            Ok((theta, solution))
        });
        let (theta, block) = match mixed {
            Ok((theta, solution)) => {
                if solution.beta.len() == p {
                    beta = self.inside(&beta, solution.beta, &aux);
                    (theta, solution.schur.iter().map(|v| 2.0 * v).collect())
                } else {
                    (theta, self.gram(&working.w))
                }
            }
            // The working response is reproduced: nothing to learn from it.
            Err(_) => {
                let terms = &self.problem.cross.terms;
                let theta = terms.iter().flat_map(|t| t.structure.start(&vec![0.5; t.structure.k]));
                (theta.collect(), self.gram(&working.w))
            }
        };
        let mut psi = theta;
        psi.extend(beta);
        psi.extend_from_slice(gamma);
        Ok((psi, block))
    }

    /// The point nearest to `to` on the way from `from` at which all means are in range; `to` if there is none.
    fn inside(&self, from: &[f64], to: Vec<f64>, aux: &[Vec<f64>]) -> Vec<f64> {
        let mut rows = Vec::new();
        let mut share = 1.0;
        for _ in 0..HALVINGS {
            let beta: Vec<f64> = from.iter().zip(&to).map(|(a, b)| a + share * (b - a)).collect();
            if self.rows_at(&self.table.fixed_part(&beta), aux, &mut rows).is_finite() {
                return beta;
            }
            share *= 0.5;
        }
        let here = self.rows_at(&self.table.fixed_part(from), aux, &mut rows);
        if here.is_finite() { from.to_vec() } else { to }
    }

    /// beta~ of a linear predictor that is everywhere the mean of the given one, as far as X has that.
    fn constant_beta(&self, eta: &[f64]) -> Vec<f64> {
        let mean = self.table.sum(|i| eta[i]) / self.table.n.max(1) as f64;
        let wave = |i: usize| if i.is_multiple_of(2) { 1e-9 } else { -1e-9 };
        let offset = |i: usize| self.table.offset.as_ref().map_or(0.0, |o| o[i]);
        let y = (0..self.table.n).map(|i| mean - offset(i) + mean.abs().max(1.0) * wave(i)).collect();
        let working = Working { w: vec![1.0; self.table.n], y };
        let solved = self.linear(&working, &[]).and_then(|linear| linear.solve(&[], false, false));
        solved.map_or_else(|_| vec![0.0; self.p()], |s| s.beta)
    }

    /// `2 X~'H^-1 X~` at a point: the Hessian of beta~ when everything else about the likelihood is taken as quadratic.
    pub(super) fn beta_block(&self, psi: &[f64], state: &State) -> Result<Vec<f64>, Error> {
        let working = self.working(&state.eta, &state.rows);
        let solution = match self.linearized(&working) {
            Ok(mixed) => mixed.solve(&psi[..self.n_theta()], false, false)?,
            Err(_) => return Ok(self.gram(&working.w)),
        };
        if solution.beta.len() == self.p() {
            Ok(solution.schur.iter().map(|v| 2.0 * v).collect())
        } else {
            Ok(self.gram(&working.w))
        }
    }

    fn working(&self, eta: &[f64], rows: &[Second]) -> Working {
        let weight = |r: &Second| if r.d2.is_finite() { -r.d2 } else { 0.0 };
        let largest = rows.iter().map(weight).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let w: Vec<f64> = rows.iter().map(|r| weight(r).max(FAINT * largest)).collect();
        let offset = |i: usize| self.table.offset.as_ref().map_or(0.0, |o| o[i]);
        let moved = |i: usize| if rows[i].d1.is_finite() { rows[i].d1 / w[i] } else { 0.0 };
        let y = (0..self.table.n).map(|i| eta[i] - offset(i) + moved(i)).collect();
        Working { w, y }
    }

    /// The linear mixed model of a working response.
    fn linearized(&self, working: &Working) -> Result<Problem, Error> {
        let shapes = &self.problem.cross.terms;
        let columns: Vec<Vec<Vec<f64>>> = shapes.iter().map(|t| self.table.columns_of(t)).collect();
        let terms: Vec<Term<'_>> = shapes
            .iter()
            .zip(&columns)
            .map(|(t, columns)| Term {
                codes: &self.table.factors[t.factor].codes,
                n_levels: t.n_levels,
                columns: columns.iter().map(|c| Some(c.as_slice())).collect(),
                structure: t.structure,
            })
            .collect();
        self.linear(working, &terms)
    }

    fn linear(&self, working: &Working, terms: &[Term<'_>]) -> Result<Problem, Error> {
        let n = self.table.n;
        let x = self.table.x.chunks_exact(n.max(1)).take(self.p()).map(Some).collect();
        Problem::new(&Rows { y: &working.y, x, terms: terms.to_vec(), weights: Some(&working.w) })
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
}
