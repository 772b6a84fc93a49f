//! The blocked factor: levels are eliminated one by one, what is left is one dense Schur complement (LMM.1).
//!
//! Nothing is multiplied by Lambda beforehand. With `a` and `V` the present diagonal block of a level and its row over
//! later columns (earlier eliminations already subtracted), eliminating the level means
//!
//! ```text
//!   D = lambda'a lambda + I = L L'     W = L^-1 lambda'     P = W'W = (Sigma^-1 + a)^-1
//!   A_rs -= V_r' P V_s                 log|M| += log|D|
//! ```
//!
//! so a singular lambda, or lambda = 0, is an ordinary case: P is then singular, or zero. Going back,
//!
//! ```text
//!   b = P rho                 Z'e = Q rho             rho = y-column minus V b_later,   Q = (I + a Sigma)^-1
//!   K_ee = P + P N P          Z'P Z = Q a - Q N Q'    N = V K_later V'
//! ```
//!
//! where K = Lambda M^-1 Lambda' is the conditional covariance of (b, beta) over sigma^2. The gradient, the conditional
//! variances and the covariance of beta are all read from K. In the dense tail the same quantities come from
//! `S = Lambda'S0 Lambda + I`, the scaled Schur complement of the columns `[tail X y]`.

use crate::cross::Cross;
use crate::dense::{self, View};
use crate::error::Error;
use rayon::prelude::*;

/// A tail factor is handled through lambda^-1 while the norm of that stays below this.
const REGULAR: f64 = 1e4;

/// Most columns that one grouping factor can have.
pub const MAX_COLUMNS: usize = 64;

/// Levels of the leading factor per task; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 2048;

/// lambda of one grouping factor with what is derived from it.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Columns per level.
    pub k: usize,
    /// Lower triangular factor.
    pub lambda: Vec<f64>,
    /// `lambda^-1` when it is safe to use in the tail.
    inverse: Option<Vec<f64>>,
    /// `Sigma^-1` when lambda is well conditioned, whatever its size.
    precision: Option<Vec<f64>>,
}

impl Scale {
    /// Prepares `lambda`.
    #[must_use]
    pub fn new(lambda: Vec<f64>, k: usize) -> Scale {
        let norm = |m: &[f64]| m.iter().map(|v| v * v).sum::<f64>().sqrt();
        let inverse = dense::invert_lower(&lambda, k).filter(|i| i.iter().all(|v| v.is_finite()));
        let precision = inverse
            .as_ref()
            .filter(|i| norm(i) * norm(&lambda) < 1e3 * k as f64)
            .map(|i| dense::square(&dense::transpose(i, k), i, k));
        let inverse = inverse.filter(|i| norm(i) < REGULAR);
        Scale { k, lambda, inverse, precision }
    }
}

/// The factor of one lambda; buffers are kept between evaluations.
#[derive(Debug, Clone, Default)]
pub struct Factor {
    /// One a grouping factor.
    pub scales: Vec<Scale>,
    /// W = L^-1 lambda' of each sparse node, row-major.
    w: Vec<f64>,
    /// `W V`, laid out as the cross-products' `val`.
    y: Vec<f64>,
    /// `W V` over `[X y]`.
    yx: Vec<f64>,
    /// Updated rows of the chain's nodes.
    v: Vec<f64>,
    vx: Vec<f64>,
    a: Vec<f64>,
    /// Rows of leading levels times W in the dense form.
    y_dense: Vec<f64>,
    /// Schur complement on `[tail X y]`, lower triangle, unscaled.
    s0: Vec<f64>,
    /// Its scaled Cholesky factor; the last row belongs to y.
    s: Vec<f64>,
    /// `log|M|`.
    pub log_det_m: f64,
    /// `log|X'H^-1 X|`.
    pub log_det_x: f64,
    /// Minimum of the penalised residual sum of squares.
    pub r2: f64,
}

/// The penalised least-squares solution, all in the working basis.
#[derive(Debug, Clone)]
pub struct Modes {
    /// Conditional modes b~ in q-space.
    pub b: Vec<f64>,
    /// Coefficients beta~, to be added to gamma.
    pub beta: Vec<f64>,
    /// `Z'e`.
    pub ze: Vec<f64>,
}

/// Blocks of K = Lambda M^-1 Lambda', the conditional covariance over sigma^2.
#[derive(Debug, Clone, Default)]
pub struct Covariance {
    /// `sum_j Z_j' P Z_j` of each grouping factor, k x k.
    pub zpz: Vec<Vec<f64>>,
    /// Diagonal blocks K_ee of all nodes, when asked for.
    pub blocks: Vec<f64>,
    /// K over `[tail X]` (or the tail alone), full, column-major.
    pub tail: Vec<f64>,
    /// Columns of `tail`.
    pub m: usize,
    /// Rows of K of the chain's nodes over their neighbours, over X, and their diagonal blocks.
    chain: Vec<f64>,
    chain_x: Vec<f64>,
    chain_d: Vec<f64>,
}

/// A node's blocks: what has been summed, or what is left of it when eliminations have touched it.
struct Node<'a> {
    k: usize,
    a: &'a [f64],
    v: &'a [f64],
    vx: &'a [f64],
}

impl<'a> Node<'a> {
    /// The cross-products of node `e`, no elimination subtracted.
    fn original(c: &'a Cross, e: usize) -> Node<'a> {
        let px = c.p + 1;
        Node {
            k: c.k(e),
            a: &c.diag[c.d[e]..c.d[e + 1]],
            v: &c.val[c.val_ptr[e]..c.val_ptr[e + 1]],
            vx: &c.xy[c.q[e] * px..c.q[e + 1] * px],
        }
    }
}

impl Factor {
    /// Node `e` as it is when its turn comes.
    fn node<'a>(&'a self, c: &'a Cross, e: usize) -> Node<'a> {
        if e < c.n_leading || e >= c.n_sparse {
            return Node::original(c, e);
        }
        let (k, px) = (c.k(e), c.p + 1);
        let (v0, x0, d0) = (c.val_ptr[c.n_leading], c.q[c.n_leading] * px, c.d[c.n_leading]);
        Node {
            k,
            a: &self.a[c.d[e] - d0..c.d[e + 1] - d0],
            v: &self.v[c.val_ptr[e] - v0..c.val_ptr[e + 1] - v0],
            vx: &self.vx[c.q[e] * px - x0..c.q[e + 1] * px - x0],
        }
    }

    /// Eliminates everything for the given lambdas (one a grouping factor).
    pub fn eliminate(&mut self, c: &Cross, scales: Vec<Scale>) -> Result<(), Error> {
        self.scales = scales;
        let (px, tail) = (c.p + 1, c.n_tail());
        let t = tail + px;
        self.w.resize(c.d[c.n_sparse], 0.0);
        self.y.resize(c.val_ptr[c.n_sparse], 0.0);
        self.yx.resize(c.q[c.n_sparse] * px, 0.0);
        self.reset_chain(c);
        self.load_tail(c);
        let log_det = self.eliminate_leading(c)?;
        let mut product = Product::default();
        for e in c.n_leading..c.n_sparse {
            let mut w = std::mem::take(&mut self.w);
            let mut y = std::mem::take(&mut self.y);
            let mut yx = std::mem::take(&mut self.yx);
            let done = {
                let node = self.node(c, e);
                reduce(
                    &node,
                    &self.scales[c.factor_of[e] as usize].lambda,
                    &mut w[c.d[e]..c.d[e + 1]],
                    &mut y[c.val_ptr[e]..c.val_ptr[e + 1]],
                    &mut yx[c.q[e] * px..c.q[e + 1] * px],
                )
            };
            (self.w, self.y, self.yx) = (w, y, yx);
            product.times(done?);
            self.update_xy(c, e);
            self.update(c, e..e + 1);
        }
        self.log_det_m = log_det + product.ln();
        self.factor_tail(c, tail, t)
    }

