//! Dense linear algebra on flat slices; the only place that knows faer.
//!
//! Matrices are column-major, `a[i + j * n]`, unless a name says otherwise. Below [`SMALL`] rows plain loops
//! are quicker than a library call; above it faer works, in parallel when asked to.

use crate::error::Error;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, MatMut, MatRef, Par, Side};

/// Up to this many rows the plain loops are used.
const SMALL: usize = 24;

fn parallelism(n: usize) -> Par {
    if n >= 192 { Par::rayon(0) } else { Par::Seq }
}

/// Replaces the lower triangle of `a` (leading dimension `ld`) by its Cholesky factor.
pub fn cholesky(a: &mut [f64], n: usize, ld: usize) -> Result<(), Error> {
    if n > SMALL {
        let par = parallelism(n);
        let params = Default::default();
        let view = MatMut::from_column_major_slice_with_stride_mut(a, n, n, ld);
        let mut buffer = MemBuffer::new(llt::factor::cholesky_in_place_scratch::<f64>(n, par, params));
        return llt::factor::cholesky_in_place(
            view,
            Default::default(),
            par,
            MemStack::new(&mut buffer),
            params,
        )
        .map(|_| ())
        .map_err(|e| match e {
            llt::factor::LltError::NonPositivePivot { index } => failed(index),
        });
    }
    for j in 0..n {
        let mut d = a[j + j * ld];
        for l in 0..j {
            d -= a[j + l * ld] * a[j + l * ld];
        }
        if d <= 0.0 || !d.is_finite() {
            return Err(failed(j));
        }
        let d = d.sqrt();
        a[j + j * ld] = d;
        for i in j + 1..n {
            let mut s = a[i + j * ld];
            for l in 0..j {
                s -= a[i + l * ld] * a[j + l * ld];
            }
            a[i + j * ld] = s / d;
        }
    }
    Ok(())
}

fn failed(pivot: usize) -> Error {
    Error::NotPositiveDefinite { block: "the Schur complement".into(), pivot }
}

/// `log det(L L')` of a Cholesky factor.
pub fn log_det(l: &[f64], from: usize, to: usize, ld: usize) -> f64 {
    2.0 * (from..to).map(|j| l[j + j * ld].ln()).sum::<f64>()
}

/// Solves `L X = B` in place; `b` is column-major n x m.
pub fn solve_lower(l: &[f64], n: usize, ld: usize, b: &mut [f64], m: usize) {
    if n > SMALL && m > 1 {
        let l = MatRef::from_column_major_slice_with_stride(l, n, n, ld);
        let b = MatMut::from_column_major_slice_mut(&mut b[..n * m], n, m);
        solve_lower_triangular_in_place(l, b, parallelism(n));
        return;
    }
    for x in b.chunks_exact_mut(n.max(1)).take(m) {
        for j in 0..n {
            let v = x[j] / l[j + j * ld];
            x[j] = v;
            for i in j + 1..n {
                x[i] -= v * l[i + j * ld];
            }
        }
    }
}

/// Solves `L' x = b` in place.
pub fn solve_lower_transposed(l: &[f64], n: usize, ld: usize, x: &mut [f64]) {
    for j in (0..n).rev() {
        let mut v = x[j];
        for i in j + 1..n {
            v -= l[i + j * ld] * x[i];
        }
        x[j] = v / l[j + j * ld];
    }
}

/// `(L L')^-1`, all n x n entries of it, from the leading n rows of a factor.
pub fn inverse_from_cholesky(l: &[f64], n: usize, ld: usize, out: &mut [f64]) {
    if n > SMALL {
        let par = parallelism(n);
        let l = MatRef::from_column_major_slice_with_stride(l, n, n, ld);
        let view = MatMut::from_column_major_slice_mut(&mut out[..n * n], n, n);
        let mut buffer = MemBuffer::new(llt::inverse::inverse_scratch::<f64>(n, par));
        llt::inverse::inverse(view, l, par, MemStack::new(&mut buffer));
    } else {
        // Inverse of L, column by column, in the lower triangle; then L^-T L^-1.
        for j in 0..n {
            for i in 0..n {
                out[i + j * n] = f64::from(u8::from(i == j));
            }
        }
        solve_lower(l, n, ld, out, n);
        for j in 0..n {
            for i in j..n {
                let mut s = 0.0;
                for r in i..n {
                    s += out[r + i * n] * out[r + j * n];
                }
                out[i + j * n] = s;
            }
        }
    }
    mirror(out, n);
}

