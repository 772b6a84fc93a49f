//! Second-order quantities along directions of the random effects' covariance: what small-sample inference needs (method: section 6).
//!
//! A direction is `V_i = Z_t D Z_t'` for one term t and a symmetric k x k matrix D, in units of sigma^2. With `B = Z'H^-1 Z`,
//! `R = Z'H^-1 X` and `C = R (X'H^-1 X)^-1 R'`, `Z'P Z` is B (ML) or `B - C` (REML), and
//!
//! ```text
//!   tr(P V_i P V_j) = sum over pairs of levels a, b of tr(D_i Q_ab D_j Q_ab')      Q = Z'P Z
//!   X'H^-1 V_i H^-1 X = R'D_i R          X'H^-1 V_i H^-1 V_j H^-1 X = R'D_i B D_j R
//! ```
//!
//! B has blocks only between levels that are connected through rows, so it is formed component by component, each a small dense
//! problem (one level with one grouping factor, one top-level group in nested designs, everything in crossed ones). C has
//! low rank: its share of the sum over *all* pairs follows from sums over single levels. Nothing is n x n.

use crate::criterion::{Direction, Problem};
use crate::dense::{self, View};
use crate::error::Error;
use crate::factor::Factor;
use crate::term::TermShape;
use rayon::prelude::*;

/// Components per task; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 512;

/// First-order quantities, cheap at any size.
#[derive(Debug, Clone)]
pub struct Moments {
    /// The profiled criterion.
    pub criterion: f64,
    /// Penalised residual sum of squares.
    pub r2: f64,
    /// `sum_j Z_j'P Z_j` of each term, k x k, the user's columns.
    pub zpz: Vec<Vec<f64>>,
    /// `sum_j (Z_j'e)(Z_j'e)'` of each term.
    pub scores: Vec<Vec<f64>>,
    /// `e'V_i P V_j e` with P of REML type, T x T.
    pub quadratic: Vec<f64>,
    /// `X'H^-1 V_i H^-1 X`, T matrices p x p, in the working basis of X.
    pub xvx: Vec<f64>,
    /// `X'H^-1 X` in the working basis: a covariate far from zero keeps its digits there.
    pub xhx: Vec<f64>,
    /// Its inverse: the covariance of beta~ over sigma^2.
    pub phi: Vec<f64>,
}

/// Exact traces, from dense components.
#[derive(Debug, Clone)]
pub struct Traces {
    /// `tr(P V_i P V_j)`, T x T.
    pub trace: Vec<f64>,
    /// `X'H^-1 V_i H^-1 V_j H^-1 X`, T x T matrices p x p in the working basis; empty unless asked for.
    pub xvvx: Vec<f64>,
}

/// What every step below reads.
struct Setting<'a> {
    problem: &'a Problem,
    factor: &'a Factor,
    /// `Z'H^-1 X~`, q x p row-major.
    r: Vec<f64>,
    /// `R L_x^-T` with `X'H^-1 X = L_x L_x'`, q x p row-major.
    u: Vec<f64>,
    /// Directions over all columns of their grouping factor: factor, k_f x k_f.
    directions: Vec<(usize, Vec<f64>)>,
}

