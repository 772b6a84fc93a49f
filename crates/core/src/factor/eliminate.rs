//! Forward: eliminate the leading levels, the chain, then factor the dense tail.

use super::{CHUNK, Factor, MAX_COLUMNS, Node, Scale};
use crate::cross::Cross;
use crate::dense;
use crate::error::Error;
use rayon::prelude::*;

impl Factor {
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
        let one =
            |chunk: usize, w: &mut [f64], y: &mut [f64], yx: &mut [f64]| -> Result<(Vec<f64>, f64), Error> {
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
fn reduce(
    node: &Node<'_>,
    lambda: &[f64],
    w: &mut [f64],
    y: &mut [f64],
    yx: &mut [f64],
) -> Result<f64, Error> {
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
        if v.is_nan() || v <= 0.0 {
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
                for (s, x) in vx[c.q[r] * px - x0 + b * px..][..px].iter_mut().zip(&yx[i * px..(i + 1) * px])
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
