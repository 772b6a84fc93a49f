//! Many fits at once: many responses of one design, or many selections of the rows of one table.
//!
//! Of the cross-products `A = [Z X y]'W[Z X y]` a new response changes only the column of y. A [`Batch`] keeps the
//! standardised columns, so a replicate costs one pass over the rows for that column and a search that starts where it
//! is likely to end. Fits run side by side, each on its own copy of A; what a fit computes does not depend on which thread
//! computes it, nor on how many there are.

use crate::basis::{BATCH, Basis, Batch as Part, CHUNK, dot, sum_chunks};
use crate::criterion::Problem;
use crate::cross::Rows;
use crate::dense;
use crate::error::Error;
use crate::factor::Factor;
use crate::newton::Options;
use crate::structure::Scaling;
use crate::term::{Term, merge};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Singular values of lambda below this share of the largest are zeros.
const SINGULAR: f64 = 1e-7;

/// The same where the boundary is a correlation, which is only ever approached.
const SINGULAR_RHO: f64 = 1e-3;

/// One fit of many: what is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Fixed effects of all columns that were given; NaN for those not estimable.
    pub beta: Vec<f64>,
    /// Their covariance, column-major.
    pub vcov: Vec<f64>,
    /// theta in the user's columns.
    pub theta: Vec<f64>,
    /// Residual standard deviation.
    pub sigma: f64,
    /// Criterion at theta.
    pub criterion: f64,
    /// Evaluations of the search.
    pub evaluations: usize,
    /// Did the search end because nothing is left to gain?
    pub converged: bool,
    /// Is the covariance of some term singular?
    pub singular: bool,
}

/// A design whose responses vary.
#[derive(Debug, Clone)]
pub struct Batch {
    problem: Problem,
    n: usize,
    /// X~, n x p column-major.
    x: Vec<f64>,
    weights: Option<Vec<f64>>,
    /// Is the first column all ones, so that a constant is subtracted from y?
    centred: bool,
    /// One a grouping factor: weighted Z~ (n rows of k), and where in `xy` each row's products with y begin.
    factors: Vec<(usize, Vec<f64>, Vec<usize>)>,
}

/// A selection of rows, with repetitions if wanted, and the levels that its rows belong to.
#[derive(Debug, Clone)]
pub struct Subset<'a> {
    /// Positions among all rows.
    pub rows: &'a [i64],
    /// For each term the level of each selected row.
    pub codes: Vec<&'a [i32]>,
    /// For each term its number of levels.
    pub n_levels: Vec<usize>,
}

impl Batch {
    /// Prepares the columns of `rows`; its response is only an example.
    pub fn new(rows: &Rows<'_>) -> Result<Batch, Error> {
        let problem = Problem::new(rows)?;
        let (n, w) = (rows.y.len(), rows.weights);
        let (given, _) = merge(&rows.terms, w, n)?;
        let basis = Basis::fit(&rows.x, w, n, Scaling::Triangular);
        let (kept, p) = (basis.select(&rows.x), basis.k());
        let mut x = vec![0.0; n * p];
        by_batches(n, p, |part, values| basis.apply(&kept, part, values), |i, j, v| x[i + j * n] = v);
        let c = &problem.cross;
        let px = p + 1;
        let factors = given
            .iter()
            .enumerate()
            .map(|(f, factor)| {
                let k = factor.k;
                let mut z = vec![0.0; n * k];
                by_batches(n, k, |part, values| factor.apply(part, values), |i, a, v| z[i * k + a] = v);
                if let Some(w) = w {
                    // Twice the root, as the sums over rows do it: the same rounding.
                    z.chunks_exact_mut(k.max(1)).zip(w).for_each(|(row, w)| {
                        row.iter_mut().for_each(|v| *v = *v * w.sqrt() * w.sqrt());
                    });
                }
                let first = |code: &i32| c.q[c.node_of[f][*code as usize] as usize] * px + p;
                (k, z, factor.codes.iter().map(first).collect())
            })
            .collect();
        let centred = rows.x.first().is_some_and(Option::is_none);
        Ok(Batch { problem, n, x, weights: w.map(<[f64]>::to_vec), centred, factors })
    }