    fn reset_chain(&mut self, c: &Cross) {
        let px = c.p + 1;
        let load = |to: &mut Vec<f64>, from: &[f64]| {
            to.clear();
            to.extend_from_slice(from);
        };
        load(&mut self.v, &c.val[c.val_ptr[c.n_leading]..c.val_ptr[c.n_sparse]]);
        load(&mut self.vx, &c.xy[c.q[c.n_leading] * px..c.q[c.n_sparse] * px]);
        load(&mut self.a, &c.diag[c.d[c.n_leading]..c.d[c.n_sparse]]);
    }

    /// Cross-products of the tail into the lower triangle of S0.
    fn load_tail(&mut self, c: &Cross) {
        let (px, tail) = (c.p + 1, c.n_tail());
        let t = tail + px;
        self.s0.clear();
        self.s0.resize(t * t, 0.0);
        let base = c.q[c.n_sparse];
        for r in c.n_sparse..c.n_nodes() {
            let (node, o) = (Node::original(c, r), c.q[r] - base);
            let m = node.v.len() / node.k;
            for b in 0..node.k {
                let column = &mut self.s0[(o + b) * t..(o + b + 1) * t];
                for i in b..node.k {
                    column[o + i] = node.a[i + b * node.k];
                }
                for l in c.nbr_ptr[r]..c.nbr_ptr[r + 1] {
                    let s = c.nbr[l] as usize;
                    let (os, from) = (c.q[s] - base, b * m + c.col[l] as usize);
                    let ks = c.k(s);
                    column[os..os + ks].copy_from_slice(&node.v[from..from + ks]);
                }
                column[tail..].copy_from_slice(&node.vx[b * px..(b + 1) * px]);
            }
        }
        for b in 0..px {
            for i in b..px {
                self.s0[(tail + i) + (tail + b) * t] = c.xx[i + b * px];
            }
        }
    }

    /// Eliminates the levels of the leading factor, which do not touch one another.
    fn eliminate_leading(&mut self, c: &Cross) -> Result<f64, Error> {
        if c.n_leading == 0 {
            return Ok(0.0);
        }
        let (px, tail, k) = (c.p + 1, c.n_tail(), c.factor_k[0]);
        let t = tail + px;
        let lambda = self.scales[0].lambda.clone();
        let chunks = c.n_leading.div_ceil(CHUNK);
        let one = |chunk: usize, w: &mut [f64], y: &mut [f64], yx: &mut [f64]| -> Result<(Vec<f64>, f64), Error> {
            let mut xx = vec![0.0; px * px];
            let mut product = Product::default();
            let from = chunk * CHUNK;
            for e in from..(from + CHUNK).min(c.n_leading) {
                let node = Node::original(c, e);
                let l = e - from;
                let first = c.val_ptr[from];
                let rows = &mut yx[l * k * px..(l + 1) * k * px];
                let pivot = reduce(
                    &node,
                    &lambda,
                    &mut w[l * k * k..(l + 1) * k * k],
                    &mut y[c.val_ptr[e] - first..c.val_ptr[e + 1] - first],
                    rows,
                )?;
                product.times(pivot);
                add_gram(&mut xx, rows, k, px);
            }
            Ok((xx, product.ln()))
        };
        let mut w = std::mem::take(&mut self.w);
        let mut y = std::mem::take(&mut self.y);
        let mut yx = std::mem::take(&mut self.yx);
        let mut tasks = Vec::with_capacity(chunks);
        {
            let (mut ws, mut ys, mut xs) = (&mut w[..], &mut y[..], &mut yx[..]);
            for chunk in 0..chunks {
                let (from, to) = (chunk * CHUNK, ((chunk + 1) * CHUNK).min(c.n_leading));
                let (a, rest) = ws.split_at_mut((to - from) * k * k);
                ws = rest;
                let (b, rest) = ys.split_at_mut(c.val_ptr[to] - c.val_ptr[from]);
                ys = rest;
                let (d, rest) = xs.split_at_mut((to - from) * k * px);
                xs = rest;
                tasks.push((chunk, a, b, d));
            }
        }
        let done: Result<Vec<_>, Error> = if chunks > 1 {
            tasks.into_par_iter().map(|(chunk, w, y, x)| one(chunk, w, y, x)).collect()
        } else {
            tasks.into_iter().map(|(chunk, w, y, x)| one(chunk, w, y, x)).collect()
        };
        (self.w, self.y, self.yx) = (w, y, yx);
        let mut log_det = 0.0;
        for (xx, part) in done? {
            log_det += part;
            for b in 0..px {
                for i in b..px {
                    self.s0[(tail + i) + (tail + b) * t] -= xx[i + b * px];
                }
            }
        }
        self.update_leading(c);
        Ok(log_det)
    }

    /// Subtracts what the leading levels explain from the chain and the tail.
    fn update_leading(&mut self, c: &Cross) {
        let (px, tail) = (c.p + 1, c.n_tail());
        let t = tail + px;
        let Some(rows) = &c.dense else {
            self.update(c, 0..c.n_leading);
            return;
        };
        // Dense form: Y = W V for all leading rows at once, then one symmetric product over the tail's columns.
        let k = c.factor_k[0];
        self.y_dense.clear();
        self.y_dense.resize(rows.len(), 0.0);
        for e in 0..c.n_leading {
            let w = &self.w[c.d[e]..c.d[e + 1]];
            for i in 0..k {
                for j in 0..k {
                    let f = w[i * k + j];
                    if f != 0.0 {
                        let from = &rows[(e * k + j) * t..(e * k + j + 1) * t];
                        let to = &mut self.y_dense[(e * k + i) * t..(e * k + i + 1) * t];
                        for (s, v) in to.iter_mut().zip(from) {
                            *s += f * v;
                        }
                    }
                }
            }
        }
        // The block over [X y] has been subtracted already: put it back after the full product.
        let kept: Vec<f64> = (0..px * px).map(|l| self.s0[(tail + l % px) + (tail + l / px) * t]).collect();
        dense::subtract_gram(&mut self.s0, t, t, &self.y_dense, c.n_leading * k);
        for (l, v) in kept.into_iter().enumerate() {
            self.s0[(tail + l % px) + (tail + l / px) * t] = v;
        }
    }

    fn update_xy(&mut self, c: &Cross, e: usize) {
        let (px, tail, k) = (c.p + 1, c.n_tail(), c.k(e));
        let t = tail + px;
        let mut xx = vec![0.0; px * px];
        add_gram(&mut xx, &self.yx[c.q[e] * px..c.q[e + 1] * px], k, px);
        for b in 0..px {
            for i in b..px {
                self.s0[(tail + i) + (tail + b) * t] -= xx[i + b * px];
            }
        }
    }

    /// Subtracts `Y'Y` of the nodes in `from` at all pairs of their later neighbours, and of those with `[X y]`.
    fn update(&mut self, c: &Cross, from: std::ops::Range<usize>) {
        if c.nbr_ptr[from.start] == c.nbr_ptr[from.end] {
            return;
        }
        let t = c.n_tail() + c.p + 1;
        let tail_columns = c.n_tail();
        let work = c.val_ptr[from.end] - c.val_ptr[from.start];
        if from.len() > 1 && work > 4096 && c.n_sparse == c.n_leading {
            // Column ranges of the tail in parallel: each entry is summed by one task, in the order of the levels.
            let parts = 4 * rayon::current_num_threads();
            let width = tail_columns.div_ceil(parts).max(1);
            let (head, _) = self.s0.split_at_mut(tail_columns * t);
            let (y, yx) = (&self.y, &self.yx);
            head.par_chunks_mut(width * t).enumerate().for_each(|(chunk, columns)| {
                let range = chunk * width..(chunk * width + columns.len() / t);
                for e in from.clone() {
                    update_tail(c, e, y, yx, &range, columns);
                }
            });
            return;
        }
        let all = 0..tail_columns;
        let (head, _) = self.s0.split_at_mut(tail_columns * t);
        for e in from {
            update_tail(c, e, &self.y, &self.yx, &all, head);
            if c.n_sparse > c.n_leading {
                update_chain(c, e, &self.y, &self.yx, &mut self.a, &mut self.v, &mut self.vx);
            }
        }
    }

