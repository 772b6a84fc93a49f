//! Backward: modes of the random effects, coefficients, `Z'e`, and the reduced system of X.

use super::{CHUNK, Factor, Modes};
use crate::cross::Cross;
use crate::dense;
use rayon::prelude::*;

impl Factor {
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
        self.back(c, self.tail_of(c, j), j, false).b
    }

    /// `Z'H^-1 X_j` for column j of X~.
    #[must_use]
    pub fn pulled(&self, c: &Cross, j: usize) -> Vec<f64> {
        self.back(c, self.tail_of(c, j), j, false).ze
    }

    /// Rows of X lie below the tail in the factor: L_uu^-1 Lambda'S0_uX is row tail + j of L, transposed.
    fn tail_of(&self, c: &Cross, j: usize) -> Vec<f64> {
        let (tail, t) = (c.n_tail(), c.n_tail() + c.p + 1);
        (0..t - 1).map(|i| if i < tail { self.s[(tail + j) + i * t] } else { 0.0 }).collect()
    }

    /// Replaces rows r of a row-major matrix with p columns by `L_x^-1 r`, with `X~'H^-1 X~ = L_x L_x'`.
    pub fn solve_fixed(&self, c: &Cross, rows: &mut [f64]) {
        let (tail, p) = (c.n_tail(), c.p);
        let t = tail + p + 1;
        if let Some(n) = rows.len().checked_div(p) {
            dense::solve_lower(&self.s[tail * (t + 1)..], p, t, rows, n);
        }
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
                head.par_chunks_mut(k)
                    .zip(ze.par_chunks_mut(k))
                    .enumerate()
                    .with_min_len(CHUNK)
                    .for_each(one);
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
        let l = |i: usize, j: usize| {
            if i >= j { self.s[(tail + i) + (tail + j) * t] } else { 0.0 }
        };
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
