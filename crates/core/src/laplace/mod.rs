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
//! All of it holds for singular Sigma. The search is BFGS from the Hessian of the linearised model.

mod quadrature;
mod search;

use crate::basis::{Basis, Column};
use crate::batch::by_batches;
use crate::criterion::{Direction, Problem};
use crate::cross::{Cross, Rows};
use crate::error::Error;
use crate::factor::{Factor, Modes};
use crate::family::{Family, Full, Second};
use crate::structure::Scaling;
use crate::term::{Term, TermShape, merge};
pub use search::LaplaceOptimum;

/// Newton steps for the mode before giving up.
const MAX_INNER: usize = 100;

/// Squared length of a Newton step (in the metric of M) that counts as none.
const STILL: f64 = 1e-13;

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
}

/// Standardised columns of a grouping factor at all rows, with the node of each row's level.
#[derive(Debug, Clone)]
struct FactorRows {
    k: usize,
    z: Vec<f64>,
    node: Vec<u32>,
    codes: Vec<i32>,
}

/// Two grouping factors: where each row's pair of levels is stored among the off-diagonal blocks.
#[derive(Debug, Clone)]
struct Pair {
    first: usize,
    second: usize,
    at: Vec<usize>,
}

/// An auxiliary predictor with its own copy of the columns.
#[derive(Debug, Clone)]
struct OwnAux {
    columns: Vec<(usize, Option<Vec<f64>>)>,
    offset: Option<Vec<f64>>,
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
    n: usize,
    y: Vec<f64>,
    weights: Option<Vec<f64>>,
    offset: Option<Vec<f64>>,
    x: Vec<f64>,
    aux: Vec<OwnAux>,
    factors: Vec<FactorRows>,
    pairs: Vec<Pair>,
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
    /// Log-likelihood given u^, `|u^|^2`, `log|M|`.
    pub parts: [f64; 3],
    factor: Factor,
    zb: Vec<f64>,
    rows: Vec<Second>,
    aux: Vec<Vec<f64>>,
    weight: Vec<f64>,
    problem: Option<Problem>,
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
        let basis = Basis::fit(&data.x, None, n, Scaling::Triangular);
        let (kept, p) = (basis.select(&data.x), basis.k());
        let mut x = vec![0.0; n * p];
        by_batches(n, p, |part, values| basis.apply(&kept, part, values), |i, j, v| x[i + j * n] = v);
        // A layout needs some response: one that no column reproduces.
        let example: Vec<f64> = (0..n).map(|i| ((i * 7919) % 101) as f64 - 50.0).collect();
        let rows = Rows { y: &example, x: Vec::new(), terms: data.terms.clone(), weights: None };
        let problem = Problem { cross: Cross::from_rows(&rows)? };
        let (given, _) = merge(&data.terms, None, n)?;
        let c = &problem.cross;
        let mut factors = Vec::with_capacity(given.len());
        for (f, factor) in given.iter().enumerate() {
            let k = factor.k;
            let mut z = vec![0.0; n * k];
            by_batches(n, k, |part, values| factor.apply(part, values), |i, a, v| z[i * k + a] = v);
            let node = factor.codes.iter().map(|code| c.node_of[f][*code as usize]).collect();
            factors.push(FactorRows { k, z, node, codes: factor.codes.to_vec() });
        }
        let mut pairs = Vec::new();
        for first in 0..factors.len() {
            for second in first + 1..factors.len() {
                let place = |i: usize| {
                    let (a, b) = (factors[first].node[i], factors[second].node[i]);
                    let (e, s) = (a.min(b) as usize, a.max(b));
                    let list = c.nbr_ptr[e]..c.nbr_ptr[e + 1];
                    let found = c.nbr[list.clone()].binary_search(&s).unwrap_or(0);
                    c.val_ptr[e] + c.col[list.start + found] as usize
                };
                pairs.push(Pair { first, second, at: (0..n).map(place).collect() });
            }
        }
        let own = |aux: &Aux<'_>| OwnAux {
            columns: aux.columns.iter().map(|(g, column)| (*g, column.map(<[f64]>::to_vec))).collect(),
            offset: aux.offset.map(<[f64]>::to_vec),
        };
        let n_gamma = data.aux.iter().flat_map(|a| &a.columns).map(|(g, _)| g + 1).max().unwrap_or(0);
        if data.aux.len() != data.family.n_aux() {
            let what = "auxiliary predictors".into();
            return Err(Error::Shape { what, expected: data.family.n_aux(), found: data.aux.len() });
        }
        Ok(Laplace {
            family: data.family,
            kept: basis.kept.clone(),
            back: basis.back(),
            n_gamma,
            n,
            y: data.y.to_vec(),
            weights: data.weights.map(<[f64]>::to_vec),
            offset: data.offset.map(<[f64]>::to_vec),
            x,
            aux: data.aux.iter().map(own).collect(),
            factors,
            pairs,
            problem,
        })
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

    /// X~ beta~ + offset.
    fn fixed_part(&self, beta: &[f64]) -> Vec<f64> {
        let mut eta = self.offset.clone().unwrap_or_else(|| vec![0.0; self.n]);
        for (column, v) in self.x.chunks_exact(self.n).zip(beta) {
            eta.iter_mut().zip(column).for_each(|(s, x)| *s += v * x);
        }
        eta
    }

    fn auxiliary(&self, gamma: &[f64]) -> Vec<Vec<f64>> {
        let one = |aux: &OwnAux| {
            let mut out = aux.offset.clone().unwrap_or_else(|| vec![0.0; self.n]);
            for (g, column) in &aux.columns {
                match column {
                    Some(values) => out.iter_mut().zip(values).for_each(|(s, v)| *s += gamma[*g] * v),
                    None => out.iter_mut().for_each(|s| *s += gamma[*g]),
                }
            }
            out
        };
        self.aux.iter().map(one).collect()
    }

    /// Standardised columns of one term, n values each.
    fn columns_of(&self, term: &TermShape) -> Vec<Vec<f64>> {
        let factor = &self.factors[term.factor];
        let column = |j: usize| factor.z.iter().skip(term.offset + j).step_by(factor.k).copied().collect();
        (0..term.structure.k).map(column).collect()
    }

    /// Z b for b in q-space.
    fn random_part(&self, b: &[f64]) -> Vec<f64> {
        let c = &self.problem.cross;
        let mut out = vec![0.0; self.n];
        for factor in &self.factors {
            for (i, z) in factor.z.chunks_exact(factor.k).enumerate() {
                let own = &b[c.q[factor.node[i] as usize]..];
                out[i] += z.iter().zip(own).map(|(z, b)| z * b).sum::<f64>();
            }
        }
        out
    }

    /// Z'r in q-space.
    fn pull(&self, r: &[f64]) -> Vec<f64> {
        let c = &self.problem.cross;
        let mut out = vec![0.0; c.n_random()];
        for factor in &self.factors {
            for (i, z) in factor.z.chunks_exact(factor.k).enumerate() {
                let own = &mut out[c.q[factor.node[i] as usize]..];
                own.iter_mut().zip(z).for_each(|(s, z)| *s += z * r[i]);
            }
        }
        out
    }

    /// `Z'WZ` and `Z'r` into the cross-products.
    fn weigh(&self, cross: &mut Cross, w: &[f64], r: &[f64]) {
        cross.diag.fill(0.0);
        cross.val.fill(0.0);
        for factor in &self.factors {
            let k = factor.k;
            for (i, z) in factor.z.chunks_exact(k).enumerate() {
                let e = factor.node[i] as usize;
                let d = &mut cross.diag[cross.d[e]..cross.d[e + 1]];
                for b in 0..k {
                    let v = w[i] * z[b];
                    for a in 0..k {
                        d[a + b * k] += v * z[a];
                    }
                }
            }
        }
        for pair in &self.pairs {
            let (f, g) = (&self.factors[pair.first], &self.factors[pair.second]);
            for i in 0..self.n {
                let (a, b) = (f.node[i], g.node[i]);
                let (own, other) = if a < b { (f, g) } else { (g, f) };
                let e = a.min(b) as usize;
                let width = (cross.val_ptr[e + 1] - cross.val_ptr[e]) / own.k;
                for x in 0..own.k {
                    let v = w[i] * own.z[i * own.k + x];
                    let at = pair.at[i] + x * width;
                    for y in 0..other.k {
                        cross.val[at + y] += v * other.z[i * other.k + y];
                    }
                }
            }
        }
        self.respond(cross, &self.pull(r));
        cross.densify();
    }

    /// Another right-hand side for the same matrix.
    fn respond(&self, cross: &mut Cross, zr: &[f64]) {
        cross.xy.copy_from_slice(zr);
        // Larger than any sum of squares it is compared with: only the last pivot sees it.
        cross.xx = vec![1e200];
        if let Some(dense) = &mut cross.dense {
            let rows = cross.q[cross.n_leading];
            let width = dense.len() / rows.max(1);
            (0..rows).for_each(|r| dense[(r + 1) * width - 1] = zr[r]);
        }
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

    fn rows_at(&self, eta: &[f64], aux: &[Vec<f64>], out: &mut Vec<Second>) -> f64 {
        out.resize(self.n, Second::default());
        let aux: Vec<&[f64]> = aux.iter().map(Vec::as_slice).collect();
        self.family.second_rows(&self.y, self.weights.as_deref(), eta, &aux, out);
        let sum: f64 = out.iter().map(|r| r.value).sum();
        if sum.is_nan() { f64::NEG_INFINITY } else { sum }
    }

    /// F at psi (theta of standardised columns, beta~, gamma); the mode is searched from `state.u`.
    pub fn evaluate(&self, psi: &[f64], state: &mut State) -> Result<f64, Error> {
        let (t, p, q) = (self.n_theta(), self.p(), self.problem.cross.n_random());
        let fixed = self.fixed_part(&psi[t..t + p]);
        state.aux = self.auxiliary(&psi[t + p..]);
        let mut problem = state.problem.take().unwrap_or_else(|| self.problem.clone());
        let done = self.mode(&psi[..t], &fixed, state, &mut problem.cross, q);
        state.problem = Some(problem);
        done?;
        let [loglik, uu, log_det] = state.parts;
        let f = -2.0 * loglik + uu + log_det;
        if f.is_finite() { Ok(f) } else { Err(Error::NotFinite { what: "the log-likelihood".into() }) }
    }

    fn mode(
        &self,
        theta: &[f64],
        fixed: &[f64],
        state: &mut State,
        cross: &mut Cross,
        q: usize,
    ) -> Result<(), Error> {
        state.factor.scales = self.problem.scales(theta);
        if state.u.len() != q {
            state.u = vec![0.0; q];
        }
        let sum = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(x, y)| x + y).collect() };
        let square = |u: &[f64]| u.iter().map(|v| v * v).sum::<f64>();
        state.b = self.scaled(&state.factor, &state.u, false);
        state.zb = self.random_part(&state.b);
        state.eta = sum(fixed, &state.zb);
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
        let mut trial_rows = Vec::new();
        for step in 0..MAX_INNER {
            state.inner = step + 1;
            let target = |w: &[f64], state: &State| -> Vec<f64> {
                w.iter().zip(&state.zb).zip(&state.rows).map(|((w, z), r)| w * z + r.d1).collect()
            };
            state.weight = state.rows.iter().map(|r| -r.d2).collect();
            self.weigh(cross, &state.weight, &target(&state.weight, state));
            let mut observed = true;
            if state.factor.eliminate(cross, self.problem.scales(theta)).is_err() {
                // Negative curvature away from the mode: steps with what is positive of it.
                observed = false;
                state.weight.iter_mut().for_each(|w| *w = w.max(0.0));
                self.weigh(cross, &state.weight, &target(&state.weight, state));
                state.factor.eliminate(cross, self.problem.scales(theta))?;
            }
            let modes = state.factor.modes(cross);
            let u = self.scaled(&state.factor, &modes.ze, true);
            let zb = self.random_part(&modes.b);
            let step_u: Vec<f64> = u.iter().zip(&state.u).map(|(a, b)| a - b).collect();
            let step_z: Vec<f64> = zb.iter().zip(&state.zb).map(|(a, b)| a - b).collect();
            let length =
                square(&step_u) + step_z.iter().zip(&state.weight).map(|(z, w)| w * z * z).sum::<f64>();
            let uu = square(&state.u);
            if length <= STILL && observed {
                state.s = modes.ze;
                state.parts = [loglik, uu, state.factor.log_det_m];
                return Ok(());
            }
            let before = -2.0 * loglik + uu;
            let mut t = 1.0;
            loop {
                let eta: Vec<f64> = state.eta.iter().zip(&step_z).map(|(e, z)| e + t * z).collect();
                let trial_u: Vec<f64> = state.u.iter().zip(&step_u).map(|(u, s)| u + t * s).collect();
                let value = self.rows_at(&eta, &state.aux, &mut trial_rows);
                let after = -2.0 * value + square(&trial_u);
                if after <= before + 1e-12 * before.abs().max(1.0) {
                    state.eta = eta;
                    state.u = trial_u;
                    state.zb.iter_mut().zip(&step_z).for_each(|(z, s)| *z += t * s);
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
        let mut full = vec![Full::default(); self.n];
        let aux: Vec<&[f64]> = state.aux.iter().map(Vec::as_slice).collect();
        self.family.full_rows(&self.y, self.weights.as_deref(), &state.eta, &aux, &mut full);

        let lev = self.leverages(&problem.cross, &covariance.blocks, &pairs);
        let a: Vec<f64> = full.iter().zip(&lev).map(|(r, l)| -r.d3 * l).collect();
        let information = self.theta_information(&psi[..t], &problem, state);
        // c = K Z'a by another elimination with this right-hand side.
        let za = self.pull(&a);
        self.respond(&mut problem.cross, &za);
        let mut factor = state.factor.clone();
        factor.eliminate(&problem.cross, self.problem.scales(&psi[..t]))?;
        let modes = factor.modes(&problem.cross);
        let zc = self.random_part(&modes.b);
        state.problem = Some(problem);

        let scores = self.products(&state.s, &state.s);
        let mixed = self.products(&modes.ze, &state.s);
        let mut out =
            Gradient { values: Vec::new(), g: Vec::new(), size: Vec::new(), hessian_theta: information };
        let c = &self.problem.cross;
        let mut first = 0;
        for (term, own) in self.problem.split(&psi[..t]) {
            let (k, o, kf) = (term.structure.k, term.offset, c.factor_k[term.factor]);
            let at = |l: usize| (o + l % k) + (o + l / k) * kf;
            let turned = |l: usize| (o + l / k) + (o + l % k) * kf;
            let f = term.factor;
            let size: Vec<f64> = (0..k * k).map(|l| covariance.zpz[f][at(l)]).collect();
            let g: Vec<f64> = (0..k * k)
                .map(|l| size[l] - scores[f][at(l)] + 0.5 * (mixed[f][at(l)] + mixed[f][turned(l)]))
                .collect();
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
        let in_eta: Vec<f64> =
            (0..self.n).map(|i| -2.0 * full[i].d1 + a[i] - state.weight[i] * zc[i]).collect();
        for column in self.x.chunks_exact(self.n.max(1)).take(p) {
            out.values.push(column.iter().zip(&in_eta).map(|(x, v)| x * v).sum());
        }
        let mut gamma = vec![0.0; self.n_gamma];
        for (k, aux) in self.aux.iter().enumerate() {
            let slope: Vec<f64> = (0..self.n)
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

    /// `z_i'K z_i`.
    fn leverages(&self, cross: &Cross, blocks: &[f64], pairs: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.n];
        for factor in &self.factors {
            let k = factor.k;
            for (i, z) in factor.z.chunks_exact(k).enumerate() {
                let block = &blocks[cross.d[factor.node[i] as usize]..];
                for b in 0..k {
                    out[i] += z[b] * (0..k).map(|a| z[a] * block[a + b * k]).sum::<f64>();
                }
            }
        }
        for pair in &self.pairs {
            let (f, g) = (&self.factors[pair.first], &self.factors[pair.second]);
            for i in 0..self.n {
                let (a, b) = (f.node[i], g.node[i]);
                let (own, other) = if a < b { (f, g) } else { (g, f) };
                let e = a.min(b) as usize;
                let width = (cross.val_ptr[e + 1] - cross.val_ptr[e]) / own.k;
                for x in 0..own.k {
                    let at = pair.at[i] + x * width;
                    let dot: f64 = (0..other.k).map(|y| pairs[at + y] * other.z[i * other.k + y]).sum();
                    out[i] += 2.0 * own.z[i * own.k + x] * dot;
                }
            }
        }
        out
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