    /// Scales the tail by Lambda, adds the identity and factors it.
    fn factor_tail(&mut self, c: &Cross, tail: usize, t: usize) -> Result<(), Error> {
        let p = c.p;
        self.s.clear();
        self.s.extend_from_slice(&self.s0);
        self.scale_tail(c);
        for j in 0..tail {
            self.s[j + j * t] += 1.0;
        }
        dense::cholesky(&mut self.s, t - 1, t)?;
        // The row of y: L l = s_y; what is left of its diagonal is r2.
        let mut l: Vec<f64> = (0..t - 1).map(|j| self.s[(t - 1) + j * t]).collect();
        dense::solve_lower(&self.s, t - 1, t, &mut l, 1);
        let mut r2 = self.s[(t - 1) + (t - 1) * t];
        for (j, v) in l.iter().enumerate() {
            self.s[(t - 1) + j * t] = *v;
            r2 -= v * v;
        }
        self.r2 = r2;
        self.log_det_m += dense::log_det(&self.s, 0, tail, t);
        self.log_det_x = dense::log_det(&self.s, tail, tail + p, t);
        if !(self.log_det_m + self.log_det_x + r2).is_finite() {
            return Err(Error::NotFinite { what: "the criterion".into() });
        }
        Ok(())
    }

    /// `S <- Lambda' S Lambda` on the tail's rows and columns, lower triangle, in place.
    fn scale_tail(&mut self, c: &Cross) {
        let tail = c.n_tail();
        let t = tail + c.p + 1;
        let base = c.q[c.n_sparse];
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            let lambda = &self.scales[c.factor_of[r] as usize].lambda;
            // The diagonal block needs both triangles before it is scaled from both sides.
            for b in 0..k {
                for i in b + 1..k {
                    self.s[(o + b) + (o + i) * t] = self.s[(o + i) + (o + b) * t];
                }
            }
            // Columns: new column b is a combination of the old columns b..k (lambda is lower triangular).
            for b in 0..k {
                for i in o..t {
                    let mut v = self.s[i + (o + b) * t] * lambda[b + b * k];
                    for l in b + 1..k {
                        v += self.s[i + (o + l) * t] * lambda[l + b * k];
                    }
                    self.s[i + (o + b) * t] = v;
                }
            }
        }
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            let lambda = &self.scales[c.factor_of[r] as usize].lambda;
            for j in 0..o + k {
                for b in 0..k {
                    let mut v = self.s[(o + b) + j * t] * lambda[b + b * k];
                    for l in b + 1..k {
                        v += self.s[(o + l) + j * t] * lambda[l + b * k];
                    }
                    self.s[(o + b) + j * t] = v;
                }
            }
        }
    }

    /// Back substitution: modes, coefficients and `Z'e`.
    #[must_use]
    pub fn modes(&self, c: &Cross) -> Modes {
        let t = c.n_tail() + c.p + 1;
        let rhs: Vec<f64> = (0..t - 1).map(|j| self.s[(t - 1) + j * t]).collect();
        self.back(c, rhs, c.p, true)
    }

    /// `Lambda M^-1 Lambda' Z'X_j`: what the random effects take of column j of X~ (LMM.1).
    #[must_use]
    pub fn absorbed(&self, c: &Cross, j: usize) -> Vec<f64> {
        let (tail, px) = (c.n_tail(), c.p + 1);
        let t = tail + px;
        // Rows of X lie below the tail in the factor: L_uu^-1 Lambda' S0_uX is row tail + j of L, transposed.
        let rhs: Vec<f64> =
            (0..t - 1).map(|i| if i < tail { self.s[(tail + j) + i * t] } else { 0.0 }).collect();
        self.back(c, rhs, j, false).b
    }

    /// Goes back from the solution on the tail; `column` selects the right-hand side among `[X y]`.
    fn back(&self, c: &Cross, mut rhs: Vec<f64>, column: usize, with_x: bool) -> Modes {
        let (tail, px, p) = (c.n_tail(), c.p + 1, c.p);
        let t = tail + px;
        let solved = if with_x { t - 1 } else { tail };
        dense::solve_lower_transposed(&self.s, solved, t, &mut rhs[..solved]);
        let beta: Vec<f64> = if with_x { rhs[tail..].to_vec() } else { vec![0.0; p] };
        let (base, q) = (c.q[c.n_sparse], c.n_random());
        let mut b = vec![0.0; q];
        let mut ze = vec![0.0; q];
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            let lambda = &self.scales[c.factor_of[r] as usize].lambda;
            for i in 0..k {
                b[c.q[r] + i] = (0..=i).map(|l| lambda[i + l * k] * rhs[o + l]).sum();
            }
        }
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            let scale = &self.scales[c.factor_of[r] as usize];
            if let Some(inverse) = &scale.inverse {
                for i in 0..k {
                    ze[c.q[r] + i] = (i..k).map(|l| inverse[l + i * k] * rhs[o + l]).sum();
                }
            } else {
                for i in 0..k {
                    let row = o + i;
                    let entry = |j: usize| self.s0[row.max(j) + row.min(j) * t];
                    let mut v = entry(tail + column);
                    for j in 0..tail {
                        v -= entry(j) * b[base + j];
                    }
                    for j in 0..p {
                        v -= entry(tail + j) * beta[j];
                    }
                    ze[c.q[r] + i] = v;
                }
            }
        }
        let leading = c.n_leading;
        for e in (leading..c.n_sparse).rev() {
            let (done, rest) = b.split_at_mut(c.q[e + 1]);
            let at = c.q[e];
            self.back_node(c, e, column, &beta, &mut done[at..], &mut ze[at..c.q[e + 1]], rest, c.q[e + 1]);
        }
        let (head, rest) = b.split_at_mut(c.q[leading.min(c.n_nodes())]);
        let after = head.len();
        let one = |(e, (b, ze)): (usize, (&mut [f64], &mut [f64]))| {
            self.back_node(c, e, column, &beta, b, ze, rest, after);
        };
        if leading > 0 {
            let k = c.factor_k[0];
            let ze = &mut ze[..after];
            if leading > CHUNK {
                head.par_chunks_mut(k).zip(ze.par_chunks_mut(k)).enumerate().with_min_len(CHUNK).for_each(one);
            } else {
                head.chunks_mut(k).zip(ze.chunks_mut(k)).enumerate().for_each(one);
            }
        }
        Modes { b, beta, ze }
    }

    /// One level of the back substitution; `later` are the modes from position `after` on.
    fn back_node(
        &self,
        c: &Cross,
        e: usize,
        column: usize,
        beta: &[f64],
        b: &mut [f64],
        ze: &mut [f64],
        later: &[f64],
        after: usize,
    ) {
        let node = self.node(c, e);
        let (k, px) = (node.k, c.p + 1);
        let m = node.v.len() / k;
        for i in 0..k {
            let mut rho = node.vx[i * px + column];
            for (v, x) in node.vx[i * px..].iter().zip(beta) {
                rho -= v * x;
            }
            for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
                let r = c.nbr[l] as usize;
                let from = i * m + c.col[l] as usize;
                let kr = c.k(r);
                let at = c.q[r] - after;
                for (v, x) in node.v[from..from + kr].iter().zip(&later[at..at + kr]) {
                    rho -= v * x;
                }
            }
            ze[i] = rho;
        }
        // b = W'(W rho); Z'e = Sigma^-1 b, or rho - a b when lambda is near singular.
        let w = &self.w[c.d[e]..c.d[e + 1]];
        b.fill(0.0);
        for i in 0..k {
            let f: f64 = (0..k).map(|j| w[i * k + j] * ze[j]).sum();
            for j in 0..k {
                b[j] += w[i * k + j] * f;
            }
        }
        match &self.scales[c.factor_of[e] as usize].precision {
            Some(precision) => {
                for i in 0..k {
                    ze[i] = (0..k).map(|j| precision[i + j * k] * b[j]).sum();
                }
            }
            None => {
                for i in 0..k {
                    ze[i] -= (0..k).map(|j| node.a[i + j * k] * b[j]).sum::<f64>();
                }
            }
        }
    }

    /// Blocks of K: with X for REML and for covariances, without for the gradient of ML.
    #[must_use]
    pub fn invert(&self, c: &Cross, with_x: bool, want_blocks: bool) -> Covariance {
        let (tail, px) = (c.n_tail(), c.p + 1);
        let t = tail + px;
        let m = if with_x { t - 1 } else { tail };
        let mut out = Covariance { m, tail: vec![0.0; m * m], ..Covariance::default() };
        out.zpz = c.factor_k.iter().map(|k| vec![0.0; k * k]).collect();
        if want_blocks {
            out.blocks = vec![0.0; c.d[c.n_nodes()]];
        }
        dense::inverse_from_cholesky(&self.s, m, t, &mut out.tail);
        self.tail_traces(c, &mut out);
        if want_blocks {
            self.tail_blocks(c, &mut out);
        }
        if c.n_sparse > c.n_leading {
            self.invert_chain(c, with_x, &mut out);
        }
        self.invert_leading(c, with_x, &mut out);
        out
    }

    /// Scales C = S^-1 to K and adds up `Z'PZ` over the tail's levels.
    fn tail_traces(&self, c: &Cross, out: &mut Covariance) {
        let tail = c.n_tail();
        let (m, t, base) = (out.m, tail + c.p + 1, c.q[c.n_sparse]);
        let nodes_of = |f: usize| (c.n_sparse..c.n_nodes()).filter(move |r| c.factor_of[*r] as usize == f);
        for (f, scale) in self.scales.iter().enumerate() {
            let (k, Some(inverse)) = (scale.k, &scale.inverse) else { continue };
            // sum (I - C_rr), then lambda^-T . lambda^-1
            let mut sum = vec![0.0; k * k];
            for r in nodes_of(f) {
                let o = c.q[r] - base;
                for b in 0..k {
                    for i in 0..k {
                        sum[i + b * k] += f64::from(u8::from(i == b)) - out.tail[(o + i) + (o + b) * m];
                    }
                }
            }
            let left = dense::square(&dense::transpose(inverse, k), &dense::square(&sum, inverse, k), k);
            out.zpz[f].iter_mut().zip(left).for_each(|(s, v)| *s += v);
        }
        self.scale_inverse(c, out);
        for (f, scale) in self.scales.iter().enumerate() {
            let nodes: Vec<usize> = nodes_of(f).collect();
            if scale.inverse.is_some() || nodes.is_empty() {
                continue;
            }
            // Z'PZ = S0 - S0 K S0 on the levels of this factor, which are contiguous in the tail.
            let k = scale.k;
            let (from, width) = (c.q[nodes[0]] - base, nodes.len() * k);
            let mut columns = vec![0.0; m * width];
            for j in 0..width {
                for i in 0..m {
                    let (row, col) = (i.max(from + j), i.min(from + j));
                    columns[i + j * m] = self.s0[row + col * t];
                }
            }
            let mut product = vec![0.0; m * width];
            dense::multiply_add(
                &mut product,
                m,
                View(&out.tail, m, m, m),
                View(&columns, m, width, m),
                false,
                1.0,
            );
            for (l, _) in nodes.iter().enumerate() {
                for b in 0..k {
                    for i in 0..k {
                        let (u, v) = (l * k + i, l * k + b);
                        let dot: f64 = columns[u * m..(u + 1) * m]
                            .iter()
                            .zip(&product[v * m..(v + 1) * m])
                            .map(|(x, y)| x * y)
                            .sum();
                        out.zpz[f][i + b * k] += columns[(from + u) + v * m] - dot;
                    }
                }
            }
        }
    }

    /// `Lambda C Lambda'` on the tail's rows and columns of the full matrix.
    fn scale_inverse(&self, c: &Cross, out: &mut Covariance) {
        let (m, base) = (out.m, c.q[c.n_sparse]);
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            let lambda = &self.scales[c.factor_of[r] as usize].lambda;
            for b in (0..k).rev() {
                for i in 0..m {
                    let mut v = 0.0;
                    for l in 0..=b {
                        v += out.tail[i + (o + l) * m] * lambda[b + l * k];
                    }
                    out.tail[i + (o + b) * m] = v;
                }
            }
        }
        for j in 0..m {
            for r in c.n_sparse..c.n_nodes() {
                let (k, o) = (c.k(r), c.q[r] - base);
                let lambda = &self.scales[c.factor_of[r] as usize].lambda;
                let column = &mut out.tail[j * m + o..j * m + o + k];
                for b in (0..k).rev() {
                    column[b] = (0..=b).map(|l| column[l] * lambda[b + l * k]).sum();
                }
            }
        }
    }

    fn tail_blocks(&self, c: &Cross, out: &mut Covariance) {
        let (m, base) = (out.m, c.q[c.n_sparse]);
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            for b in 0..k {
                for i in 0..k {
                    out.blocks[c.d[r] + i + b * k] = out.tail[(o + i) + (o + b) * m];
                }
            }
        }
    }

    /// Chain nodes, last first: K over their pattern (Takahashi's recursion, unscaled).
    fn invert_chain(&self, c: &Cross, with_x: bool, out: &mut Covariance) {
        let p = if with_x { c.p } else { 0 };
        let (v0, d0) = (c.val_ptr[c.n_leading], c.d[c.n_leading]);
        out.chain = vec![0.0; c.val_ptr[c.n_sparse] - v0];
        out.chain_x = vec![0.0; (c.q[c.n_sparse] - c.q[c.n_leading]) * p];
        out.chain_d = vec![0.0; c.d[c.n_sparse] - d0];
        let mut local = Vec::new();
        for e in (c.n_leading..c.n_sparse).rev() {
            let node = self.node(c, e);
            let (k, width) = (node.k, node.v.len() / node.k);
            let m = width + p;
            gather(c, e, p, out, &mut local);
            let row = |i: usize, j: usize| {
                if j < width { node.v[i * width + j] } else { node.vx[i * (c.p + 1) + j - width] }
            };
            // U = V K_later (k x m), N = U V'
            let mut u = vec![0.0; k * m];
            for i in 0..k {
                for j in 0..m {
                    u[i * m + j] = (0..m).map(|l| row(i, l) * local[l + j * m]).sum();
                }
            }
            let mut n = vec![0.0; k * k];
            for b in 0..k {
                for i in 0..k {
                    n[i + b * k] = (0..m).map(|j| u[i * m + j] * row(b, j)).sum();
                }
            }
            let f = c.factor_of[e] as usize;
            let mut block = vec![0.0; k * k];
            self.finish(&node, f, &self.w[c.d[e]..c.d[e + 1]], &n, &mut out.zpz[f], &mut block);
            let pm = precision_free(&self.w[c.d[e]..c.d[e + 1]], k);
            let (at, ax) = (c.val_ptr[e] - v0, (c.q[e] - c.q[c.n_leading]) * p);
            for i in 0..k {
                for j in 0..m {
                    let v: f64 = -(0..k).map(|l| pm[i + l * k] * u[l * m + j]).sum::<f64>();
                    if j < width {
                        out.chain[at + i * width + j] = v;
                    } else {
                        out.chain_x[ax + i * p + j - width] = v;
                    }
                }
            }
            out.chain_d[c.d[e] - d0..c.d[e + 1] - d0].copy_from_slice(&block);
            if !out.blocks.is_empty() {
                out.blocks[c.d[e]..c.d[e + 1]].copy_from_slice(&block);
            }
        }
    }

    /// Leading levels: N = V K V' each, then `Z'PZ` and, when asked for, K_ee.
    fn invert_leading(&self, c: &Cross, with_x: bool, out: &mut Covariance) {
        if c.n_leading == 0 {
            return;
        }
        let (p, k, tail) = (if with_x { c.p } else { 0 }, c.factor_k[0], c.n_tail());
        let m = out.m;
        // Dense form: V K for all rows in one product.
        let product = c.dense.as_ref().map(|rows| {
            let t = tail + c.p + 1;
            let n = c.n_leading * k;
            let mut product = vec![0.0; m * n];
            dense::multiply_add(&mut product, m, View(&out.tail, m, m, m), View(rows, m, n, t), false, 1.0);
            product
        });
        let want = !out.blocks.is_empty();
        let mut head = std::mem::take(&mut out.blocks);
        let size = c.n_leading * k * k;
        let shared = &*out;
        let chunk = |first: usize, blocks: &mut [f64]| -> Vec<f64> {
            let mut zpz = vec![0.0; k * k];
            let mut n = vec![0.0; k * k];
            let mut spare = vec![0.0; k * k];
            let mut local = Vec::new();
            let mut index = Vec::new();
            for e in first..(first + CHUNK).min(c.n_leading) {
                let node = Node::original(c, e);
                n.fill(0.0);
                if let (Some(product), Some(rows)) = (&product, &c.dense) {
                    let t = tail + c.p + 1;
                    for b in 0..k {
                        for i in 0..=b {
                            let x = &rows[(e * k + i) * t..(e * k + i) * t + m];
                            let y = &product[(e * k + b) * m..(e * k + b + 1) * m];
                            let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                            n[i + b * k] = dot;
                            n[b + i * k] = dot;
                        }
                    }
                } else if c.n_sparse > c.n_leading {
                    gather(c, e, p, shared, &mut local);
                    sandwich_local(&node, c.p, p, &local, &mut n);
                } else {
                    sandwich_tail(c, e, &node, p, shared, &mut index, &mut n);
                }
                let at = if want { (e - first) * k * k } else { 0 };
                let block = if want { &mut blocks[at..at + k * k] } else { &mut spare[..] };
                self.finish(&node, 0, &self.w[c.d[e]..c.d[e + 1]], &n, &mut zpz, block);
            }
            zpz
        };
        let mut empty = Vec::new();
        let parts: Vec<Vec<f64>> = if want {
            head[..size]
                .par_chunks_mut(CHUNK * k * k)
                .enumerate()
                .map(|(i, blocks)| chunk(i * CHUNK, blocks))
                .collect()
        } else if c.n_leading > CHUNK || c.nbr.len() > 20_000 {
            (0..c.n_leading.div_ceil(CHUNK)).into_par_iter().map(|i| chunk(i * CHUNK, &mut [])).collect()
        } else {
            vec![chunk(0, &mut empty)]
        };
        for part in parts {
            out.zpz[0].iter_mut().zip(part).for_each(|(s, v)| *s += v);
        }
        std::mem::swap(&mut out.blocks, &mut head);
    }

    /// From N: adds `Q a - Q N Q'` to `zpz`, writes `P + P N P` to `block`.
    #[inline]
    fn finish(&self, node: &Node<'_>, f: usize, w: &[f64], n: &[f64], zpz: &mut [f64], block: &mut [f64]) {
        let scale = &self.scales[f];
        match node.k {
            1 => {
                let (pm, a, lambda) = (w[0] * w[0], node.a[0], scale.lambda[0]);
                let q = 1.0 / (1.0 + a * lambda * lambda);
                zpz[0] += q * a - q * q * n[0];
                block[0] = pm + pm * pm * n[0];
            }
            2 => finish_general::<4>(2, scale, node.a, w, n, zpz, block),
            3 => finish_general::<9>(3, scale, node.a, w, n, zpz, block),
            k if k <= 8 => finish_general::<64>(k, scale, node.a, w, n, zpz, block),
            k if k <= 16 => finish_general::<256>(k, scale, node.a, w, n, zpz, block),
            k => finish_general::<{ MAX_COLUMNS * MAX_COLUMNS }>(k, scale, node.a, w, n, zpz, block),
        }
    }

    /// Quadratic forms `C'Z'PZC` (P of REML type) for T directions; `ct` is T x q, column-major: one column a random effect.
    #[must_use]
    pub fn quadratic(&self, c: &Cross, ct: &[f64], n_dir: usize) -> Vec<f64> {
        let (tail, px, p, q) = (c.n_tail(), c.p + 1, c.p, c.n_random());
        let (t, base) = (tail + px, c.q[c.n_sparse]);
        let lead = c.q[c.n_leading.min(c.n_nodes())];
        let mut z = vec![0.0; n_dir * base];
        let (mut out, mut gx) = self.quadratic_leading(c, ct, n_dir, &mut z);
        // Rows of G = A C after the leading ones.
        let mut g = vec![0.0; n_dir * (q - lead)];
        if let Some(rows) = &c.dense {
            let own = View(ct, n_dir, lead, n_dir);
            dense::multiply_add(&mut g, n_dir, own, View(rows, tail, lead, t), true, 1.0);
        } else {
            (0..c.n_leading).for_each(|e| scatter(c, e, Node::original(c, e).v, ct, 1.0, &mut g, n_dir));
        }
        for e in c.n_leading..c.n_nodes() {
            let node = Node::original(c, e);
            add_row(c, e, &node, ct, &mut g[(c.q[e] - lead) * n_dir..], n_dir);
            scatter(c, e, node.v, ct, 1.0, &mut g, n_dir);
            for i in 0..node.k {
                for j in 0..p {
                    axpy(&mut gx, j, ct, c.q[e] + i, node.vx[i * px + j], n_dir);
                }
            }
        }
        let later = View(&ct[n_dir * lead..], n_dir, q - lead, n_dir);
        dense::multiply_add(&mut out, n_dir, later, View(&g, n_dir, q - lead, n_dir), true, 1.0);
        // Forward elimination: z = W h, then G_later -= Y'z.
        if c.dense.is_some() {
            let own = View(&z, n_dir, lead, n_dir);
            dense::multiply_add(&mut g, n_dir, own, View(&self.y_dense, tail, lead, t), true, -1.0);
        }
        for e in 0..c.n_sparse {
            if e >= c.n_leading {
                let (k, w) = (c.k(e), &self.w[c.d[e]..c.d[e + 1]]);
                for i in 0..k {
                    for j in 0..k {
                        axpy(&mut z, c.q[e] + i, &g, c.q[e] + j - lead, w[i * k + j], n_dir);
                    }
                    for j in 0..p {
                        axpy(&mut gx, j, &z, c.q[e] + i, -self.yx[(c.q[e] + i) * px + j], n_dir);
                    }
                }
            } else if c.dense.is_some() {
                continue;
            }
            scatter(c, e, &self.y[c.val_ptr[e]..c.val_ptr[e + 1]], &z, -1.0, &mut g, n_dir);
        }
        let chain = View(&z[n_dir * lead..], n_dir, base - lead, n_dir);
        dense::multiply_add(&mut out, n_dir, chain, chain, true, -1.0);
        // Tail: L^-1 [Lambda'g; g_x]
        let mut rhs = vec![0.0; (t - 1) * n_dir];
        for r in c.n_sparse..c.n_nodes() {
            let (k, o) = (c.k(r), c.q[r] - base);
            let lambda = &self.scales[c.factor_of[r] as usize].lambda;
            for i in 0..k {
                for l in i..k {
                    for d in 0..n_dir {
                        rhs[(o + i) + d * (t - 1)] += lambda[l + i * k] * g[d + (c.q[r] - lead + l) * n_dir];
                    }
                }
            }
        }
        for j in 0..p {
            for d in 0..n_dir {
                rhs[(tail + j) + d * (t - 1)] = gx[d + j * n_dir];
            }
        }
        dense::solve_lower(&self.s, t - 1, t, &mut rhs, n_dir);
        for b in 0..n_dir {
            for a in 0..n_dir {
                let dot: f64 = rhs[a * (t - 1)..(a + 1) * (t - 1)]
                    .iter()
                    .zip(&rhs[b * (t - 1)..(b + 1) * (t - 1)])
                    .map(|(x, y)| x * y)
                    .sum();
                out[a + b * n_dir] -= dot;
            }
        }
        out
    }

    /// The leading levels' share of the quadratic forms: fills their `z = W h`, returns `C'h - z'z` and `X'ZC - Y_X'z`.
    fn quadratic_leading(&self, c: &Cross, ct: &[f64], n_dir: usize, z: &mut [f64]) -> (Vec<f64>, Vec<f64>) {
        let (px, p, tail) = (c.p + 1, c.p, c.n_tail());
        let k = c.factor_k.first().copied().unwrap_or(0);
        let lead = c.n_leading * k;
        if let Some(rows) = &c.dense {
            let later = View(&ct[n_dir * lead..], n_dir, tail, n_dir);
            dense::multiply_add(z, n_dir, later, View(rows, tail, lead, tail + px), false, 1.0);
        }
        let one = |(chunk, z): (usize, &mut [f64])| {
            let mut sums = vec![0.0; n_dir * (n_dir + p)];
            let (out, gx) = sums.split_at_mut(n_dir * n_dir);
            let mut h = vec![0.0; n_dir * k];
            for (l, z) in z.chunks_exact_mut(n_dir * k).enumerate() {
                let e = chunk * CHUNK + l;
                let node = Node::original(c, e);
                h.copy_from_slice(z);
                z.fill(0.0);
                if c.dense.is_some() {
                    add_diagonal(c, e, &node, ct, &mut h, n_dir);
                } else {
                    add_row(c, e, &node, ct, &mut h, n_dir);
                }
                let w = &self.w[c.d[e]..c.d[e + 1]];
                for i in 0..k {
                    for j in 0..k {
                        axpy(z, i, &h, j, w[i * k + j], n_dir);
                    }
                }
                for i in 0..k {
                    let row = &ct[(c.q[e] + i) * n_dir..(c.q[e] + i + 1) * n_dir];
                    let (hi, zi) = (&h[i * n_dir..(i + 1) * n_dir], &z[i * n_dir..(i + 1) * n_dir]);
                    for b in 0..n_dir {
                        for a in 0..n_dir {
                            out[a + b * n_dir] += row[a] * hi[b] - zi[a] * zi[b];
                        }
                    }
                    for j in 0..p {
                        let (x, y) = (node.vx[i * px + j], self.yx[(c.q[e] + i) * px + j]);
                        for (s, (c, z)) in gx[j * n_dir..(j + 1) * n_dir].iter_mut().zip(row.iter().zip(zi)) {
                            *s += x * c - y * z;
                        }
                    }
                }
            }
            sums
        };
        let chunks = z[..n_dir * lead].par_chunks_mut((CHUNK * n_dir * k).max(1)).enumerate();
        let parts: Vec<Vec<f64>> = if c.n_leading > CHUNK || lead * n_dir * n_dir > 400_000 {
            chunks.map(one).collect()
        } else {
            z[..n_dir * lead].chunks_mut((CHUNK * n_dir * k).max(1)).enumerate().map(one).collect()
        };
        let mut sums = vec![0.0; n_dir * (n_dir + p)];
        for part in parts {
            sums.iter_mut().zip(part).for_each(|(s, v)| *s += v);
        }
        let gx = sums.split_off(n_dir * n_dir);
        (sums, gx)
    }

    /// `(X~'H^-1 X~)^-1`, the covariance of beta~ over sigma^2.
    #[must_use]
    pub fn fixed_covariance(&self, c: &Cross) -> Vec<f64> {
        let (tail, p) = (c.n_tail(), c.p);
        let t = tail + p + 1;
        let mut out = vec![0.0; p * p];
        if p > 0 {
            dense::inverse_from_cholesky(&self.s[tail * (t + 1)..], p, t, &mut out);
        }
        out
    }

    /// Schur complement of X and its right-hand side: `X~'H^-1 X~` and `X~'H^-1 y~` (LMM.1).
    #[must_use]
    pub fn reduced(&self, c: &Cross) -> (Vec<f64>, Vec<f64>) {
        let (tail, p) = (c.n_tail(), c.p);
        let t = tail + p + 1;
        // Rows tail.. of L over columns tail..: L_XX; S = L_XX L_XX', s = L_XX l_y.
        let l = |i: usize, j: usize| if i >= j { self.s[(tail + i) + (tail + j) * t] } else { 0.0 };
        let mut s = vec![0.0; p * p];
        let mut sy = vec![0.0; p];
        for j in 0..p {
            for i in 0..p {
                s[i + j * p] = (0..=i.min(j)).map(|r| l(i, r) * l(j, r)).sum();
            }
            sy[j] = (0..=j).map(|r| l(j, r) * self.s[(t - 1) + (tail + r) * t]).sum();
        }
        (s, sy)
    }
}

