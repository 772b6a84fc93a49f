//! From a theta to what a user reads: coefficients, modes and covariances, in the columns of the formula.

use crate::basis::Column;
use crate::criterion::Problem;
use crate::dense;
use crate::error::Error;
use crate::factor::{Factor, SparseRow};
use crate::term::TermShape;

/// The penalised least-squares solution and its covariances at one theta, mapped back from the working basis.
#[derive(Debug, Clone)]
pub struct Solution {
    /// Fixed effects of the kept columns, p.
    pub beta: Vec<f64>,
    /// Covariance of beta over sigma^2, p x p.
    pub vcov: Vec<f64>,
    /// Conditional modes of each term, J x k row-major.
    pub b: Vec<Vec<f64>>,
    /// Covariance of each level's modes given y and beta, over sigma^2, J x k x k.
    pub condvar: Vec<Vec<f64>>,
    /// `Lambda M^-1 Lambda'Z'X` of each term, J x k x p.
    pub absorbed: Vec<Vec<f64>>,
    /// lambda of each term, k x k column-major.
    pub lambdas: Vec<Vec<f64>>,
    /// Penalised residual sum of squares.
    pub r2: f64,
    /// `r2 / nu`.
    pub sigma2: f64,
    /// `log|M|`.
    pub log_det_m: f64,
    /// `log|X'H^-1 X|`.
    pub log_det_x: f64,
    /// `X'H^-1 X`, p x p.
    pub schur: Vec<f64>,
    /// `X'H^-1 y`, p.
    pub schur_y: Vec<f64>,
}

impl Problem {
    /// Solves at `theta` (the user's); conditional variances and absorbed columns only when `full`.
    pub fn solve(&self, theta: &[f64], reml: bool, full: bool) -> Result<Solution, Error> {
        let c = &self.cross;
        let p = c.p;
        let mut factor = Factor::default();
        self.evaluate(&self.inner(theta), reml, &mut factor)?;
        let modes = factor.modes(c);
        let back = &c.fixed.back;

        let shifted: Vec<f64> = (0..p).map(|j| c.fixed.gamma[j] + modes.beta[j]).collect();
        let mut beta: Vec<f64> = (0..p).map(|i| (i..p).map(|j| back[i + j * p] * shifted[j]).sum()).collect();
        if c.fixed.y0 != 0.0 {
            beta[0] += c.fixed.y0;
        }
        let vcov = congruence(back, &factor.fixed_covariance(c), p);
        // S in the user's columns: back^-T S~ back^-1; and s = S beta by definition of the solution is checked, so keep both.
        let forth = dense::invert_lower(&dense::transpose(back, p), p)
            .ok_or_else(|| Error::NotFinite { what: "the basis of X".into() })?;
        let (inner_s, inner_sy) = factor.reduced(c);
        let schur = congruence(&forth, &inner_s, p);
        let mut full_sy: Vec<f64> = (0..p)
            .map(|i| inner_sy[i] + (0..p).map(|j| inner_s[i + j * p] * c.fixed.gamma[j]).sum::<f64>())
            .collect();
        full_sy = (0..p).map(|i| (0..=i).map(|j| forth[i + j * p] * full_sy[j]).sum()).collect();
        for i in 0..p {
            full_sy[i] += schur[i] * c.fixed.y0;
        }

        let terms = &c.terms;
        let b = terms.iter().map(|t| self.to_levels(t, &modes.b)).collect();
        let (mut condvar, mut absorbed) = (vec![], vec![]);
        if full {
            let k_of = factor.invert(c, false, true);
            condvar = terms.iter().map(|t| self.level_blocks(t, &k_of.blocks)).collect();
            absorbed = self.absorbed(&factor);
        }
        let lambdas = self.split(theta).map(|(t, theta)| t.structure.lambda(theta)).collect();
        Ok(Solution {
            beta,
            vcov,
            b,
            condvar,
            absorbed,
            lambdas,
            r2: factor.r2,
            sigma2: factor.r2 / self.nu(reml),
            log_det_m: factor.log_det_m,
            log_det_x: factor.log_det_x - 2.0 * c.fixed.log_det,
            schur,
            schur_y: full_sy,
        })
    }

