//! Forward: `z'K z` for sparse z, the conditional variance of a row's random part given beta, over sigma^2.
//!
//! With K = Lambda M^-1 Lambda' and M factored level by level, `z'K z` is the squared length of what forward elimination makes of z.
//! Only levels that can be reached from the row's own through later neighbours are visited.

use super::Factor;
use crate::cross::Cross;
use crate::dense;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Rows whose dense remainders are solved together.
const TOGETHER: usize = 64;

/// One row of Z: nodes with the values of their k columns, standardised.
pub type SparseRow = Vec<(usize, Vec<f64>)>;

impl Factor {
    /// `z'K z` of each row.
    #[must_use]
    pub fn conditional_variances(&self, c: &Cross, rows: &[SparseRow]) -> Vec<f64> {
        let tail = c.n_tail();
        let t = tail + c.p + 1;
        let one = |rows: &[SparseRow]| {
            let mut rhs = vec![0.0; tail * rows.len()];
            let mut out: Vec<f64> = Vec::with_capacity(rows.len());
            for (i, row) in rows.iter().enumerate() {
                out.push(self.eliminate_row(c, row, &mut rhs[i * tail..(i + 1) * tail]));
            }
            if tail > 0 {
                dense::solve_lower(&self.s, tail, t, &mut rhs, rows.len());
                for (v, rhs) in out.iter_mut().zip(rhs.chunks_exact(tail)) {
                    *v += rhs.iter().map(|x| x * x).sum::<f64>();
                }
            }
            out
        };
        rows.par_chunks(TOGETHER).flat_map_iter(one).collect()
    }

    /// Eliminates the sparse levels of one row; `rhs` receives Lambda' of what is left in the tail.
    fn eliminate_row(&self, c: &Cross, row: &SparseRow, rhs: &mut [f64]) -> f64 {
        let base = c.q[c.n_sparse];
        let mut waiting: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (e, z) in row {
            if *e >= c.n_sparse {
                rhs[c.q[*e] - base..].iter_mut().zip(z).for_each(|(s, v)| *s += v);
            } else {
                let own = waiting.entry(*e).or_insert_with(|| vec![0.0; z.len()]);
                own.iter_mut().zip(z).for_each(|(s, v)| *s += v);
            }
        }
        let mut sum = 0.0;
        while let Some((e, g)) = waiting.pop_first() {
            let node = self.node(c, e);
            let (k, width) = (node.k, node.v.len() / node.k);
            // z = W g; what later levels lose is V'W'z.
            let w = &self.w[c.d[e]..c.d[e + 1]];
            let z: Vec<f64> = (0..k).map(|i| (0..k).map(|j| w[i * k + j] * g[j]).sum()).collect();
            sum += z.iter().map(|v| v * v).sum::<f64>();
            let h: Vec<f64> = (0..k).map(|j| (0..k).map(|i| w[i * k + j] * z[i]).sum()).collect();
            for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
                let (r, first) = (c.nbr[l] as usize, c.col[l] as usize);
                let kr = c.k(r);
                let own = if r >= c.n_sparse {
                    &mut rhs[c.q[r] - base..c.q[r] - base + kr]
                } else {
                    waiting.entry(r).or_insert_with(|| vec![0.0; kr]).as_mut_slice()
                };
                for (b, s) in own.iter_mut().enumerate() {
                    *s -= (0..k).map(|i| node.v[i * width + first + b] * h[i]).sum::<f64>();
                }
            }
        }
        for r in c.n_sparse..c.n_nodes() {
            let (k, at) = (c.k(r), c.q[r] - base);
            let lambda = &self.scales[c.factor_of[r] as usize].lambda;
            for i in 0..k {
                rhs[at + i] = (i..k).map(|l| lambda[l + i * k] * rhs[at + l]).sum();
            }
        }
        sum
    }
}
