//! Quadratic forms `C'Z'PZC`: the average information without forming P.

use super::{CHUNK, Factor, Node};
use crate::basis::sum_chunks;
use crate::cross::Cross;
use crate::dense::{self, View};
use rayon::prelude::*;

/// Below this many directions plain loops beat library calls.
const FEW_DIRECTIONS: usize = 12;

impl Factor {
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
        dense::subtract_inner(&mut out, View(&rhs, t - 1, n_dir, t - 1));
        out
    }

    /// [`Factor::quadratic`] for one grouping factor, where all directions of a level are `C_e = D_d s_e` with the same `s = Z'e`.
    ///
    /// Two sums over the levels, whatever the number of directions, replace the directions themselves:
    /// `sum s_j s_m B_il` with `B = Z_e'H^-1 Z_e` and `sum s_j R_i` with `R = Z_e'H^-1 X`. Directions are k x k each.
    #[must_use]
    pub fn quadratic_alone(&self, c: &Cross, directions: &[Vec<f64>], ze: &[f64]) -> Vec<f64> {
        let (k, p, px, n_dir) = (c.factor_k[0], c.p, c.p + 1, directions.len());
        let (kk, size) = (k * k, k * k * (k * k + p));
        let one = |chunk: usize| {
            let mut sums = vec![0.0; size];
            let (fourth, mixed) = sums.split_at_mut(kk * kk);
            let (mut wa, mut b, mut r) = (vec![0.0; kk], vec![0.0; kk], vec![0.0; k * p]);
            for e in chunk * CHUNK..((chunk + 1) * CHUNK).min(c.n_leading) {
                let node = Node::original(c, e);
                let (w, yx) = (&self.w[e * kk..(e + 1) * kk], &self.yx[e * k * px..(e + 1) * k * px]);
                for i in 0..k {
                    for j in 0..k {
                        wa[i * k + j] = (0..k).map(|l| w[i * k + l] * node.a[l + j * k]).sum();
                    }
                }
                b.copy_from_slice(node.a);
                for i in 0..k {
                    for j in 0..k {
                        for l in 0..k {
                            b[j + l * k] -= wa[i * k + j] * wa[i * k + l];
                        }
                    }
                }
                for i in 0..k {
                    let row = &mut r[i * p..(i + 1) * p];
                    row.copy_from_slice(&node.vx[i * px..i * px + p]);
                    for l in 0..k {
                        let f = wa[l * k + i];
                        row.iter_mut().zip(&yx[l * px..]).for_each(|(s, y)| *s -= f * y);
                    }
                }
                let s = &ze[e * k..(e + 1) * k];
                for j in 0..k {
                    for m in 0..k {
                        let ss = s[j] * s[m];
                        let to = &mut fourth[(j * k + m) * kk..(j * k + m + 1) * kk];
                        to.iter_mut().zip(&b).for_each(|(t, b)| *t += ss * b);
                    }
                    let to = &mut mixed[j * k * p..(j + 1) * k * p];
                    to.iter_mut().zip(&r).for_each(|(t, r)| *t += s[j] * r);
                }
            }
            sums
        };
        let sums = sum_chunks(c.n_leading.div_ceil(CHUNK), size, one);
        let (fourth, mixed) = sums.split_at(kk * kk);
        let mut out = vec![0.0; n_dir * n_dir];
        let mut rhs = vec![0.0; p * n_dir];
        for (bd, right) in directions.iter().enumerate() {
            // sum over j, m, l of s_j s_m B_il D_b[l, m], as a k x k matrix in (i, j)
            let mut half = vec![0.0; kk];
            for j in 0..k {
                for m in 0..k {
                    let block = &fourth[(j * k + m) * kk..(j * k + m + 1) * kk];
                    for l in 0..k {
                        for i in 0..k {
                            half[i + j * k] += block[i + l * k] * right[l + m * k];
                        }
                    }
                }
            }
            for (ad, left) in directions.iter().enumerate() {
                out[ad + bd * n_dir] = left.iter().zip(&half).map(|(x, y)| x * y).sum();
            }
            for j in 0..k {
                for i in 0..k {
                    let from = &mixed[(j * k + i) * p..(j * k + i + 1) * p];
                    let to = &mut rhs[bd * p..(bd + 1) * p];
                    to.iter_mut().zip(from).for_each(|(t, r)| *t += right[i + j * k] * r);
                }
            }
        }
        dense::solve_lower(&self.s, p, px, &mut rhs, n_dir);
        dense::subtract_inner(&mut out, View(&rhs, p, n_dir, p));
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
                let own = &ct[c.q[e] * n_dir..(c.q[e] + k) * n_dir];
                if n_dir < FEW_DIRECTIONS {
                    for i in 0..k {
                        let (row, at) = (&own[i * n_dir..(i + 1) * n_dir], i * n_dir);
                        for b in 0..n_dir {
                            for a in 0..n_dir {
                                out[a + b * n_dir] += row[a] * h[at + b] - z[at + a] * z[at + b];
                            }
                        }
                    }
                } else {
                    let (own, z) = (View(own, n_dir, k, n_dir), View(z, n_dir, k, n_dir));
                    dense::multiply_add(out, n_dir, own, View(&h, n_dir, k, n_dir), true, 1.0);
                    dense::multiply_add(out, n_dir, z, z, true, -1.0);
                }
                for i in 0..k {
                    let (row, zi) = (&own[i * n_dir..(i + 1) * n_dir], &z[i * n_dir..(i + 1) * n_dir]);
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
}

/// Column `i` of `to` += `f` x column `j` of `from`.
#[inline]
fn axpy(to: &mut [f64], i: usize, from: &[f64], j: usize, f: f64, n: usize) {
    for (s, v) in to[i * n..(i + 1) * n].iter_mut().zip(&from[j * n..(j + 1) * n]) {
        *s += f * v;
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
