//! Selected inverse: the blocks of K and the traces of `Z'PZ`, last node first (Takahashi's recursion, unscaled).

use super::{CHUNK, Covariance, Factor, MAX_COLUMNS, Node, Scale};
use crate::cross::Cross;
use crate::dense::{self, View};
use rayon::prelude::*;

impl Factor {
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

    /// Off-diagonal blocks of K over the pattern of the cross-products, laid out as their `val`.
    ///
    /// `K_e,later = -P V K_later` for a leading level; those of the chain and of the tail are there already.
    #[must_use]
    pub fn pair_blocks(&self, c: &Cross, k_of: &Covariance) -> Vec<f64> {
        let mut out = vec![0.0; c.val.len()];
        let (v0, base, mt) = (c.val_ptr[c.n_leading.min(c.n_nodes())], c.q[c.n_sparse], k_of.m);
        let mut local = Vec::new();
        for e in 0..c.n_leading.min(c.n_nodes()) {
            let (k, own) = (c.k(e), &mut out[c.val_ptr[e]..c.val_ptr[e + 1]]);
            let width = own.len() / k;
            if width == 0 {
                continue;
            }
            gather(c, e, 0, k_of, &mut local);
            let (node, pm) = (Node::original(c, e), precision_free(&self.w[c.d[e]..c.d[e + 1]], k));
            for j in 0..width {
                let column = &local[j * width..(j + 1) * width];
                for l in 0..k {
                    let u: f64 =
                        node.v[l * width..(l + 1) * width].iter().zip(column).map(|(v, x)| v * x).sum();
                    for i in 0..k {
                        own[i * width + j] -= pm[i + l * k] * u;
                    }
                }
            }
        }
        let chain = c.val_ptr[c.n_sparse];
        out[v0..chain].copy_from_slice(&k_of.chain);
        for e in c.n_sparse..c.n_nodes() {
            let k = c.k(e);
            let width = (c.val_ptr[e + 1] - c.val_ptr[e]) / k;
            for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
                let (r, first) = (c.nbr[l] as usize, c.col[l] as usize);
                for b in 0..c.k(r) {
                    for a in 0..k {
                        out[c.val_ptr[e] + a * width + first + b] =
                            k_of.tail[(c.q[e] - base + a) + (c.q[r] - base + b) * mt];
                    }
                }
            }
        }
        out
    }

    /// Scales C = S^-1 to K and adds up `Z'PZ` over the tail's levels.
    fn tail_traces(&self, c: &Cross, out: &mut Covariance) {
        let tail = c.n_tail();
        let (m, t, base) = (out.m, tail + c.p + 1, c.q[c.n_sparse]);
        let nodes_of = |f: usize| (c.n_sparse..c.n_nodes()).filter(move |r| c.factor_of[*r] as usize == f);
        for (f, scale) in self.scales.iter().enumerate() {
            let (k, Some(inverse)) = (scale.k, &scale.inverse) else {
                continue;
            };
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

/// K over the later neighbours of `e` and the first `p` columns of X, as one local matrix.
fn gather(c: &Cross, e: usize, p: usize, k_of: &Covariance, local: &mut Vec<f64>) {
    let width = (c.val_ptr[e + 1] - c.val_ptr[e]) / c.k(e);
    let (m, mt, tail, base) = (width + p, k_of.m, c.n_tail(), c.q[c.n_sparse]);
    let (v0, d0) = (c.val_ptr[c.n_leading], c.d[c.n_leading]);
    local.clear();
    if c.nbr_ptr[e] < c.nbr_ptr[e + 1] && c.nbr[c.nbr_ptr[e]] as usize >= c.n_sparse && width == tail {
        // All of the tail: K is stored as it is needed.
        for j in 0..m {
            local.extend_from_slice(&k_of.tail[j * mt..j * mt + m]);
        }
        return;
    }
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
