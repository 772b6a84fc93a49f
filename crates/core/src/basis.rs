//! A better basis for a set of columns: shift, then an upper triangular change of variables.
//!
//! `x~ = (x - shift)' T` with `sum w x~ x~' = n I` for the triangular kind. In this basis years, unix seconds and
//! micrograms are ordinary columns, so nothing downstream needs to know about scale (method: section 3, "Scaling").
//! A first pass over the rows gives T from the Gram matrix of the shifted columns. Columns that this pass leaves
//! with few digits are looked at again: a second pass works on the transformed rows, which is what makes a
//! decision at a relative norm of 1e-7 possible at all.

use crate::structure::Scaling;
use rayon::prelude::*;

/// One column of a model matrix: values, or all ones.
pub type Column<'a> = Option<&'a [f64]>;

/// A column whose part outside the span of earlier ones is below this fraction of its norm is dropped.
pub const RANK_TOLERANCE: f64 = 1e-7;

/// Columns below this fraction after the first pass are examined again.
const DOUBTFUL: f64 = 1e-3;

/// Rows per chunk: fixed, so that sums do not depend on the number of threads.
pub(crate) const CHUNK: usize = 4096;

/// A change of basis for the columns of a design or of a term.
#[derive(Debug, Clone)]
pub struct Basis {
    /// Positions of the columns that are kept, ascending.
    pub kept: Vec<usize>,
    /// Subtracted from each kept column.
    pub shift: Vec<f64>,
    /// Upper triangular k x k, column-major, over kept columns.
    pub t: Vec<f64>,
}