    /// `z'K z`, the variance of each row's random part given y and beta over sigma^2.
    ///
    /// By term: level codes (negative: none of the levels) and k columns, all of one length.
    pub fn conditional_variances(
        &self,
        theta: &[f64],
        rows: &[(&[i32], Vec<Column<'_>>)],
    ) -> Result<Vec<f64>, Error> {
        let c = &self.cross;
        let mut factor = Factor::default();
        self.evaluate(&self.inner(theta), false, &mut factor)?;
        let n = rows.first().map_or(0, |(codes, _)| codes.len());
        let one = |i: usize| -> SparseRow {
            let mut out = SparseRow::new();
            for (term, (codes, columns)) in c.terms.iter().zip(rows) {
                if codes[i] < 0 {
                    continue;
                }
                let (k, o) = (term.structure.k, term.offset);
                let own: Vec<f64> = columns.iter().map(|column| column.map_or(1.0, |v| v[i])).collect();
                let mut z = vec![0.0; c.factor_k[term.factor]];
                for j in 0..k {
                    z[o + j] = (0..k).map(|l| term.back[l + j * k] * own[l]).sum();
                }
                out.push((c.node_of[term.factor][codes[i] as usize] as usize, z));
            }
            out
        };
        let rows: Vec<SparseRow> = (0..n).map(one).collect();
        Ok(factor.conditional_variances(c, &rows))
    }

    /// A q-vector as J x k of one term, in the user's columns.
    pub(crate) fn to_levels(&self, term: &TermShape, b: &[f64]) -> Vec<f64> {
        let (c, k) = (&self.cross, term.structure.k);
        let mut out = Vec::with_capacity(term.n_levels * k);
        for e in &c.node_of[term.factor] {
            let own = &b[c.q[*e as usize] + term.offset..][..k];
            for i in 0..k {
                out.push((0..k).map(|j| term.back[i + j * k] * own[j]).sum());
            }
        }
        out
    }

    pub(crate) fn level_blocks(&self, term: &TermShape, blocks: &[f64]) -> Vec<f64> {
        let (c, k, kf) = (&self.cross, term.structure.k, self.cross.factor_k[term.factor]);
        let mut out = Vec::with_capacity(term.n_levels * k * k);
        for e in &c.node_of[term.factor] {
            let block = &blocks[c.d[*e as usize]..c.d[*e as usize + 1]];
            let o = term.offset;
            let own: Vec<f64> = (0..k * k).map(|l| block[(o + l % k) + (o + l / k) * kf]).collect();
            out.extend(congruence(&term.back, &own, k));
        }
        out
    }

    /// `Lambda M^-1 Lambda'Z'X` in the user's columns on both sides: for each term J x k x p.
    fn absorbed(&self, factor: &Factor) -> Vec<Vec<f64>> {
        let (c, p) = (&self.cross, self.cross.p);
        // Columns of X are X~ back^-1 in the working basis.
        let forth = dense::invert_lower(&dense::transpose(&c.fixed.back, p), p).unwrap_or_default();
        let inner: Vec<Vec<f64>> = (0..p).map(|j| factor.absorbed(c, j)).collect();
        c.terms
            .iter()
            .map(|term| {
                let columns: Vec<Vec<f64>> = inner.iter().map(|b| self.to_levels(term, b)).collect();
                let rows = term.n_levels * term.structure.k;
                let mut out = vec![0.0; rows * p];
                for i in 0..rows {
                    for j in 0..p {
                        out[i * p + j] = (0..=j).map(|l| columns[l][i] * forth[j + l * p]).sum();
                    }
                }
                out
            })
            .collect()
    }
}

/// `B C B'` for k x k matrices.
fn congruence(b: &[f64], c: &[f64], k: usize) -> Vec<f64> {
    dense::square(b, &dense::square(c, &dense::transpose(b, k), k), k)
}