impl Problem {
    /// Moments along `directions` at `theta` (the user's).
    pub fn moments(&self, theta: &[f64], directions: &[Direction], reml: bool) -> Result<Moments, Error> {
        let c = &self.cross;
        let mut factor = Factor::default();
        let criterion = self.evaluate(&self.inner(theta), reml, &mut factor)?;
        let modes = factor.modes(c);
        let zpz = factor.invert(c, reml, false).zpz;
        let scores = self.score_products(&modes);
        let by_term = |blocks: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let own = |t: &TermShape| {
                let (k, o, kf) = (t.structure.k, t.offset, c.factor_k[t.factor]);
                let at = |l: usize| blocks[t.factor][(o + l % k) + (o + l / k) * kf];
                TermShape::congruent(&(0..k * k).map(at).collect::<Vec<f64>>(), &t.forth, k)
            };
            c.terms.iter().map(own).collect()
        };
        let (quadratic, _) = self.quadratics(&self.standardised(directions), &factor, &modes);
        let s = self.setting(&factor, directions);
        let p = c.p;
        let mut xvx = Vec::with_capacity(directions.len() * p * p);
        for (f, d) in &s.directions {
            let mut sum = vec![0.0; p * p];
            for e in &c.node_of[*f] {
                s.add_sandwich(*e as usize, d, &mut sum);
            }
            xvx.extend(sum);
        }
        Ok(Moments {
            criterion,
            r2: factor.r2,
            zpz: by_term(&zpz),
            scores: by_term(&scores),
            quadratic,
            xvx,
            xhx: factor.reduced(c).0,
            phi: factor.fixed_covariance(c),
        })
    }

    /// Exact traces along `directions`; with `full` also the products of two directions between X.
    ///
    /// Returns `None` when more than `largest` random effects are connected: they would be one dense matrix.
    pub fn traces(
        &self,
        theta: &[f64],
        directions: &[Direction],
        reml: bool,
        full: bool,
        largest: usize,
    ) -> Result<Option<Traces>, Error> {
        let c = &self.cross;
        let components = self.components();
        let size = |nodes: &Vec<u32>| nodes.iter().map(|e| c.k(*e as usize)).sum::<usize>();
        if components.iter().map(size).max().unwrap_or(0) > largest {
            return Ok(None);
        }
        let mut factor = Factor::default();
        self.evaluate(&self.inner(theta), reml, &mut factor)?;
        let s = self.setting(&factor, directions);
        // Both sums in one vector: the tensors, then the products.
        let length = s.pair_size() + s.product_size(full);
        let one = |chunk: &[Vec<u32>]| -> Result<Vec<f64>, Error> {
            let mut sums = vec![0.0; length];
            let (pairs, products) = sums.split_at_mut(s.pair_size());
            for nodes in chunk {
                s.add_component(nodes, reml, full, pairs, products)?;
            }
            Ok(sums)
        };
        let parts: Vec<Result<Vec<f64>, Error>> = components.par_chunks(CHUNK).map(one).collect();
        let mut pairs = vec![0.0; length];
        for part in parts {
            pairs.iter_mut().zip(part?).for_each(|(s, v)| *s += v);
        }
        let products = pairs.split_off(s.pair_size());
        if reml {
            s.add_low_rank(&mut pairs);
        }
        let trace = s.contract(&pairs);
        Ok(Some(Traces { trace, xvvx: products }))
    }

    /// Directions in the standardised columns, k x k of each.
    fn standardised(&self, directions: &[Direction]) -> Vec<Direction> {
        let turn = |(t, d): &Direction| {
            let term = &self.cross.terms[*t];
            let k = term.structure.k;
            (*t, TermShape::congruent(d, &dense::transpose(&term.forth, k), k))
        };
        directions.iter().map(turn).collect()
    }

    fn setting<'a>(&'a self, factor: &'a Factor, directions: &[Direction]) -> Setting<'a> {
        let c = &self.cross;
        let (p, q) = (c.p, c.n_random());
        let mut r = vec![0.0; q * p];
        for j in 0..p {
            for (i, v) in factor.pulled(c, j).into_iter().enumerate() {
                r[i * p + j] = v;
            }
        }
        // Rows of R times L_x^-T: one forward solution for every random effect.
        let mut u = r.clone();
        factor.solve_fixed(c, &mut u);
        let embed = |d: &Direction| (c.terms[d.0].factor, self.embed(d));
        let directions = self.standardised(directions).iter().map(embed).collect();
        Setting { problem: self, factor, r, u, directions }
    }

    /// Levels that are connected through rows, as sets of nodes.
    fn components(&self) -> Vec<Vec<u32>> {
        let c = &self.cross;
        let mut parent: Vec<u32> = (0..c.n_nodes() as u32).collect();
        fn root(parent: &mut [u32], mut e: u32) -> u32 {
            while parent[e as usize] != e {
                parent[e as usize] = parent[parent[e as usize] as usize];
                e = parent[e as usize];
            }
            e
        }
        for e in 0..c.n_nodes() {
            for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
                let (a, b) = (root(&mut parent, e as u32), root(&mut parent, c.nbr[l]));
                parent[a.max(b) as usize] = a.min(b);
            }
        }
        let mut sets: Vec<Vec<u32>> = vec![Vec::new(); c.n_nodes()];
        for e in 0..c.n_nodes() as u32 {
            sets[root(&mut parent, e) as usize].push(e);
        }
        sets.retain(|nodes| !nodes.is_empty());
        sets
    }
}