/// Copies the strict lower triangle to the upper one, in tiles that stay in cache.
pub fn mirror(a: &mut [f64], n: usize) {
    const TILE: usize = 32;
    for j0 in (0..n).step_by(TILE) {
        for i0 in (j0..n).step_by(TILE) {
            for j in j0..(j0 + TILE).min(n) {
                for i in i0.max(j + 1)..(i0 + TILE).min(n) {
                    a[j + i * n] = a[i + j * n];
                }
            }
        }
    }
}

/// `C -= Y'Y` on the lower triangle of `c`; `y` holds `rows` rows of length `n`, row-major.
pub fn subtract_gram(c: &mut [f64], n: usize, ld: usize, y: &[f64], rows: usize) {
    let yt = MatRef::from_column_major_slice(&y[..rows * n], n, rows);
    triangular::matmul(
        MatMut::from_column_major_slice_with_stride_mut(c, n, n, ld),
        BlockStructure::TriangularLower,
        Accum::Add,
        yt,
        BlockStructure::Rectangular,
        yt.transpose(),
        BlockStructure::Rectangular,
        -1.0,
        parallelism(n),
    );
}

/// A column-major matrix in a slice: values, rows, columns, leading dimension.
#[derive(Clone, Copy)]
pub struct View<'a>(pub &'a [f64], pub usize, pub usize, pub usize);

impl<'a> View<'a> {
    fn faer(self) -> MatRef<'a, f64> {
        MatRef::from_column_major_slice_with_stride(self.0, self.1, self.2, self.3)
    }
}

/// `C += alpha A B`, or `alpha A B'` when `transpose_b`; `c` has leading dimension `ld`.
pub fn multiply_add(c: &mut [f64], ld: usize, a: View<'_>, b: View<'_>, transpose_b: bool, alpha: f64) {
    let (m, n) = (a.1, if transpose_b { b.1 } else { b.2 });
    if m == 0 || n == 0 || a.2 == 0 {
        return;
    }
    let rhs = if transpose_b { b.faer().transpose() } else { b.faer() };
    faer::linalg::matmul::matmul(
        MatMut::from_column_major_slice_with_stride_mut(c, m, n, ld),
        Accum::Add,
        a.faer(),
        rhs,
        alpha,
        parallelism(m.max(n)),
    );
}

/// `C -= Y'Y` for column-major `y` with n columns; `c` is n x n, all of it.
pub fn subtract_inner(c: &mut [f64], y: View<'_>) {
    let n = y.2;
    if n == 0 || y.1 == 0 {
        return;
    }
    let y = y.faer();
    faer::linalg::matmul::matmul(
        MatMut::from_column_major_slice_mut(&mut c[..n * n], n, n),
        Accum::Add,
        y.transpose(),
        y,
        -1.0,
        Par::Seq,
    );
}

/// Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix.
pub fn eigen(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    if n <= 6 {
        return jacobi(a, n);
    }
    let view = MatRef::from_column_major_slice(&a[..n * n], n, n);
    match view.self_adjoint_eigen(Side::Lower) {
        Ok(e) => {
            let values = (0..n).map(|i| e.S().column_vector()[i]).collect();
            let u = e.U();
            let vectors = (0..n * n).map(|l| u[(l % n, l / n)]).collect();
            (values, vectors)
        }
        Err(_) => jacobi(a, n),
    }
}