impl Basis {
    /// Chooses a basis for `columns` with prior weights `w`.
    #[must_use]
    pub fn fit(columns: &[Column<'_>], w: Option<&[f64]>, n: usize, scaling: Scaling) -> Basis {
        match scaling {
            Scaling::Triangular => Basis::triangular(columns, w, n),
            _ => Basis::diagonal(columns, w, n, scaling == Scaling::Common),
        }
    }

    /// Number of kept columns.
    #[must_use]
    pub fn k(&self) -> usize {
        self.kept.len()
    }

    fn triangular(columns: &[Column<'_>], w: Option<&[f64]>, n: usize) -> Basis {
        let k = columns.len();
        let constant = columns.iter().position(Option::is_none);
        let shift: Vec<f64> = columns
            .iter()
            .map(|c| match c {
                Some(values) if constant == Some(0) => values.first().copied().unwrap_or(0.0),
                _ => 0.0,
            })
            .collect();
        let identity: Vec<f64> = (0..k * k).map(|l| f64::from(u8::from(l % k == l / k))).collect();
        let mut basis = Basis { kept: (0..k).collect(), shift, t: identity };
        let norms: Vec<f64> = {
            let gram = basis.gram(columns, w, n);
            let norms = (0..k).map(|j| gram[j + j * k]).collect();
            if basis.orthonormalise(&gram, n, None) <= DOUBTFUL {
                let gram = basis.gram(columns, w, n);
                basis.orthonormalise(&gram, n, Some(RANK_TOLERANCE));
            }
            norms
        };
        basis.drop_null(&norms);
        basis
    }

    /// Replaces T by T R^-1 where `gram` = R'R is the Gram matrix in the present basis; returns the smallest
    /// relative pivot. With a tolerance, columns below it are marked by a zero diagonal of T.
    fn orthonormalise(&mut self, gram: &[f64], n: usize, tolerance: Option<f64>) -> f64 {
        let k = self.k();
        let mut r = vec![0.0; k * k];
        let mut gr = vec![0.0; k * k];
        let mut smallest = f64::INFINITY;
        for j in 0..k {
            let norm = gram[j + j * k].sqrt();
            let mut v = vec![0.0; k];
            v[j] = 1.0;
            for i in 0..j {
                let c = gr[j + i * k] / n as f64;
                for l in 0..=i {
                    v[l] -= c * r[l + i * k];
                }
            }
            let gv: Vec<f64> = (0..k).map(|a| (0..=j).map(|b| gram[a + b * k] * v[b]).sum::<f64>()).collect();
            let left = (0..=j).map(|a| v[a] * gv[a]).sum::<f64>().max(0.0).sqrt();
            // In a second pass columns already have the norm sqrt(n) of their original.
            let reference = if tolerance.is_some() { (n as f64).sqrt() } else { norm };
            let ratio = if reference > 0.0 { left / reference } else { 0.0 };
            if norm > 0.0 {
                smallest = smallest.min(ratio);
            }
            let scale = match tolerance {
                _ if norm == 0.0 => 0.0,
                Some(tolerance) if ratio < tolerance => 0.0,
                None if ratio < DOUBTFUL => (n as f64).sqrt() / norm,
                _ => (n as f64).sqrt() / left,
            };
            for l in 0..=j {
                r[l + j * k] = v[l] * scale;
                gr[l + j * k] = gv[l] * scale;
            }
            for l in j + 1..k {
                gr[l + j * k] = gv[l] * scale;
            }
            // A doubtful column is not yet orthonormal: later ones must not project on it in this pass.
            if tolerance.is_none() && ratio < DOUBTFUL {
                for l in 0..k {
                    gr[l + j * k] = 0.0;
                }
            }
        }
        let mut t = vec![0.0; k * k];
        for j in 0..k {
            for l in 0..=j {
                for i in 0..=l {
                    t[i + j * k] += self.t[i + l * k] * r[l + j * k];
                }
            }
        }
        self.t = t;
        smallest
    }

    /// Removes the columns whose diagonal in T is zero.
    fn drop_null(&mut self, norms: &[f64]) {
        let k = self.k();
        let keep: Vec<usize> = (0..k).filter(|&j| self.t[j + j * k] != 0.0 && norms[j] > 0.0).collect();
        let m = keep.len();
        let mut t = vec![0.0; m * m];
        for (b, &j) in keep.iter().enumerate() {
            for (a, &i) in keep.iter().enumerate() {
                t[a + b * m] = self.t[i + j * k];
            }
        }
        self.t = t;
        self.shift = keep.iter().map(|&j| self.shift[j]).collect();
        self.kept = keep.iter().map(|&j| self.kept[j]).collect();
    }

    fn diagonal(columns: &[Column<'_>], w: Option<&[f64]>, n: usize, common: bool) -> Basis {
        let k = columns.len();
        let mut basis = Basis { kept: (0..k).collect(), shift: vec![0.0; k], t: vec![0.0; k * k] };
        for j in 0..k {
            basis.t[j + j * k] = 1.0;
        }
        let gram = basis.gram(columns, w, n);
        let mut norms: Vec<f64> = (0..k).map(|j| gram[j + j * k]).collect();
        for j in 0..k {
            // Two proportional columns have one variance between them.
            let proportional = |i: usize| gram[i + j * k].powi(2) >= (1.0 - 1e-13) * norms[i] * norms[j];
            if (0..j).any(|i| norms[i] > 0.0 && proportional(i)) {
                norms[j] = 0.0;
            }
        }
        let mean = norms.iter().sum::<f64>() / k.max(1) as f64;
        for j in 0..k {
            let square = if common { mean } else { norms[j] };
            basis.t[j + j * k] = if square > 0.0 { (n as f64 / square).sqrt() } else { 1.0 };
        }
        basis.drop_null(&norms);
        basis
    }

    /// Weighted Gram matrix of the columns in this basis, k x k.
    fn gram(&self, columns: &[Column<'_>], w: Option<&[f64]>, n: usize) -> Vec<f64> {
        let kept = self.select(columns);
        gram(n, self.k(), w, |rows, out| self.apply(&kept, rows, out))
    }

    /// The kept ones of `columns`.
    #[must_use]
    pub fn select<'a>(&self, columns: &[Column<'a>]) -> Vec<Column<'a>> {
        self.kept.iter().map(|&j| columns[j]).collect()
    }

    /// The (kept) columns in this basis at some rows: `out` is rows x k, column-major.
    pub fn apply(&self, kept: &[Column<'_>], rows: Batch<'_>, out: &mut [f64]) {
        let (k, m) = (self.k(), rows.len());
        for ((column, shift), to) in kept.iter().zip(&self.shift).zip(out.chunks_exact_mut(m)) {
            rows.load(*column, *shift, to);
        }
        for j in (0..k).rev() {
            let (earlier, own) = out.split_at_mut(j * m);
            let own = &mut own[..m];
            let t = &self.t[j * k..j * k + j + 1];
            own.iter_mut().for_each(|v| *v *= t[j]);
            for (i, from) in earlier.chunks_exact(m).enumerate() {
                if t[i] != 0.0 {
                    own.iter_mut().zip(from).for_each(|(s, v)| *s += t[i] * v);
                }
            }
        }
    }

    /// The matrix B with `coefficients = B coefficients~` (upper triangular, k x k): T, then the shifts' share of the constant.
    #[must_use]
    pub fn back(&self) -> Vec<f64> {
        let k = self.k();
        let mut b = self.t.clone();
        for j in 0..k {
            let moved: f64 = (1..k).map(|i| self.shift[i] * self.t[i + j * k]).sum();
            if moved != 0.0 {
                b[j * k] -= moved;
            }
        }
        b
    }
}

/// A few rows that are looked at together, so that loops over them vectorise.
#[derive(Debug, Clone, Copy)]
pub enum Batch<'a> {
    /// Consecutive rows: first and number.
    Range(usize, usize),
    /// Any rows.
    List(&'a [u32]),
}

/// Rows in a batch at most: their columns stay in the first-level cache.
pub const BATCH: usize = 256;

impl Batch<'_> {
    /// Number of rows.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Batch::Range(_, m) => *m,
            Batch::List(rows) => rows.len(),
        }
    }

    /// `column - shift` at these rows.
    #[inline]
    pub fn load(&self, column: Column<'_>, shift: f64, out: &mut [f64]) {
        match (column, self) {
            (None, _) => out.fill(1.0 - shift),
            (Some(c), Batch::Range(from, m)) => {
                out.iter_mut().zip(&c[*from..from + m]).for_each(|(s, v)| *s = v - shift);
            }
            (Some(c), Batch::List(rows)) => {
                out.iter_mut().zip(*rows).for_each(|(s, i)| *s = c[*i as usize] - shift);
            }
        }
    }
}

