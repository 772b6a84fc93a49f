//! Generalised linear mixed models: the Laplace approximation with its exact gradient (method: section 4).
//!
//! ```text
//!   eta = X beta + Z b + offset     b = Lambda(theta) u     rows add w_i log f(y_i | eta_i, aux_i)     aux_k = A_k gamma
//!   F(psi) = -2 sum loglik_i(u^) + |u^|^2 + log|M|     M = Lambda'Z'WZ Lambda + I     W = -d2 loglik / d eta^2
//! ```
//!
//! `psi = (theta, beta, gamma)`; u^ is the mode, found by Newton steps (penalised IRLS). Each step is a weighted linear mixed
//! model without fixed effects, so the factor of linear models serves: cross-products `Z'WZ`, elimination, modes. With
//! `K = Lambda M^-1 Lambda'`, `lev_i = z_i'K z_i`, `a_i = -d3_i lev_i`, `c = K Z'a`, and at the mode `s = Z'd1`, `h = Z'a - Z'WZ c`,
//!
//! ```text
//!   dF/dSigma_t = sum over levels of  Z'H^-1 Z - s s' + (h s' + s h') / 2          H = W^-1 + Z Sigma Z'
//!   dF/dbeta    = X'(-2 d1 + a - W Z c)
//!   dF/daux_ik  = -2 l_k - lev_i l''_k + (Z c)_i l'_k           l, l', l'' differentiated in aux
//! ```
//!
//! A penalty (penalty.rs) may be added to F. All of it holds for singular Sigma. The search is BFGS from the Hessian of the linearised model.

mod fast;
mod penalty;
mod quadrature;
mod refit;
mod rows;
mod search;
mod start;

use crate::basis::{Basis, Column};
use crate::batch::by_batches;
use crate::criterion::{Direction, Problem};
use crate::cross::{Cross, Rows};
use crate::error::Error;
use crate::factor::{Factor, Modes};
use crate::family::{Family, Full, Kind, Second};
use crate::structure::Scaling;
use crate::term::Term;
pub use fast::Fast;
pub use penalty::Penalty;
pub use refit::Refit;
use rows::{Table, respond};
pub use search::LaplaceOptimum;
use std::sync::Arc;

/// Newton steps for the mode before giving up.
const MAX_INNER: usize = 100;

/// Squared length of a Newton step (in the metric of M) that counts as none: in a search, and for differences of gradients.
const STILL: f64 = 1e-13;
const STONE_STILL: f64 = 1e-18;

/// The logit of a Tweedie power less one stays between these: closer to one or two the family is Poisson or gamma.
const POWER: f64 = 12.0;

/// An auxiliary predictor: `offset + sum of columns times gamma`.
#[derive(Debug, Clone)]
pub struct Aux<'a> {
    /// Which gamma, times which column (None: ones).
    pub columns: Vec<(usize, Column<'a>)>,
    /// Known part; infinite entries stand for thresholds that are not there.
    pub offset: Option<&'a [f64]>,
}

/// The rows of a generalised model, borrowed.
#[derive(Debug, Clone)]
pub struct Data<'a> {
    /// Distribution and link.
    pub family: Family,
    /// Response.
    pub y: &'a [f64],
    /// Multiply the log-likelihood of a row.
    pub weights: Option<&'a [f64]>,
    /// Known part of eta.
    pub offset: Option<&'a [f64]>,
    /// Columns of the fixed part.
    pub x: Vec<Column<'a>>,
    /// Random-effects terms.
    pub terms: Vec<Term<'a>>,
    /// Auxiliary predictors, as many as the family has.
    pub aux: Vec<Aux<'a>>,
    /// An intercept is among them (thresholds): columns of X that it spans are not estimable.
    pub intercept_elsewhere: bool,
}