/// Column `i` of `to` += `f` x column `j` of `from`.
#[inline]
fn axpy(to: &mut [f64], i: usize, from: &[f64], j: usize, f: f64, n: usize) {
    for (s, v) in to[i * n..(i + 1) * n].iter_mut().zip(&from[j * n..(j + 1) * n]) {
        *s += f * v;
    }
}

/// [`Factor::finish`] for k columns with room for `SIZE` = k x k or more.
#[inline(always)]
fn finish_general<const SIZE: usize>(
    k: usize,
    scale: &Scale,
    a: &[f64],
    w: &[f64],
    n: &[f64],
    zpz: &mut [f64],
    block: &mut [f64],
) {
    let (mut pm, mut q, mut x) = ([0.0; SIZE], [0.0; SIZE], [0.0; SIZE]);
    for j in 0..k {
        for i in 0..k {
            pm[i + j * k] = (0..k).map(|l| w[l * k + i] * w[l * k + j]).sum();
        }
    }
    // Q = Sigma^-1 P, or I - a P when lambda is near singular
    let (left, sign) = scale.precision.as_deref().map_or((a, -1.0), |precision| (precision, 1.0));
    for j in 0..k {
        for i in 0..k {
            let dot: f64 = (0..k).map(|l| left[i + l * k] * pm[l + j * k]).sum();
            q[i + j * k] = sign * dot + if sign < 0.0 && i == j { 1.0 } else { 0.0 };
        }
    }
    // Q a - Q N Q' = Q (a - N Q')
    for j in 0..k {
        for i in 0..k {
            x[i + j * k] = a[i + j * k] - (0..k).map(|l| n[i + l * k] * q[j + l * k]).sum::<f64>();
        }
    }
    for j in 0..k {
        for i in 0..k {
            zpz[i + j * k] += (0..k).map(|l| q[i + l * k] * x[l + j * k]).sum::<f64>();
        }
    }
    for j in 0..k {
        for i in 0..k {
            x[i + j * k] = (0..k).map(|l| n[i + l * k] * pm[l + j * k]).sum();
        }
    }
    for j in 0..k {
        for i in 0..k {
            block[i + j * k] = pm[i + j * k] + (0..k).map(|l| pm[i + l * k] * x[l + j * k]).sum::<f64>();
        }
    }
}