/// `sum w v v'` over all rows of k-vectors that `fill` writes batch by batch (rows x k, column-major).
pub fn gram(n: usize, k: usize, w: Option<&[f64]>, fill: impl Fn(Batch<'_>, &mut [f64]) + Sync) -> Vec<f64> {
    let one = |chunk: usize| {
        let mut sum = vec![0.0; k * k];
        let mut values = vec![0.0; k * BATCH];
        let mut weighted = vec![0.0; BATCH];
        let end = ((chunk + 1) * CHUNK).min(n);
        let mut from = chunk * CHUNK;
        while from < end {
            let m = BATCH.min(end - from);
            fill(Batch::Range(from, m), &mut values[..k * m]);
            for b in 0..k {
                weighted[..m].copy_from_slice(&values[b * m..(b + 1) * m]);
                if let Some(w) = w {
                    weighted[..m].iter_mut().zip(&w[from..from + m]).for_each(|(s, v)| *s *= v);
                }
                for a in 0..=b {
                    sum[a + b * k] += dot(&values[a * m..(a + 1) * m], &weighted[..m]);
                }
            }
            from += m;
        }
        sum
    };
    let mut gram = sum_chunks(n.div_ceil(CHUNK), k * k, one);
    for b in 0..k {
        for a in 0..b {
            gram[b + a * k] = gram[a + b * k];
        }
    }
    gram
}

/// Inner product in eight interleaved sums: vectorises, and rounds less than one long sum.
#[inline]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in left.zip(right) {
        for l in 0..8 {
            sums[l] += x[l] * y[l];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Sums vectors of length `len` over chunks in a fixed order, in parallel when there are many.
pub fn sum_chunks(chunks: usize, len: usize, one: impl Fn(usize) -> Vec<f64> + Sync) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = if chunks > 4 {
        (0..chunks).into_par_iter().map(&one).collect()
    } else {
        (0..chunks).map(&one).collect()
    };
    pairwise(&parts, len)
}

fn pairwise(parts: &[Vec<f64>], len: usize) -> Vec<f64> {
    match parts {
        [] => vec![0.0; len],
        [only] => only.clone(),
        _ => {
            let (a, b) = parts.split_at(parts.len() / 2);
            let mut sum = pairwise(a, len);
            for (s, v) in sum.iter_mut().zip(pairwise(b, len)) {
                *s += v;
            }
            sum
        }
    }
}