/// A generalised linear mixed model, ready to be evaluated at any psi.
#[derive(Debug, Clone)]
pub struct Laplace {
    /// Distribution and link.
    pub family: Family,
    /// Layout, terms and (overwritten at every step) cross-products; no fixed part.
    pub problem: Problem,
    /// Positions of the columns of X that are kept.
    pub kept: Vec<usize>,
    /// beta = back beta~.
    pub back: Vec<f64>,
    /// Number of gammas.
    pub n_gamma: usize,
    /// All that does not depend on the response.
    table: Arc<Table>,
    y: Vec<f64>,
    /// Sum of what the log-likelihoods have without parameters.
    constant: f64,
    penalty: Option<Penalty>,
}

/// A point of the search with everything that its derivatives need; buffers are reused.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// u^ in q-space.
    pub u: Vec<f64>,
    /// b^ in q-space, standardised columns.
    pub b: Vec<f64>,
    /// `Z'd1` at the mode.
    pub s: Vec<f64>,
    /// Linear predictor.
    pub eta: Vec<f64>,
    /// Inner Newton steps taken.
    pub inner: usize,
    /// Log-likelihood given u^, `|u^|^2`, `log|M|`, penalty.
    pub parts: [f64; 4],
    exact: bool,
    factor: Factor,
    zb: Vec<f64>,
    rows: Vec<Second>,
    aux: Vec<Vec<f64>>,
    weight: Vec<f64>,
    problem: Option<Problem>,
}

impl State {
    /// Before any evaluation, with modes to begin with.
    #[must_use]
    pub fn from_modes(u: &[f64]) -> State {
        State { u: u.to_vec(), ..State::default() }
    }

    /// The same, for differences: modes are found to the last digits.
    #[must_use]
    pub fn exact_from(u: &[f64]) -> State {
        State { exact: true, ..State::from_modes(u) }
    }
}

/// F with its gradient in psi (standardised), and the blocks of an approximate Hessian in theta.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// In (theta, beta, gamma).
    pub values: Vec<f64>,
    /// dF/dSigma of each term, standardised columns.
    pub g: Vec<Vec<f64>>,
    /// Sum of Z'H^-1Z of each term: the scale of g.
    pub size: Vec<Vec<f64>>,
    /// Average information plus curvature in theta, T x T.
    pub hessian_theta: Vec<f64>,
}

impl Laplace {
    /// Copies and standardises the columns.
    pub fn new(data: &Data<'_>) -> Result<Laplace, Error> {
        let n = data.y.len();
        let given = estimable(data, n);
        let columns: Vec<Column<'_>> = given.iter().map(|j| data.x[*j]).collect();
        let basis = Basis::fit(&columns, None, n, Scaling::Triangular);
        let (kept, p) = (basis.select(&columns), basis.k());
        let mut x = vec![0.0; n * p];
        by_batches(n, p, |part, values| basis.apply(&kept, part, values), |i, j, v| x[i + j * n] = v);
        // A layout needs some response: one that no column reproduces.
        let example: Vec<f64> = (0..n).map(|i| ((i * 7919) % 101) as f64 - 50.0).collect();
        let rows = Rows { y: &example, x: Vec::new(), terms: data.terms.clone(), weights: None };
        let problem = Problem { cross: Cross::from_rows(&rows)? };
        let n_gamma = data.aux.iter().flat_map(|a| &a.columns).map(|(g, _)| g + 1).max().unwrap_or(0);
        if data.aux.len() != data.family.n_aux() {
            let what = "auxiliary predictors".into();
            return Err(Error::Shape { what, expected: data.family.n_aux(), found: data.aux.len() });
        }
        let table = Table::new(data, &x, &problem.cross)?;
        Ok(Laplace {
            family: data.family,
            kept: basis.kept.iter().map(|j| given[*j]).collect(),
            back: basis.back(),
            n_gamma,
            y: table.sort(data.y),
            constant: data.family.constant(data.y, data.weights),
            table: Arc::new(table),
            problem,
            penalty: None,
        })
    }

