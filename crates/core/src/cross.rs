//! Cross-products `A = [Z X y]'W[Z X y]` from rows: all that a fit needs from the data.
//!
//! The levels of all grouping factors are the *nodes* of a graph; two are neighbours when a row has both. A is stored
//! by nodes in the order in which the factor will eliminate them:
//!
//! ```text
//!   leading factor's levels | chain: sparse remainder | tail: dense remainder | X y
//!   block diagonal, no fill | fill known beforehand   | one dense matrix      |
//! ```
//!
//! Node `e` with k columns owns `diag` (k x k), `val` (k rows over all columns of its *later* neighbours, row-major, zeros where
//! elimination will fill in) and `xy` (k x (p + 1)). Rows are visited once per factor, each task owning a range of levels: sums are
//! in row order whatever the number of threads.

use crate::basis::{BATCH, Basis, Batch, Column, gram};
use crate::error::Error;
use crate::ordering;
use crate::structure::Scaling;
use crate::term::{Factor, Term, TermShape, merge};
use rayon::prelude::*;

/// The rows of a model, borrowed.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// Response, offset already subtracted.
    pub y: &'a [f64],
    /// Columns of the fixed part.
    pub x: Vec<Column<'a>>,
    /// Random-effects terms.
    pub terms: Vec<Term<'a>>,
    /// Prior weights.
    pub weights: Option<&'a [f64]>,
}

/// The fixed part in its working basis: `beta = back (gamma + beta~) + y0 e_1`.
#[derive(Debug, Clone)]
pub struct FixedBasis {
    /// Columns kept, of all that were given.
    pub kept: Vec<usize>,
    /// Columns given.
    pub given: usize,
    /// p x p upper triangular.
    pub back: Vec<f64>,
    /// Least-squares coefficients that were subtracted from y, in the working basis.
    pub gamma: Vec<f64>,
    /// Constant that was subtracted from y.
    pub y0: f64,
    /// `log|det T|`.
    pub log_det: f64,
}

/// Cross-products in elimination order.
#[derive(Debug, Clone)]
pub struct Cross {
    /// Rows.
    pub n: usize,
    /// Kept columns of X.
    pub p: usize,
    /// Sum of log weights.
    pub log_weights: f64,
    /// Fixed part.
    pub fixed: FixedBasis,
    /// Terms in formula order.
    pub terms: Vec<TermShape>,
    /// Columns per level of each factor.
    pub factor_k: Vec<usize>,
    /// Node of each level of each factor.
    pub node_of: Vec<Vec<u32>>,
    /// Factor of each node.
    pub factor_of: Vec<u32>,
    /// Nodes of the leading factor.
    pub n_leading: usize,
    /// Nodes eliminated sparsely: leading and chain.
    pub n_sparse: usize,
    /// First column of each node in q-space (one longer than the nodes).
    pub q: Vec<usize>,
    /// First entry of each node in `diag`.
    pub d: Vec<usize>,
    /// Neighbour lists.
    pub nbr_ptr: Vec<usize>,
    /// Later neighbours, ascending.
    pub nbr: Vec<u32>,
    /// Column of each neighbour within its node's rows.
    pub col: Vec<u32>,
    /// First value of each node (one longer than the nodes).
    pub val_ptr: Vec<usize>,
    /// Off-diagonal blocks.
    pub val: Vec<f64>,
    /// Diagonal blocks, k x k.
    pub diag: Vec<f64>,
    /// `Z'W[X y]`, k x (p + 1) row-major for each node.
    pub xy: Vec<f64>,
    /// `[X y]'W[X y]`, (p + 1) x (p + 1).
    pub xx: Vec<f64>,
    /// Leading rows times [tail X y], dense row-major, when that is the quicker form.
    pub dense: Option<Vec<f64>>,
}

/// Leading blocks at least this full are kept as one dense matrix.
const DENSE_FILL: f64 = 0.25;

impl Cross {
    /// Columns of Z.
    #[must_use]
    pub fn n_random(&self) -> usize {
        self.q[self.q.len() - 1]
    }

    /// Columns of the dense remainder of Z.
    #[must_use]
    pub fn n_tail(&self) -> usize {
        self.n_random() - self.q[self.n_sparse]
    }