impl Setting<'_> {
    /// `out += R_e'D R_e`.
    fn add_sandwich(&self, e: usize, d: &[f64], out: &mut [f64]) {
        let c = &self.problem.cross;
        let (k, p) = (c.k(e), c.p);
        let r = &self.r[c.q[e] * p..c.q[e + 1] * p];
        for a in 0..k {
            for b in 0..k {
                let weight = d[a + b * k];
                if weight == 0.0 {
                    continue;
                }
                for j in 0..p {
                    let v = weight * r[b * p + j];
                    for i in 0..p {
                        out[i + j * p] += r[a * p + i] * v;
                    }
                }
            }
        }
    }

    /// Numbers of the tensors `sum_ab Q_ab[i, l] Q_ab[j, m]`, one k_f^2 x k_g^2 block for each pair of factors.
    fn pair_size(&self) -> usize {
        let squares: usize = self.problem.cross.factor_k.iter().map(|k| k * k).sum();
        squares * squares
    }

    fn product_size(&self, full: bool) -> usize {
        let (t, p) = (self.directions.len(), self.problem.cross.p);
        if full { t * t * p * p } else { 0 }
    }

    /// First row of a factor's k^2 in the tensors, and their order.
    fn squares(&self) -> (Vec<usize>, usize) {
        let mut at = Vec::new();
        let mut sum = 0;
        for k in &self.problem.cross.factor_k {
            at.push(sum);
            sum += k * k;
        }
        (at, sum)
    }

    /// A component's share of the tensors (what C takes from pairs within it included) and of `R'D_i B D_j R`.
    fn add_component(
        &self,
        nodes: &[u32],
        reml: bool,
        full: bool,
        pairs: &mut [f64],
        products: &mut [f64],
    ) -> Result<(), Error> {
        let c = &self.problem.cross;
        let p = c.p;
        let mut first = Vec::with_capacity(nodes.len());
        let mut m = 0;
        for &e in nodes {
            first.push(m);
            m += c.k(e as usize);
        }
        let b = self.component_b(nodes, &first, m)?;
        let mut low = vec![0.0; if reml { m * m } else { 0 }];
        if reml {
            // C = U U' within the component.
            let rows: Vec<f64> = nodes
                .iter()
                .flat_map(|&e| &self.u[c.q[e as usize] * p..c.q[e as usize + 1] * p])
                .copied()
                .collect();
            let columns = transposed(&rows, p, m);
            let view = View(&columns, m, p, m);
            dense::multiply_add(&mut low, m, view, view, true, 1.0);
        }
        let (at, order) = self.squares();
        for (ia, &ea) in nodes.iter().enumerate() {
            let (fa, ka) = (c.factor_of[ea as usize] as usize, c.k(ea as usize));
            for (ib, &eb) in nodes.iter().enumerate() {
                let (fb, kb) = (c.factor_of[eb as usize] as usize, c.k(eb as usize));
                for l in 0..kb {
                    for mm in 0..kb {
                        let (cl, cm) = ((first[ib] + l) * m + first[ia], (first[ib] + mm) * m + first[ia]);
                        let column = (at[fb] + l + mm * kb) * order + at[fa];
                        for i in 0..ka {
                            for j in 0..ka {
                                let (x, y) = (b[cl + i], b[cm + j]);
                                let taken = if reml { x * low[cm + j] + low[cl + i] * y } else { 0.0 };
                                pairs[column + i + j * ka] += x * y - taken;
                            }
                        }
                    }
                }
            }
        }
        if full && p > 0 {
            self.add_products(nodes, &first, m, &b, products);
        }
        Ok(())
    }

    /// `Z'H^-1 Z` of a component: `A - (L^-1 Lambda'A)'(L^-1 Lambda'A)` with `L L' = Lambda'A Lambda + I`.
    fn component_b(&self, nodes: &[u32], first: &[usize], m: usize) -> Result<Vec<f64>, Error> {
        let c = &self.problem.cross;
        let mut a = vec![0.0; m * m];
        for (i, &e) in nodes.iter().enumerate() {
            let e = e as usize;
            let k = c.k(e);
            let width = (c.val_ptr[e + 1] - c.val_ptr[e]) / k;
            for y in 0..k {
                for x in 0..k {
                    a[(first[i] + x) + (first[i] + y) * m] = c.diag[c.d[e] + x + y * k];
                }
            }
            for l in c.nbr_ptr[e]..c.nbr_ptr[e + 1] {
                let at = nodes.binary_search(&c.nbr[l]).unwrap_or(0);
                for y in 0..c.k(c.nbr[l] as usize) {
                    for x in 0..k {
                        let v = c.val[c.val_ptr[e] + x * width + c.col[l] as usize + y];
                        a[(first[i] + x) + (first[at] + y) * m] = v;
                        a[(first[at] + y) + (first[i] + x) * m] = v;
                    }
                }
            }
        }
        // Y = Lambda'A, then D = Y Lambda + I.
        let mut y = a.clone();
        let mut d = vec![0.0; m * m];
        for (i, &e) in nodes.iter().enumerate() {
            let k = c.k(e as usize);
            let lambda = &self.factor.scales[c.factor_of[e as usize] as usize].lambda;
            for column in y.chunks_exact_mut(m) {
                let block = &mut column[first[i]..first[i] + k];
                for x in 0..k {
                    block[x] = (x..k).map(|l| lambda[l + x * k] * block[l]).sum();
                }
            }
        }
        for (i, &e) in nodes.iter().enumerate() {
            let k = c.k(e as usize);
            let lambda = &self.factor.scales[c.factor_of[e as usize] as usize].lambda;
            for x in 0..k {
                let to = (first[i] + x) * m;
                for l in x..k {
                    let (weight, from) = (lambda[l + x * k], (first[i] + l) * m);
                    for r in 0..m {
                        d[to + r] += weight * y[from + r];
                    }
                }
                d[to + first[i] + x] += 1.0;
            }
        }
        dense::cholesky(&mut d, m, m)?;
        dense::solve_lower(&d, m, m, &mut y, m);
        drop(d);
        let rows = transposed(&y, m, m);
        drop(y);
        dense::subtract_gram(&mut a, m, m, &rows, m);
        dense::mirror(&mut a, m);
        Ok(a)
    }

    /// Adds `(D_i R)'B (D_j R)`.
    fn add_products(&self, nodes: &[u32], first: &[usize], m: usize, b: &[f64], products: &mut [f64]) {
        let c = &self.problem.cross;
        let (p, n_dir) = (c.p, self.directions.len());
        // All D_i R side by side, m x (T p).
        let mut g = vec![0.0; m * p * n_dir];
        for (t, (f, d)) in self.directions.iter().enumerate() {
            for (i, &e) in nodes.iter().enumerate() {
                let e = e as usize;
                if c.factor_of[e] as usize != *f {
                    continue;
                }
                let k = c.k(e);
                for j in 0..p {
                    for x in 0..k {
                        g[(t * p + j) * m + first[i] + x] =
                            (0..k).map(|l| d[x + l * k] * self.r[(c.q[e] + l) * p + j]).sum();
                    }
                }
            }
        }
        let wide = p * n_dir;
        let mut bg = vec![0.0; m * wide];
        dense::multiply_add(&mut bg, m, View(b, m, m, m), View(&g, m, wide, m), false, 1.0);
        let rows = transposed(&g, m, wide);
        let mut form = vec![0.0; wide * wide];
        dense::multiply_add(&mut form, wide, View(&rows, wide, m, wide), View(&bg, m, wide, m), false, 1.0);
        for s in 0..n_dir {
            for t in 0..n_dir {
                for j in 0..p {
                    for i in 0..p {
                        products[(s * n_dir + t) * p * p + i + j * p] +=
                            form[(s * p + i) + (t * p + j) * wide];
                    }
                }
            }
        }
    }

    /// `sum_ab C_ab[i, l] C_ab[j, m]` over all pairs of levels, connected or not.
    fn add_low_rank(&self, pairs: &mut [f64]) {
        let c = &self.problem.cross;
        let p = c.p;
        let (at, order) = self.squares();
        // sum over the levels of a factor of U_a[i, s] U_a[j, t]
        let mut sums = vec![0.0; order * p * p];
        for e in 0..c.n_nodes() {
            let (f, k) = (c.factor_of[e] as usize, c.k(e));
            let u = &self.u[c.q[e] * p..c.q[e + 1] * p];
            for j in 0..k {
                for i in 0..k {
                    let to = &mut sums[(at[f] + i + j * k) * p * p..][..p * p];
                    for t in 0..p {
                        for s in 0..p {
                            to[s + t * p] += u[i * p + s] * u[j * p + t];
                        }
                    }
                }
            }
        }
        for column in 0..order {
            for row in 0..order {
                let (x, y) =
                    (&sums[row * p * p..(row + 1) * p * p], &sums[column * p * p..(column + 1) * p * p]);
                pairs[column * order + row] += x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            }
        }
    }

    /// `tr(P V_s P V_t)` from the tensors.
    fn contract(&self, pairs: &[f64]) -> Vec<f64> {
        let c = &self.problem.cross;
        let (at, order) = self.squares();
        let n_dir = self.directions.len();
        let mut out = vec![0.0; n_dir * n_dir];
        for (s, (f, left)) in self.directions.iter().enumerate() {
            for (t, (g, right)) in self.directions.iter().enumerate() {
                let (kf, kg) = (c.factor_k[*f], c.factor_k[*g]);
                let mut sum = 0.0;
                for (lm, weight) in right.iter().enumerate().take(kg * kg) {
                    for (ij, own) in left.iter().enumerate().take(kf * kf) {
                        sum += weight * own * pairs[(at[*g] + lm) * order + at[*f] + ij];
                    }
                }
                out[s + t * n_dir] = sum;
            }
        }
        out
    }
}

/// Row-major from column-major, rows x columns.
fn transposed(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * columns];
    const TILE: usize = 32;
    for j0 in (0..columns).step_by(TILE) {
        for i0 in (0..rows).step_by(TILE) {
            for j in j0..(j0 + TILE).min(columns) {
                for i in i0..(i0 + TILE).min(rows) {
                    out[i * columns + j] = a[i + j * rows];
                }
            }
        }
    }
    out
}