    /// The same model with a penalty on its parameters.
    #[must_use]
    pub fn penalized(mut self, penalty: Penalty) -> Laplace {
        self.penalty = Some(penalty);
        self
    }

    /// The same model of another response.
    #[must_use]
    pub fn with_response(&self, y: &[f64]) -> Laplace {
        let weights = self.table.weights.as_deref();
        let y = self.table.sort(y);
        Laplace { constant: self.family.constant(&y, weights), y, ..self.clone() }
    }

    /// Values of rows from the order of the search in that of the caller.
    #[must_use]
    pub fn in_order(&self, values: &[f64]) -> Vec<f64> {
        self.table.unsort(values)
    }

    /// Covariance parameters.
    #[must_use]
    pub fn n_theta(&self) -> usize {
        self.problem.n_theta()
    }

    /// Kept columns of X.
    #[must_use]
    pub fn p(&self) -> usize {
        self.kept.len()
    }

    /// All parameters.
    #[must_use]
    pub fn n_psi(&self) -> usize {
        self.n_theta() + self.p() + self.n_gamma
    }

    /// Where parameters end: standard deviations and correlations of structured covariances, the Tweedie power.
    #[must_use]
    pub fn bounds(&self) -> Vec<(f64, f64)> {
        let mut out = vec![(f64::NEG_INFINITY, f64::INFINITY); self.n_psi()];
        let mut at = 0;
        for term in &self.problem.cross.terms {
            let (size, s) = (term.structure.n_theta(), &term.structure);
            if let (Some(limits), Some(rho)) = (s.rho_bounds(), s.rho_index()) {
                out[at..at + rho].fill((0.0, f64::INFINITY));
                out[at + rho] = limits;
            }
            at += size;
        }
        if self.family.kind == Kind::Tweedie {
            let first = self.n_theta() + self.p();
            self.table.aux[1].columns.iter().for_each(|(g, _)| out[first + g] = (-POWER, POWER));
        }
        out
    }

    /// beta in the user's columns.
    #[must_use]
    pub fn beta(&self, psi: &[f64]) -> Vec<f64> {
        let (t, p) = (self.n_theta(), self.p());
        (0..p).map(|i| (i..p).map(|j| self.back[i + j * p] * psi[t + j]).sum()).collect()
    }

    /// psi from (theta, beta, gamma) of the user's columns.
    #[must_use]
    pub fn standard(&self, natural: &[f64]) -> Vec<f64> {
        let (t, p) = (self.n_theta(), self.p());
        let mut out = self.problem.inner(&natural[..t]);
        let mut beta = natural[t..t + p].to_vec();
        for i in (0..p).rev() {
            let later: f64 = (i + 1..p).map(|j| self.back[i + j * p] * beta[j]).sum();
            beta[i] = (beta[i] - later) / self.back[i + i * p];
        }
        out.extend(beta);
        out.extend_from_slice(&natural[t + p..]);
        out
    }

    /// (theta, beta, gamma) of the user's columns from psi.
    #[must_use]
    pub fn natural(&self, psi: &[f64]) -> Vec<f64> {
        let (t, p) = (self.n_theta(), self.p());
        let mut out = self.problem.outer(&psi[..t]);
        out.extend(self.beta(psi));
        out.extend_from_slice(&psi[t + p..]);
        out
    }

    /// Lambda' v of a q-vector.
    fn scaled(&self, factor: &Factor, v: &[f64], transpose: bool) -> Vec<f64> {
        let c = &self.problem.cross;
        let mut out = vec![0.0; v.len()];
        for e in 0..c.n_nodes() {
            let (k, at) = (c.k(e), c.q[e]);
            let lambda = &factor.scales[c.factor_of[e] as usize].lambda;
            for i in 0..k {
                out[at + i] = if transpose {
                    (i..k).map(|l| lambda[l + i * k] * v[at + l]).sum()
                } else {
                    (0..=i).map(|l| lambda[i + l * k] * v[at + l]).sum()
                };
            }
        }
        out
    }

