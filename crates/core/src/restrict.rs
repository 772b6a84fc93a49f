//! The same model with one combination of the fixed effects held at a value: what profiles of coefficients refit.
//!
//! `a'beta = v` leaves p - 1 free directions. In the orthonormal columns [Q d] of the working basis, with d along the
//! constraint, the new columns are X Q and the new response is y - X d t: linear in the old ones, so the new
//! cross-products follow from the old and no row is read.

use crate::criterion::Problem;
use crate::dense;

impl Problem {
    /// The problem with `a'beta = value`, `a` over the p kept columns as the user wrote them; its own coefficients are rotated.
    ///
    /// Meant for ML: the restricted likelihood of the new columns is not comparable with the old one.
    #[must_use]
    pub fn restrict(&self, a: &[f64], value: f64) -> Problem {
        let c = &self.cross;
        let (p, back) = (c.p, &c.fixed.back);
        // a'beta = d'(gamma + beta~) + a_1 y0 with d = back'a
        let d: Vec<f64> = (0..p).map(|j| (0..=j).map(|i| back[i + j * p] * a[i]).sum()).collect();
        let norm = d.iter().map(|v| v * v).sum::<f64>().sqrt();
        let fitted: f64 = d.iter().zip(&c.fixed.gamma).map(|(d, g)| d * g).sum();
        let t = (value - fitted - a.first().unwrap_or(&0.0) * c.fixed.y0) / norm;
        let turn = householder(&d, norm);
        // Columns of the change: p - 1 free ones, then the response.
        let (px, pn) = (p + 1, p);
        let mut change = vec![0.0; px * pn];
        for j in 0..p - 1 {
            change[j * px..j * px + p].copy_from_slice(&turn[(j + 1) * p..(j + 2) * p]);
        }
        for i in 0..p {
            change[i + (pn - 1) * px] = -t * turn[i];
        }
        change[p + (pn - 1) * px] = 1.0;

        let row = |old: &[f64], new: &mut Vec<f64>| {
            new.extend((0..pn).map(|j| (0..px).map(|i| old[i] * change[i + j * px]).sum::<f64>()));
        };
        let mut cross = c.clone();
        cross.p = p - 1;
        cross.xy = Vec::with_capacity(c.n_random() * pn);
        c.xy.chunks_exact(px).for_each(|old| row(old, &mut cross.xy));
        let half: Vec<f64> = (0..pn)
            .flat_map(|j| (0..px).map(move |i| (i, j)))
            .map(|(i, j)| (0..px).map(|l| c.xx[i + l * px] * change[l + j * px]).sum())
            .collect();
        cross.xx = (0..pn)
            .flat_map(|j| (0..pn).map(move |i| (i, j)))
            .map(|(i, j)| (0..px).map(|l| change[l + i * px] * half[l + j * px]).sum())
            .collect();
        if let Some(old) = &c.dense {
            let tail = c.n_tail();
            let mut new = Vec::with_capacity(old.len() / (tail + px) * (tail + pn));
            for line in old.chunks_exact(tail + px) {
                new.extend_from_slice(&line[..tail]);
                row(&line[tail..], &mut new);
            }
            cross.dense = Some(new);
        }
        cross.fixed.kept = (0..p - 1).collect();
        cross.fixed.given = p - 1;
        cross.fixed.back = dense::identity(p - 1);
        cross.fixed.gamma = vec![0.0; p - 1];
        cross.fixed.y0 = 0.0;
        cross.fixed.log_det = 0.0;
        Problem { cross }
    }
}

/// An orthogonal p x p matrix whose first column is `d / norm`.
fn householder(d: &[f64], norm: f64) -> Vec<f64> {
    let p = d.len();
    let mut v: Vec<f64> = d.iter().map(|x| x / norm).collect();
    let sign = if v[0] < 0.0 { 1.0 } else { -1.0 };
    v[0] -= sign;
    let size: f64 = v.iter().map(|x| x * x).sum();
    // I - 2 v v'/v'v maps sign e_1 to d / norm.
    let mut out = vec![0.0; p * p];
    for j in 0..p {
        for i in 0..p {
            let own = f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / size;
            out[i + j * p] = if j == 0 { sign * own } else { own };
        }
    }
    out
}