    /// Rows.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The problem of the example's response.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Fits each of the responses (n values each, one after the other); with `search` off at the theta of the options.
    #[must_use]
    pub fn fit(&self, responses: &[f64], options: &Options, search: bool) -> Vec<Result<Fit, Error>> {
        let count = responses.len() / self.n;
        let state = || (self.problem.clone(), vec![0.0; self.n], vec![0.0; self.n]);
        side_by_side(count, state, |(problem, y, weighted), r| {
            self.fill(problem, &responses[r * self.n..(r + 1) * self.n], y, weighted)?;
            one(problem, options, search)
        })
    }

    /// Replaces the response's part of the cross-products, digit for digit as if they had been summed anew.
    fn fill(
        &self,
        problem: &mut Problem,
        response: &[f64],
        y: &mut [f64],
        weighted: &mut [f64],
    ) -> Result<(), Error> {
        let c = &mut problem.cross;
        let (n, p, px) = (self.n, c.p, c.p + 1);
        let y0 = if self.centred { response[0] } else { 0.0 };
        let gamma = {
            y.iter_mut().zip(response).for_each(|(s, v)| *s = v - y0);
            let sums = self.products(y, weighted, p);
            (0..p).map(|j| sums[j] / c.xx[j + j * px]).collect::<Vec<f64>>()
        };
        for (column, gamma) in self.x.chunks_exact(n).zip(&gamma) {
            if *gamma != 0.0 {
                y.iter_mut().zip(column).for_each(|(s, v)| *s -= gamma * v);
            }
        }
        let sums = self.products(y, weighted, p);
        if sums.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { what: "the cross-product of X and y".into() });
        }
        for (j, v) in sums.into_iter().enumerate() {
            c.xx[j + p * px] = v;
            c.xx[p + j * px] = v;
        }
        (c.fixed.gamma, c.fixed.y0) = (gamma, y0);
        c.xy.iter_mut().skip(p).step_by(px).for_each(|v| *v = 0.0);
        for (k, z, first) in &self.factors {
            for ((row, at), y) in z.chunks_exact(*k).zip(first).zip(&*y) {
                for (a, v) in row.iter().enumerate() {
                    c.xy[at + a * px] += v * y;
                }
            }
        }
        let (rows, width) = (c.q[c.n_leading.min(c.n_nodes())], c.n_tail() + px);
        if let Some(dense) = &mut c.dense {
            for r in 0..rows {
                dense[(r + 1) * width - 1] = c.xy[(r + 1) * px - 1];
            }
        }
        problem.check(response, self.weights.as_deref())
    }

    /// `[X~ y]'W y`.
    fn products(&self, y: &[f64], weighted: &mut [f64], p: usize) -> Vec<f64> {
        let n = self.n;
        let weighted: &[f64] = match &self.weights {
            Some(w) => {
                weighted.iter_mut().zip(y).zip(w).for_each(|((s, y), w)| *s = y * w);
                weighted
            }
            None => y,
        };
        sum_chunks(n.div_ceil(CHUNK), p + 1, |chunk| {
            let mut sums = vec![0.0; p + 1];
            let end = ((chunk + 1) * CHUNK).min(n);
            for from in (chunk * CHUNK..end).step_by(BATCH) {
                let part = from..end.min(from + BATCH);
                for (sum, column) in sums.iter_mut().zip(self.x.chunks_exact(n).chain([y])) {
                    *sum += dot(&column[part.clone()], &weighted[part.clone()]);
                }
            }
            sums
        })
    }
}