    /// Derivatives of the rows at eta; the sum of their log-likelihoods, minus infinity where they are not defined.
    fn rows_at(&self, eta: &[f64], aux: &[Vec<f64>], out: &mut Vec<Second>) -> f64 {
        out.resize(self.table.n, Second::default());
        let aux: Vec<&[f64]> = aux.iter().map(Vec::as_slice).collect();
        let sum =
            self.constant + self.family.kernel_rows(&self.y, self.table.weights.as_deref(), eta, &aux, out);
        if sum.is_nan() { f64::NEG_INFINITY } else { sum }
    }

    /// F at psi (theta of standardised columns, beta~, gamma); the mode is searched from `state.u`.
    pub fn evaluate(&self, psi: &[f64], state: &mut State) -> Result<f64, Error> {
        let (t, p) = (self.n_theta(), self.p());
        let penalty = self.penalty.as_ref().map_or(Ok(0.0), |penalty| penalty.value(self, psi))?;
        let fixed = self.table.fixed_part(&psi[t..t + p]);
        state.aux = self.table.auxiliary(&psi[t + p..]);
        let mut problem = state.problem.take().unwrap_or_else(|| self.problem.clone());
        let done = self.mode(&psi[..t], &fixed, state, &mut problem.cross);
        state.problem = Some(problem);
        done?;
        state.parts[3] = penalty;
        let [loglik, uu, log_det, _] = state.parts;
        let f = -2.0 * loglik + uu + log_det + penalty;
        if f.is_finite() { Ok(f) } else { Err(Error::NotFinite { what: "the log-likelihood".into() }) }
    }

    fn mode(&self, theta: &[f64], fixed: &[f64], state: &mut State, cross: &mut Cross) -> Result<(), Error> {
        let (q, table) = (cross.n_random(), &*self.table);
        state.factor.scales = self.problem.scales(theta);
        state.u.resize(q, 0.0);
        let square = |u: &[f64]| u.iter().map(|v| v * v).sum::<f64>();
        state.b = self.scaled(&state.factor, &state.u, false);
        table.random_part(cross, &state.b, &mut state.zb);
        table.each(&mut state.eta, |i| fixed[i] + state.zb[i]);
        let mut loglik = self.rows_at(&state.eta, &state.aux, &mut state.rows);
        if !loglik.is_finite() && state.u.iter().any(|u| *u != 0.0) {
            state.u.fill(0.0);
            state.b.fill(0.0);
            state.zb.fill(0.0);
            state.eta = fixed.to_vec();
            loglik = self.rows_at(&state.eta, &state.aux, &mut state.rows);
        }
        if !loglik.is_finite() {
            return Err(Error::NotFinite { what: "the log-likelihood".into() });
        }
        let still = if state.exact { STONE_STILL } else { STILL };
        let (mut trial_rows, mut trial_eta, mut next) = (Vec::new(), Vec::new(), Vec::new());
        for step in 0..MAX_INNER {
            state.inner = step + 1;
            table.weigh(cross, &state.rows, &state.zb, false, &mut state.weight);
            let mut observed = true;
            if state.factor.eliminate(cross, self.problem.scales(theta)).is_err() {
                // Negative curvature away from the mode: steps with what is positive of it.
                observed = false;
                table.weigh(cross, &state.rows, &state.zb, true, &mut state.weight);
                state.factor.eliminate(cross, self.problem.scales(theta))?;
            }
            let modes = state.factor.modes(cross);
            let u = self.scaled(&state.factor, &modes.ze, true);
            table.random_part(cross, &modes.b, &mut next);
            let step_u: Vec<f64> = u.iter().zip(&state.u).map(|(a, b)| a - b).collect();
            let (weight, zb) = (&state.weight, &state.zb);
            let length = square(&step_u) + table.sum(|i| weight[i] * (next[i] - zb[i]).powi(2));
            let uu = square(&state.u);
            if length <= still && observed {
                state.s = modes.ze;
                state.parts = [loglik, uu, state.factor.log_det_m, 0.0];
                return Ok(());
            }
            let before = -2.0 * loglik + uu;
            let mut t = 1.0;
            loop {
                let (eta, zb) = (&state.eta, &state.zb);
                table.each(&mut trial_eta, |i| eta[i] + t * (next[i] - zb[i]));
                let trial_u: Vec<f64> = state.u.iter().zip(&step_u).map(|(u, s)| u + t * s).collect();
                let value = self.rows_at(&trial_eta, &state.aux, &mut trial_rows);
                let after = -2.0 * value + square(&trial_u);
                if after <= before + 1e-12 * before.abs().max(1.0) {
                    std::mem::swap(&mut state.eta, &mut trial_eta);
                    state.u = trial_u;
                    state.zb.iter_mut().zip(&next).for_each(|(z, new)| *z += t * (new - *z));
                    state.b.iter_mut().zip(&modes.b).for_each(|(b, new)| *b += t * (new - *b));
                    std::mem::swap(&mut state.rows, &mut trial_rows);
                    loglik = value;
                    break;
                }
                t *= 0.5;
                if t < 1e-10 {
                    return Err(Error::NotFinite { what: "the mode of the random effects".into() });
                }
            }
        }
        Err(Error::NotFinite { what: "the mode of the random effects".into() })
    }