/// `h += a C_e` for the k rows of node `e`.
#[inline]
fn add_diagonal(c: &Cross, e: usize, node: &Node<'_>, ct: &[f64], h: &mut [f64], n_dir: usize) {
    for i in 0..node.k {
        for j in 0..node.k {
            axpy(h, i, ct, c.q[e] + j, node.a[i + j * node.k], n_dir);
        }
    }
}

/// `h += a C_e + V C_later` for the k rows of node `e`.
#[inline]
fn add_row(c: &Cross, e: usize, node: &Node<'_>, ct: &[f64], h: &mut [f64], n_dir: usize) {
    add_diagonal(c, e, node, ct, h, n_dir);
    let m = node.v.len() / node.k;
    for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
        let r = c.nbr[l] as usize;
        for b in 0..c.k(r) {
            for i in 0..node.k {
                axpy(h, i, ct, c.q[r] + b, node.v[i * m + c.col[l] as usize + b], n_dir);
            }
        }
    }
}

/// `G_later += sign V'F_e`, where `g` starts after the leading columns and `from` holds all columns.
#[inline]
fn scatter(c: &Cross, e: usize, v: &[f64], from: &[f64], sign: f64, g: &mut [f64], n_dir: usize) {
    let (k, lead) = (c.k(e), c.q[c.n_leading]);
    let m = v.len() / k;
    for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
        let r = c.nbr[l] as usize;
        for b in 0..c.k(r) {
            for i in 0..k {
                let f = sign * v[i * m + c.col[l] as usize + b];
                axpy(g, c.q[r] + b - lead, from, c.q[e] + i, f, n_dir);
            }
        }
    }
}