/// Cyclic Jacobi: slower than a tridiagonal method when n is large, unbeatable in accuracy and when n is tiny.
fn jacobi(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = a[..n * n].to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i + i * n] = 1.0;
    }
    for _sweep in 0..60 {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p + q * n];
                let scale = (a[p + p * n] * a[q + q * n]).abs().sqrt();
                if apq == 0.0 || apq.abs() <= 1e-17 * scale {
                    continue;
                }
                rotated = true;
                let tau = (a[q + q * n] - a[p + p * n]) / (2.0 * apq);
                let t = tau.signum() / (tau.abs() + tau.hypot(1.0));
                let t = if tau == 0.0 { 1.0 } else { t };
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k + p * n], a[k + q * n]);
                    a[k + p * n] = c * x - s * y;
                    a[k + q * n] = s * x + c * y;
                }
                for k in 0..n {
                    let (x, y) = (a[p + k * n], a[q + k * n]);
                    a[p + k * n] = c * x - s * y;
                    a[q + k * n] = s * x + c * y;
                }
                for k in 0..n {
                    let (x, y) = (v[k + p * n], v[k + q * n]);
                    v[k + p * n] = c * x - s * y;
                    v[k + q * n] = s * x + c * y;
                }
                a[p + q * n] = 0.0;
                a[q + p * n] = 0.0;
            }
        }
        if !rotated {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i + i * n].total_cmp(&a[j + j * n]));
    let values = order.iter().map(|&i| a[i + i * n]).collect();
    let vectors = order.iter().flat_map(|&i| v[i * n..(i + 1) * n].to_vec()).collect();
    (values, vectors)
}

/// Inverse of a lower triangular k x k matrix, or `None` when a diagonal element is zero.
pub fn invert_lower(l: &[f64], k: usize) -> Option<Vec<f64>> {
    if (0..k).any(|i| l[i + i * k] == 0.0) {
        return None;
    }
    let mut out = vec![0.0; k * k];
    for i in 0..k {
        out[i + i * k] = 1.0;
    }
    solve_lower(l, k, k, &mut out, k);
    Some(out)
}

/// `A B` of k x k matrices.
pub fn square(a: &[f64], b: &[f64], k: usize) -> Vec<f64> {
    let mut c = vec![0.0; k * k];
    for j in 0..k {
        for l in 0..k {
            let v = b[l + j * k];
            for i in 0..k {
                c[i + j * k] += a[i + l * k] * v;
            }
        }
    }
    c
}

/// The k x k identity.
pub fn identity(k: usize) -> Vec<f64> {
    (0..k * k).map(|l| f64::from(u8::from(l / k == l % k))).collect()
}

/// Transpose of a k x k matrix.
pub fn transpose(a: &[f64], k: usize) -> Vec<f64> {
    (0..k * k).map(|l| a[(l / k) + (l % k) * k]).collect()
}

/// Lower triangular `L` with `L L' = R R'` and a non-negative diagonal, by Householder reflections on `R'`.
///
/// Works on the factor itself, so a singular `R` loses no digits; `r` is k x k.
pub fn retriangularise(r: &[f64], k: usize) -> Vec<f64> {
    let mut a = transpose(r, k);
    for j in 0..k {
        let norm = (j..k).map(|i| a[i + j * k].powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            continue;
        }
        let alpha = if a[j + j * k] > 0.0 { -norm } else { norm };
        let mut v: Vec<f64> = (j..k).map(|i| a[i + j * k]).collect();
        v[0] -= alpha;
        let vv = v.iter().map(|x| x * x).sum::<f64>();
        if vv == 0.0 {
            continue;
        }
        for c in j..k {
            let s = (j..k).map(|i| v[i - j] * a[i + c * k]).sum::<f64>() * 2.0 / vv;
            for i in j..k {
                a[i + c * k] -= s * v[i - j];
            }
        }
        for i in j + 1..k {
            a[i + j * k] = 0.0;
        }
    }
    let mut l = transpose(&a, k);
    for j in 0..k {
        if l[j + j * k] < 0.0 {
            for i in j..k {
                l[i + j * k] = -l[i + j * k];
            }
        }
    }
    l
}