    /// Gradient at the point that `state` was evaluated at.
    pub fn gradient(&self, psi: &[f64], state: &mut State) -> Result<Gradient, Error> {
        let (t, p) = (self.n_theta(), self.p());
        let mut problem = state.problem.take().unwrap_or_else(|| self.problem.clone());
        let covariance = state.factor.invert(&problem.cross, false, true);
        let pairs = state.factor.pair_blocks(&problem.cross, &covariance);
        let table = &*self.table;
        let mut full = vec![Full::default(); table.n];
        let aux: Vec<&[f64]> = state.aux.iter().map(Vec::as_slice).collect();
        let weights = table.weights.as_deref();
        self.family.extended_rows(&self.y, weights, &state.eta, &aux, &state.rows, &mut full);

        let lev = table.leverages(&problem.cross, &covariance.blocks, &pairs);
        let a: Vec<f64> = full.iter().zip(&lev).map(|(r, l)| -r.d3 * l).collect();
        let information = self.theta_information(&psi[..t], &problem, state);
        // c = K Z'a by another elimination with this right-hand side.
        let za = table.pull(&problem.cross, &a);
        respond(&mut problem.cross, &za);
        let mut factor = state.factor.clone();
        factor.eliminate(&problem.cross, self.problem.scales(&psi[..t]))?;
        let modes = factor.modes(&problem.cross);
        let mut zc = Vec::new();
        table.random_part(&problem.cross, &modes.b, &mut zc);
        state.problem = Some(problem);

        let scores = self.products(&state.s, &state.s);
        let mixed = self.products(&modes.ze, &state.s);
        let mut out =
            Gradient { values: Vec::new(), g: Vec::new(), size: Vec::new(), hessian_theta: information };
        let c = &self.problem.cross;
        let mut first = 0;
        for (at_term, (term, own)) in self.problem.split(&psi[..t]).enumerate() {
            let (k, o, kf) = (term.structure.k, term.offset, c.factor_k[term.factor]);
            let at = |l: usize| (o + l % k) + (o + l / k) * kf;
            let turned = |l: usize| (o + l / k) + (o + l % k) * kf;
            let f = term.factor;
            let size: Vec<f64> = (0..k * k).map(|l| covariance.zpz[f][at(l)]).collect();
            let mut g: Vec<f64> = (0..k * k)
                .map(|l| size[l] - scores[f][at(l)] + 0.5 * (mixed[f][at(l)] + mixed[f][turned(l)]))
                .collect();
            if let Some(penalty) = &self.penalty {
                penalty.add_slope(at_term, &term.structure.lambda(own), k, &mut g);
            }
            for i in 0..own.len() {
                let d = term.structure.d_sigma(own, i);
                out.values.push(d.iter().zip(&g).map(|(x, y)| x * y).sum());
                for j in 0..own.len() {
                    out.hessian_theta[(first + i) + (first + j) * t] +=
                        term.structure.curvature(own, &g, i, j);
                }
            }
            first += own.len();
            out.g.push(g);
            out.size.push(size);
        }
        let mut in_eta = Vec::new();
        table.each(&mut in_eta, |i| -2.0 * full[i].d1 + a[i] - state.weight[i] * zc[i]);
        for column in table.x.chunks_exact(table.n.max(1)).take(p) {
            out.values.push(table.sum(|i| column[i] * in_eta[i]));
        }
        if let Some(penalty) = &self.penalty {
            penalty.add_to_beta(self, psi, &mut out.values[t..]);
        }
        let mut gamma = vec![0.0; self.n_gamma];
        for (k, aux) in table.aux.iter().enumerate() {
            let slope: Vec<f64> = (0..table.n)
                .map(|i| -2.0 * full[i].a[k] - lev[i] * full[i].a2[k] + zc[i] * full[i].a1[k])
                .collect();
            for (g, column) in &aux.columns {
                gamma[*g] += match column {
                    Some(values) => {
                        values.iter().zip(&slope).map(|(x, v)| if *x == 0.0 { 0.0 } else { x * v }).sum()
                    }
                    None => slope.iter().sum::<f64>(),
                };
            }
        }
        out.values.extend(gamma);
        Ok(out)
    }