/// P = W'W, k x k.
fn precision_free(w: &[f64], k: usize) -> Vec<f64> {
    let mut p = vec![0.0; k * k];
    for b in 0..k {
        for a in 0..k {
            p[a + b * k] = (0..k).map(|i| w[i * k + a] * w[i * k + b]).sum();
        }
    }
    p
}

/// A running product whose logarithm is taken only when it threatens to overflow.
struct Product {
    value: f64,
    log: f64,
}

impl Default for Product {
    fn default() -> Self {
        Product { value: 1.0, log: 0.0 }
    }
}

impl Product {
    fn times(&mut self, v: f64) {
        self.value *= v;
        if self.value > 1e100 {
            self.log += self.value.ln();
            self.value = 1.0;
        }
    }

    fn ln(&self) -> f64 {
        self.log + self.value.ln()
    }
}

/// `xx += rows'rows` for k rows of `px` values, lower triangle.
#[inline]
fn add_gram(xx: &mut [f64], rows: &[f64], k: usize, px: usize) {
    for i in 0..k {
        let row = &rows[i * px..(i + 1) * px];
        for b in 0..px {
            for a in b..px {
                xx[a + b * px] += row[a] * row[b];
            }
        }
    }
}

/// Eliminates one level: W, `W V`, `W V_[Xy]`; returns `det D`.
#[inline]
fn reduce(node: &Node<'_>, lambda: &[f64], w: &mut [f64], y: &mut [f64], yx: &mut [f64]) -> Result<f64, Error> {
    match node.k {
        1 => {
            let d = 1.0 + lambda[0] * lambda[0] * node.a[0];
            let f = lambda[0] / d.sqrt();
            w[0] = f;
            for (s, v) in y.iter_mut().zip(node.v) {
                *s = f * v;
            }
            for (s, v) in yx.iter_mut().zip(node.vx) {
                *s = f * v;
            }
            Ok(d)
        }
        2 => reduce_general::<4>(2, node, lambda, w, y, yx),
        3 => reduce_general::<9>(3, node, lambda, w, y, yx),
        k if k <= 8 => reduce_general::<64>(k, node, lambda, w, y, yx),
        k if k <= 16 => reduce_general::<256>(k, node, lambda, w, y, yx),
        k => reduce_general::<{ MAX_COLUMNS * MAX_COLUMNS }>(k, node, lambda, w, y, yx),
    }
}