/// Fits each selection of the rows. Levels, and even columns of X, may be missing from a selection.
#[must_use]
pub fn fit_subsets(
    rows: &Rows<'_>,
    subsets: &[Subset<'_>],
    options: &Options,
    search: bool,
) -> Vec<Result<Fit, Error>> {
    side_by_side(subsets.len(), || (), |(), r| gathered(rows, &subsets[r], options, search))
}

fn gathered(rows: &Rows<'_>, subset: &Subset<'_>, options: &Options, search: bool) -> Result<Fit, Error> {
    let (n, m) = (rows.y.len(), subset.rows.len());
    if let Some(bad) = subset.rows.iter().find(|i| **i < 0 || **i as usize >= n) {
        let what = "a row of a selection".into();
        return Err(Error::Shape { what, expected: n, found: usize::try_from(*bad).unwrap_or(usize::MAX) });
    }
    for (what, found) in [("codes", subset.codes.len()), ("levels", subset.n_levels.len())] {
        if found != rows.terms.len() {
            let what = format!("{what} of a selection");
            return Err(Error::Shape { what, expected: rows.terms.len(), found });
        }
    }
    if m == 0 {
        return Err(Error::NoDegreesOfFreedom { n: 0, p: rows.x.len() });
    }
    let pick = |values: &[f64]| -> Vec<f64> { subset.rows.iter().map(|i| values[*i as usize]).collect() };
    let pick_all = |columns: &[Option<&[f64]>]| -> Vec<Option<Vec<f64>>> {
        columns.iter().map(|c| c.map(pick)).collect()
    };
    let y = pick(rows.y);
    let weights = rows.weights.map(pick);
    let x = pick_all(&rows.x);
    let z: Vec<_> = rows.terms.iter().map(|t| pick_all(&t.columns)).collect();
    let terms = rows
        .terms
        .iter()
        .enumerate()
        .map(|(t, term)| Term {
            codes: subset.codes[t],
            n_levels: subset.n_levels[t],
            columns: z[t].iter().map(Option::as_deref).collect(),
            structure: term.structure,
        })
        .collect();
    let x = x.iter().map(Option::as_deref).collect();
    let problem = Problem::new(&Rows { y: &y, x, terms, weights: weights.as_deref() })?;
    one(&problem, options, search)
}

/// Searches from the options' start (or stays there), solves, keeps what is asked for.
fn one(problem: &Problem, options: &Options, search: bool) -> Result<Fit, Error> {
    let c = &problem.cross;
    let given = c.fixed.given;
    let fixed = options.start.clone().filter(|_| !search);
    let (theta, criterion, evaluations, converged) = match fixed {
        Some(theta) => {
            let f = problem.evaluate(&problem.inner(&theta), options.reml, &mut Factor::default())?;
            (theta, f, 1, true)
        }
        None => {
            let o = problem.optimize(options)?;
            (o.theta, o.criterion, o.evaluations, o.converged)
        }
    };
    let solution = problem.solve(&theta, options.reml, false)?;
    let (p, kept) = (c.p, &c.fixed.kept);
    let mut beta = vec![f64::NAN; given];
    let mut vcov = vec![f64::NAN; given * given];
    for j in 0..p {
        beta[kept[j]] = solution.beta[j];
        for i in 0..p {
            vcov[kept[i] + kept[j] * given] = solution.sigma2 * solution.vcov[i + j * p];
        }
    }
    let singular = singular(problem, &problem.inner(&theta));
    Ok(Fit { beta, vcov, theta, sigma: solution.sigma2.sqrt(), criterion, evaluations, converged, singular })
}

/// Whether some term's covariance has no full rank, in standardised columns.
fn singular(problem: &Problem, inner: &[f64]) -> bool {
    problem.split(inner).any(|(term, theta)| {
        let (s, k) = (&term.structure, term.structure.k);
        let lambda = s.lambda(theta);
        let (values, _) = dense::eigen(&dense::square(&lambda, &dense::transpose(&lambda, k), k), k);
        let limit = if s.rho_index().is_some() { SINGULAR_RHO } else { SINGULAR };
        values[0] <= limit * limit * values[k - 1]
    })
}

/// Standardised columns of all rows, value by value.
pub(crate) fn by_batches(
    n: usize,
    k: usize,
    apply: impl Fn(Part<'_>, &mut [f64]),
    mut put: impl FnMut(usize, usize, f64),
) {
    let mut values = vec![0.0; k * BATCH];
    for from in (0..n).step_by(BATCH) {
        let m = BATCH.min(n - from);
        apply(Part::Range(from, m), &mut values[..k * m]);
        for j in 0..k {
            (0..m).for_each(|i| put(from + i, j, values[i + j * m]));
        }
    }
}

/// Runs `count` tasks in native threads; each thread has a state of its own that tasks overwrite.
fn side_by_side<S, T: Send>(
    count: usize,
    state: impl Fn() -> S + Sync,
    task: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = |_| {
        let (mut own, mut done) = (None, Vec::new());
        loop {
            let r = next.fetch_add(1, Ordering::Relaxed);
            if r >= count {
                return done;
            }
            done.push((r, task(own.get_or_insert_with(&state), r)));
        }
    };
    let workers = rayon::current_num_threads().min(count);
    let parts: Vec<Vec<(usize, T)>> = (0..workers).into_par_iter().with_max_len(1).map(work).collect();
    let mut all: Vec<(usize, T)> = parts.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(r, _)| *r);
    all.into_iter().map(|(_, fit)| fit).collect()
}