    /// By term, in the user's columns: modes b (J x k, row-major) and their covariance given y and psi (J x k x k).
    #[must_use]
    pub fn levels(&self, state: &State) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let problem = state.problem.as_ref().unwrap_or(&self.problem);
        let blocks = state.factor.invert(&problem.cross, false, true).blocks;
        let terms = &problem.cross.terms;
        let b = terms.iter().map(|t| problem.to_levels(t, &state.b)).collect();
        (b, terms.iter().map(|t| problem.level_blocks(t, &blocks)).collect())
    }

    /// Average information in theta: `w_i'H^-1 w_j` with `w_i = Z dSigma_i s`.
    fn theta_information(&self, theta: &[f64], weighted: &Problem, state: &State) -> Vec<f64> {
        let mut directions: Vec<Direction> = Vec::new();
        for (t, (term, own)) in self.problem.split(theta).enumerate() {
            directions.extend((0..own.len()).map(|i| (t, term.structure.d_sigma(own, i))));
        }
        let modes = Modes { b: Vec::new(), beta: Vec::new(), ze: state.s.clone() };
        weighted.quadratics(&directions, &state.factor, &modes).0
    }

    /// `sum_j x_j y_j'` over the levels of each grouping factor.
    fn products(&self, x: &[f64], y: &[f64]) -> Vec<Vec<f64>> {
        let c = &self.problem.cross;
        let mut out: Vec<Vec<f64>> = c.factor_k.iter().map(|k| vec![0.0; k * k]).collect();
        for e in 0..c.n_nodes() {
            let (k, at) = (c.k(e), c.q[e]);
            let sum = &mut out[c.factor_of[e] as usize];
            for j in 0..k {
                for i in 0..k {
                    sum[i + j * k] += x[at + i] * y[at + j];
                }
            }
        }
        out
    }
}

/// Columns of X that are no combination of an intercept elsewhere and of earlier ones; all of them if there is none.
fn estimable(data: &Data<'_>, n: usize) -> Vec<usize> {
    if !data.intercept_elsewhere {
        return (0..data.x.len()).collect();
    }
    let with: Vec<Column<'_>> = std::iter::once(None).chain(data.x.iter().copied()).collect();
    let basis = Basis::fit(&with, None, n, Scaling::Triangular);
    basis.kept.iter().filter(|j| **j > 0).map(|j| j - 1).collect()
}