#[inline(always)]
fn reduce_general<const SIZE: usize>(
    k: usize,
    node: &Node<'_>,
    lambda: &[f64],
    w: &mut [f64],
    y: &mut [f64],
    yx: &mut [f64],
) -> Result<f64, Error> {
    let (mut d, mut al) = ([0.0; SIZE], [0.0; SIZE]);
    for j in 0..k {
        for l in j..k {
            let f = lambda[l + j * k];
            for i in 0..k {
                al[i + j * k] += node.a[i + l * k] * f;
            }
        }
    }
    for j in 0..k {
        for i in j..k {
            let mut s = if i == j { 1.0 } else { 0.0 };
            for l in i..k {
                s += lambda[l + i * k] * al[l + j * k];
            }
            d[i + j * k] = s;
        }
    }
    let mut det = 1.0;
    for j in 0..k {
        let mut v = d[j + j * k];
        for l in 0..j {
            v -= d[j + l * k] * d[j + l * k];
        }
        if !(v > 0.0) {
            return Err(Error::NotPositiveDefinite { block: "a level's block".into(), pivot: j });
        }
        det *= v;
        let r = v.sqrt();
        d[j + j * k] = r;
        for i in j + 1..k {
            let mut s = d[i + j * k];
            for l in 0..j {
                s -= d[i + l * k] * d[j + l * k];
            }
            d[i + j * k] = s / r;
        }
    }
    // W = L^-1 lambda', row by row
    for i in 0..k {
        for j in 0..k {
            let mut s = if j >= i { lambda[j + i * k] } else { 0.0 };
            for l in 0..i {
                s -= d[i + l * k] * w[l * k + j];
            }
            w[i * k + j] = s / d[i + i * k];
        }
    }
    scale_rows(k, w, node.v, y);
    scale_rows(k, w, node.vx, yx);
    Ok(det)
}

/// `out = W v` for row-major k-row matrices.
#[inline(always)]
fn scale_rows(k: usize, w: &[f64], v: &[f64], out: &mut [f64]) {
    let m = v.len() / k;
    for i in 0..k {
        let row = &mut out[i * m..(i + 1) * m];
        row.fill(0.0);
        for j in 0..k {
            let f = w[i * k + j];
            for (s, x) in row.iter_mut().zip(&v[j * m..(j + 1) * m]) {
                *s += f * x;
            }
        }
    }
}

/// Subtracts node `e`'s products from the tail's columns in `range` (`columns` holds just those).
fn update_tail(
    c: &Cross,
    e: usize,
    y: &[f64],
    yx: &[f64],
    range: &std::ops::Range<usize>,
    columns: &mut [f64],
) {
    let (px, tail, k) = (c.p + 1, c.n_tail(), c.k(e));
    let t = tail + px;
    let y = &y[c.val_ptr[e]..c.val_ptr[e + 1]];
    let yx = &yx[c.q[e] * px..c.q[e + 1] * px];
    let m = y.len() / k;
    let base = c.q[c.n_sparse];
    let neighbours = c.nbr_ptr[e]..c.nbr_ptr[e + 1];
    let skip = c.nbr[neighbours.clone()].partition_point(|r| c.q[*r as usize + 1] <= base + range.start);
    for l in neighbours.start + skip..neighbours.end {
        let r = c.nbr[l] as usize;
        if r < c.n_sparse {
            continue;
        }
        let (o, kr, cr) = (c.q[r] - base, c.k(r), c.col[l] as usize);
        if o >= range.end {
            break;
        }
        for b in 0..kr {
            if o + b < range.start || o + b >= range.end {
                continue;
            }
            let column = &mut columns[(o + b - range.start) * t..(o + b - range.start + 1) * t];
            for i in 0..k {
                let f = y[i * m + cr + b];
                if f == 0.0 {
                    continue;
                }
                let row = &y[i * m..(i + 1) * m];
                for a in b..kr {
                    column[o + a] -= f * row[cr + a];
                }
                for l2 in l + 1..neighbours.end {
                    let s = c.nbr[l2] as usize;
                    let (os, ks, cs) = (c.q[s] - base, c.k(s), c.col[l2] as usize);
                    if ks == 1 {
                        column[os] -= f * row[cs];
                    } else {
                        for a in 0..ks {
                            column[os + a] -= f * row[cs + a];
                        }
                    }
                }
                for (s, v) in column[tail..].iter_mut().zip(&yx[i * px..(i + 1) * px]) {
                    *s -= f * v;
                }
            }
        }
    }
}