    /// Nodes.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.factor_of.len()
    }

    /// Columns of node `e`.
    #[must_use]
    pub fn k(&self, e: usize) -> usize {
        self.q[e + 1] - self.q[e]
    }

    /// Sums the rows.
    pub fn from_rows(rows: &Rows<'_>) -> Result<Cross, Error> {
        let n = rows.y.len();
        for (j, column) in rows.x.iter().enumerate() {
            if let Some(c) = column
                && c.len() != n
            {
                return Err(Error::Shape { what: format!("column {j} of X"), expected: n, found: c.len() });
            }
        }
        let w = rows.weights;
        if let Some(w) = w
            && w.len() != n
        {
            return Err(Error::Shape { what: "weights".into(), expected: n, found: w.len() });
        }
        let (factors, terms) = merge(&rows.terms, w, n)?;
        let basis = Basis::fit(&rows.x, w, n, Scaling::Triangular);
        let p = basis.k();
        if n <= p {
            return Err(Error::NoDegreesOfFreedom { n, p });
        }
        let centred = rows.x.first().is_some_and(Option::is_none);
        let mut response = Response {
            y: rows.y,
            y0: if centred { rows.y[0] } else { 0.0 },
            gamma: vec![0.0; p],
            x: basis.select(&rows.x),
            basis: &basis,
        };
        // First to know the least-squares coefficients, then again for what is left of y: differences of large sums tell nothing.
        let xx = response.gram(w, n);
        response.gamma = (0..p).map(|j| xx[j + p * (p + 1)] / xx[j + j * (p + 1)]).collect();
        let xx = response.gram(w, n);
        if xx.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { what: "the cross-product of X and y".into() });
        }
        let mut cross = Cross {
            n,
            p,
            log_weights: w.map_or(0.0, |w| w.iter().map(|v| v.ln()).sum()),
            fixed: FixedBasis {
                kept: basis.kept.clone(),
                given: rows.x.len(),
                back: basis.back(),
                gamma: response.gamma.clone(),
                y0: response.y0,
                log_det: (0..p).map(|j| basis.t[j + j * p].abs().ln()).sum(),
            },
            terms,
            factor_k: factors.iter().map(|f| f.k).collect(),
            node_of: Vec::new(),
            factor_of: Vec::new(),
            n_leading: factors.first().map_or(0, |f| f.n_levels),
            n_sparse: 0,
            q: vec![0],
            d: vec![0],
            nbr_ptr: vec![0],
            nbr: Vec::new(),
            col: Vec::new(),
            val_ptr: vec![0],
            val: Vec::new(),
            diag: Vec::new(),
            xy: Vec::new(),
            xx,
            dense: None,
        };
        cross.lay_out(&factors);
        cross.accumulate(&factors, &response, w);
        cross.densify();
        Ok(cross)
    }

    /// Orders the nodes and allocates their blocks.
    fn lay_out(&mut self, factors: &[Factor<'_>]) {
        let plan = ordering::plan(factors);
        self.n_sparse = plan.n_sparse;
        self.node_of = plan.node_of;
        self.factor_of = plan.factor_of;
        for (e, neighbours) in plan.neighbours.iter().enumerate() {
            let k = self.factor_k[self.factor_of[e] as usize];
            let mut width = 0;
            for &r in neighbours {
                self.nbr.push(r);
                self.col.push(width as u32);
                width += self.factor_k[self.factor_of[r as usize] as usize];
            }
            self.nbr_ptr.push(self.nbr.len());
            self.val_ptr.push(self.val_ptr[e] + k * width);
            self.q.push(self.q[e] + k);
            self.d.push(self.d[e] + k * k);
        }
        let nodes = self.n_nodes();
        self.val = vec![0.0; self.val_ptr[nodes]];
        self.diag = vec![0.0; self.d[nodes]];
        self.xy = vec![0.0; self.q[nodes] * (self.p + 1)];
    }

    fn accumulate(&mut self, factors: &[Factor<'_>], response: &Response<'_>, w: Option<&[f64]>) {
        let n = self.n;
        let parts = if n > 20_000 { rayon::current_num_threads() } else { 1 };
        let mut val = std::mem::take(&mut self.val);
        let mut diag = std::mem::take(&mut self.diag);
        let mut xy = std::mem::take(&mut self.xy);
        {
            let this = &*self;
            let ranges = this.ranges(parts, n, factors);
            let mut tasks = Vec::with_capacity(ranges.len());
            let (mut v, mut d, mut x) = (&mut val[..], &mut diag[..], &mut xy[..]);
            for &(from, to) in &ranges {
                let (a, rest) = v.split_at_mut(this.val_ptr[to] - this.val_ptr[from]);
                v = rest;
                let (b, rest) = d.split_at_mut(this.d[to] - this.d[from]);
                d = rest;
                let (c, rest) = x.split_at_mut((this.q[to] - this.q[from]) * (this.p + 1));
                x = rest;
                tasks.push((from, to, a, b, c));
            }
            let run = |(from, to, val, diag, xy): (usize, usize, &mut [f64], &mut [f64], &mut [f64])| {
                this.accumulate_range(from, to, factors, response, w, val, diag, xy);
            };
            if parts > 1 {
                tasks.into_par_iter().for_each(run);
            } else {
                tasks.into_iter().for_each(run);
            }
        }
        (self.val, self.diag, self.xy) = (val, diag, xy);
    }

    /// Cuts the nodes into ranges with about equal numbers of rows.
    fn ranges(&self, parts: usize, n: usize, factors: &[Factor<'_>]) -> Vec<(usize, usize)> {
        let nodes = self.n_nodes();
        if parts == 1 {
            return vec![(0, nodes)];
        }
        let mut rows = vec![0usize; nodes];
        for (f, factor) in factors.iter().enumerate() {
            for &c in factor.codes {
                rows[self.node_of[f][c as usize] as usize] += 1;
            }
        }
        let target = (n * factors.len()).div_ceil(parts).max(1);
        let (mut ranges, mut from, mut sum) = (Vec::new(), 0, 0);
        for e in 0..nodes {
            sum += rows[e];
            if sum >= target || e + 1 == nodes {
                ranges.push((from, e + 1));
                from = e + 1;
                sum = 0;
            }
        }
        ranges
    }

    /// Adds all rows to the blocks of the nodes `from..to`.
    #[allow(clippy::too_many_arguments)]
    fn accumulate_range(
        &self,
        from: usize,
        to: usize,
        factors: &[Factor<'_>],
        response: &Response<'_>,
        w: Option<&[f64]>,
        val: &mut [f64],
        diag: &mut [f64],
        xy: &mut [f64],
    ) {
        let px = self.p + 1;
        let width: usize = self.factor_k.iter().sum();
        let mut batch = Vec::with_capacity(BATCH);
        let mut values = vec![0.0; (px + width) * BATCH];
        for (f, factor) in factors.iter().enumerate() {
            let node_of = &self.node_of[f];
            if !node_of.iter().any(|e| (from..to).contains(&(*e as usize))) {
                continue;
            }
            for i in 0..self.n {
                let e = node_of[factor.codes[i] as usize] as usize;
                if e >= from && e < to {
                    batch.push(i as u32);
                }
                if batch.len() == BATCH || (i + 1 == self.n && !batch.is_empty()) {
                    self.accumulate_batch(from, f, factors, response, w, &batch, &mut values, val, diag, xy);
                    batch.clear();
                }
            }
        }
    }

    /// Adds a batch of rows to the blocks of their nodes in factor `f`.
    #[allow(clippy::too_many_arguments)]
    fn accumulate_batch(
        &self,
        from: usize,
        f: usize,
        factors: &[Factor<'_>],
        response: &Response<'_>,
        w: Option<&[f64]>,
        batch: &[u32],
        values: &mut [f64],
        val: &mut [f64],
        diag: &mut [f64],
        xy: &mut [f64],
    ) {
        let (px, m, k) = (self.p + 1, batch.len(), factors[f].k);
        let rows = Batch::List(batch);
        let (x, z) = values[..(px + self.factor_k.iter().sum::<usize>()) * m].split_at_mut(px * m);
        response.apply(rows, x);
        let (own, others) = z.split_at_mut(k * m);
        factors[f].apply(rows, own);
        if let Some(w) = w {
            // Weights once on the factor's own columns: every product below has exactly one of them.
            for column in own.chunks_exact_mut(m) {
                column.iter_mut().zip(batch).for_each(|(v, i)| *v *= w[*i as usize].sqrt());
            }
        }
        let root = |i: u32| w.map_or(1.0, |w| w[i as usize].sqrt());
        for (r, &i) in batch.iter().enumerate() {
            let e = self.node_of[f][factors[f].codes[i as usize] as usize] as usize;
            let d = &mut diag[self.d[e] - self.d[from]..self.d[e + 1] - self.d[from]];
            for b in 0..k {
                let v = own[b * m + r];
                for a in 0..k {
                    d[a + b * k] += own[a * m + r] * v;
                }
            }
            let at = (self.q[e] - self.q[from]) * px;
            let scale = root(i);
            for (a, to) in xy[at..at + k * px].chunks_exact_mut(px).enumerate() {
                let v = own[a * m + r] * scale;
                for (j, s) in to.iter_mut().enumerate() {
                    *s += v * x[j * m + r];
                }
            }
        }
        for (g, second) in factors.iter().enumerate() {
            if g == f || self.nbr.is_empty() {
                continue;
            }
            let kr = second.k;
            let other = &mut others[..kr * m];
            second.apply(rows, other);
            for (r, &i) in batch.iter().enumerate() {
                let e = self.node_of[f][factors[f].codes[i as usize] as usize] as usize;
                let s = self.node_of[g][second.codes[i as usize] as usize];
                if s as usize <= e {
                    continue;
                }
                // Every pair of levels that shares a row is a pair of neighbours by construction.
                let list = self.nbr_ptr[e]..self.nbr_ptr[e + 1];
                let Ok(found) = self.nbr[list.clone()].binary_search(&s) else {
                    continue;
                };
                let width = (self.val_ptr[e + 1] - self.val_ptr[e]) / k;
                let first = self.val_ptr[e] - self.val_ptr[from] + self.col[list.start + found] as usize;
                let scale = root(i);
                for a in 0..k {
                    for b in 0..kr {
                        val[first + a * width + b] += own[a * m + r] * other[b * m + r] * scale;
                    }
                }
            }
        }
    }

    /// Keeps the leading rows as one dense matrix too, when they are full enough for dense kernels to win.
    pub(crate) fn densify(&mut self) {
        let tail = self.n_tail();
        let rows = self.q[self.n_leading.min(self.n_nodes())];
        let full = self.val_ptr[self.n_leading.min(self.n_nodes())] as f64;
        if self.n_sparse != self.n_leading || tail < 16 || full < DENSE_FILL * (rows * tail) as f64 {
            return;
        }
        let (px, width) = (self.p + 1, tail + self.p + 1);
        let mut dense = vec![0.0; rows * width];
        for e in 0..self.n_leading {
            let k = self.k(e);
            let m = (self.val_ptr[e + 1] - self.val_ptr[e]) / k;
            for a in 0..k {
                let row = &mut dense[(self.q[e] + a) * width..(self.q[e] + a + 1) * width];
                for l in self.nbr_ptr[e]..self.nbr_ptr[e + 1] {
                    let r = self.nbr[l] as usize;
                    let to = self.q[r] - self.q[self.n_sparse];
                    let from = self.val_ptr[e] + a * m + self.col[l] as usize;
                    let kr = self.k(r);
                    row[to..to + kr].copy_from_slice(&self.val[from..from + kr]);
                }
                let at = (self.q[e] + a) * px;
                row[tail..].copy_from_slice(&self.xy[at..at + px]);
            }
        }
        self.dense = Some(dense);
    }
}

/// X in its basis and y without its least-squares fit.
struct Response<'a> {
    y: &'a [f64],
    y0: f64,
    gamma: Vec<f64>,
    x: Vec<Column<'a>>,
    basis: &'a Basis,
}

impl Response<'_> {
    /// `[X~ y~]` at some rows, rows x (p + 1), column-major.
    fn apply(&self, rows: Batch<'_>, out: &mut [f64]) {
        let (p, m) = (self.gamma.len(), rows.len());
        let (x, y) = out.split_at_mut(p * m);
        self.basis.apply(&self.x, rows, x);
        let y = &mut y[..m];
        rows.load(Some(self.y), self.y0, y);
        for (column, gamma) in x.chunks_exact(m).zip(&self.gamma) {
            if *gamma != 0.0 {
                y.iter_mut().zip(column).for_each(|(s, v)| *s -= gamma * v);
            }
        }
    }

    /// `[X~ y~]'W[X~ y~]`.
    fn gram(&self, w: Option<&[f64]>, n: usize) -> Vec<f64> {
        gram(n, self.gamma.len() + 1, w, |rows, out| self.apply(rows, out))
    }
}