/// Subtracts node `e`'s products from the rows of its neighbours in the chain.
fn update_chain(c: &Cross, e: usize, y: &[f64], yx: &[f64], a: &mut [f64], v: &mut [f64], vx: &mut [f64]) {
    let (px, k) = (c.p + 1, c.k(e));
    let y = &y[c.val_ptr[e]..c.val_ptr[e + 1]];
    let yx = &yx[c.q[e] * px..c.q[e + 1] * px];
    let m = y.len() / k;
    let (v0, d0, x0) = (c.val_ptr[c.n_leading], c.d[c.n_leading], c.q[c.n_leading] * px);
    for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
        let r = c.nbr[l] as usize;
        if r >= c.n_sparse {
            break;
        }
        let (kr, cr) = (c.k(r), c.col[l] as usize);
        let mr = (c.val_ptr[r + 1] - c.val_ptr[r]) / kr;
        for b in 0..kr {
            for i in 0..k {
                let f = y[i * m + cr + b];
                let row = &y[i * m..(i + 1) * m];
                for g in 0..kr {
                    a[c.d[r] - d0 + g + b * kr] -= f * row[cr + g];
                }
                for (s, x) in
                    vx[c.q[r] * px - x0 + b * px..][..px].iter_mut().zip(&yx[i * px..(i + 1) * px])
                {
                    *s -= f * x;
                }
                // The neighbours of r contain all later neighbours of e: one merge walk.
                let mut at = c.nbr_ptr[r];
                for l2 in l + 1..c.nbr_ptr[e + 1] {
                    let s = c.nbr[l2];
                    while c.nbr[at] < s {
                        at += 1;
                    }
                    let to = c.val_ptr[r] - v0 + b * mr + c.col[at] as usize;
                    let from = c.col[l2] as usize;
                    for g in 0..c.k(s as usize) {
                        v[to + g] -= f * row[from + g];
                    }
                }
            }
        }
    }
}

/// K over the later neighbours of `e` and the first `p` columns of X, as one local matrix.
fn gather(c: &Cross, e: usize, p: usize, k_of: &Covariance, local: &mut Vec<f64>) {
    let width = (c.val_ptr[e + 1] - c.val_ptr[e]) / c.k(e);
    let (m, mt, tail, base) = (width + p, k_of.m, c.n_tail(), c.q[c.n_sparse]);
    let (v0, d0) = (c.val_ptr[c.n_leading], c.d[c.n_leading]);
    local.clear();
    local.resize(m * m, 0.0);
    let mut put = |i: usize, j: usize, v: f64| {
        local[i + j * m] = v;
        local[j + i * m] = v;
    };
    for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
        let r = c.nbr[l] as usize;
        let (kr, cr) = (c.k(r), c.col[l] as usize);
        let in_chain = r < c.n_sparse;
        let o = c.q[r].wrapping_sub(base);
        for b in 0..kr {
            for a in 0..kr {
                let v = if in_chain {
                    k_of.chain_d[c.d[r] - d0 + a + b * kr]
                } else {
                    k_of.tail[(o + a) + (o + b) * mt]
                };
                put(cr + a, cr + b, v);
            }
            for j in 0..p {
                let v = if in_chain {
                    k_of.chain_x[(c.q[r] + b - c.q[c.n_leading]) * p + j]
                } else {
                    k_of.tail[(tail + j) + (o + b) * mt]
                };
                put(cr + b, width + j, v);
            }
        }
        let mr = (c.val_ptr[r + 1] - c.val_ptr[r]) / kr;
        let mut at = c.nbr_ptr[r];
        for l2 in l + 1..c.nbr_ptr[e + 1] {
            let s = c.nbr[l2] as usize;
            let (ks, cs) = (c.k(s), c.col[l2] as usize);
            if in_chain {
                while c.nbr[at] < s as u32 {
                    at += 1;
                }
            }
            for b in 0..kr {
                for a in 0..ks {
                    let v = if in_chain {
                        k_of.chain[c.val_ptr[r] - v0 + b * mr + c.col[at] as usize + a]
                    } else {
                        k_of.tail[(c.q[s] - base + a) + (o + b) * mt]
                    };
                    put(cr + b, cs + a, v);
                }
            }
        }
    }
    for j in 0..p {
        for i in 0..p {
            put(width + i, width + j, k_of.tail[(tail + i) + (tail + j) * mt]);
        }
    }
}

/// `N = V K V'` with a gathered K; `given` is the number of X columns in `vx`, `p` how many take part.
fn sandwich_local(node: &Node<'_>, given: usize, p: usize, local: &[f64], n: &mut [f64]) {
    let k = node.k;
    let width = node.v.len() / k;
    let m = width + p;
    let row = |i: usize, j: usize| {
        if j < width { node.v[i * width + j] } else { node.vx[i * (given + 1) + j - width] }
    };
    for j in 0..m {
        for i in 0..k {
            let u: f64 = (0..m).map(|l| row(i, l) * local[l + j * m]).sum();
            for b in 0..k {
                n[i + b * k] += u * row(b, j);
            }
        }
    }
}

/// `N = V K V'` when all neighbours are in the tail: K is read in place.
fn sandwich_tail(
    c: &Cross,
    e: usize,
    node: &Node<'_>,
    p: usize,
    k_of: &Covariance,
    index: &mut Vec<usize>,
    n: &mut [f64],
) {
    let (k, m, tail, base) = (node.k, k_of.m, c.n_tail(), c.q[c.n_sparse]);
    let width = node.v.len() / k;
    index.clear();
    for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
        let r = c.nbr[l] as usize;
        index.extend(c.q[r] - base..c.q[r + 1] - base);
    }
    for i in 0..k {
        let (vi, xi) = (&node.v[i * width..(i + 1) * width], &node.vx[i * (c.p + 1)..]);
        for b in 0..=i {
            let (vb, xb) = (&node.v[b * width..(b + 1) * width], &node.vx[b * (c.p + 1)..]);
            let mut sum = 0.0;
            for (j, &column) in index.iter().enumerate() {
                let column = &k_of.tail[column * m..(column + 1) * m];
                // K is symmetric: for a diagonal block half the products are enough.
                let upto = if i == b { j } else { index.len() };
                let mut s = 0.0;
                for (v, &l) in vi[..upto].iter().zip(&index[..upto]) {
                    s += v * column[l];
                }
                if i == b {
                    s = 2.0 * s + vi[j] * column[index[j]];
                }
                for r in 0..p {
                    s += if i == b { 2.0 } else { 1.0 } * xi[r] * column[tail + r];
                }
                sum += s * vb[j];
            }
            for j in 0..p {
                let column = &k_of.tail[(tail + j) * m..(tail + j + 1) * m];
                let mut s = 0.0;
                if i != b {
                    for (v, &l) in vi.iter().zip(&*index) {
                        s += v * column[l];
                    }
                }
                for r in 0..p {
                    s += xi[r] * column[tail + r];
                }
                sum += s * xb[j];
            }
            n[i + b * k] = sum;
            n[b + i * k] = sum;
        }
    }
}
