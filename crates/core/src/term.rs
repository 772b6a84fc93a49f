//! A random-effects term as it comes from the formula, and grouping factors as the algebra wants them.
//!
//! Terms that share a grouping factor are merged: `(1 | g) + (0 + x | g)` is one factor with two columns a level and a
//! block diagonal lambda. Factors are then ordered by size; the largest leads the elimination.

use crate::basis::{Basis, Batch, Column};
use crate::dense;
use crate::error::Error;
use crate::factor::MAX_COLUMNS;
use crate::structure::{Kind, Structure};

/// One random-effects term: `n` level codes, k columns, a covariance structure.
#[derive(Debug, Clone)]
pub struct Term<'a> {
    /// Level of each row, `0..n_levels`.
    pub codes: &'a [i32],
    /// Number of levels J.
    pub n_levels: usize,
    /// The k columns.
    pub columns: Vec<Column<'a>>,
    /// Covariance structure of a level's effects.
    pub structure: Structure,
}

/// What is left of a term once its rows have been summed: the structure and the basis it is fitted in.
#[derive(Debug, Clone)]
pub struct TermShape {
    /// Covariance structure.
    pub structure: Structure,
    /// Number of levels.
    pub n_levels: usize,
    /// Which factor holds the term, and at which column.
    pub factor: usize,
    /// First column of the term in its factor.
    pub offset: usize,
    /// `b = back b~`, upper triangular k x k.
    pub back: Vec<f64>,
    /// Its inverse.
    pub forth: Vec<f64>,
}

/// A grouping factor with the columns of all its terms.
#[derive(Debug, Clone)]
pub struct Factor<'a> {
    /// Level of each row.
    pub codes: &'a [i32],
    /// Number of levels.
    pub n_levels: usize,
    /// Columns per level, over all terms.
    pub k: usize,
    /// Per term: its basis and its columns.
    pub parts: Vec<(Basis, Vec<Column<'a>>)>,
}

impl Factor<'_> {
    /// The standardised columns at some rows: `out` is rows x k, column-major.
    pub fn apply(&self, rows: Batch<'_>, out: &mut [f64]) {
        let (mut at, m) = (0, rows.len());
        for (basis, columns) in &self.parts {
            let size = columns.len() * m;
            basis.apply(columns, rows, &mut out[at..at + size]);
            at += size;
        }
    }
}

/// Chooses bases, merges terms by grouping factor, orders factors by their number of random effects.
pub fn merge<'a>(
    terms: &[Term<'a>],
    w: Option<&[f64]>,
    n: usize,
) -> Result<(Vec<Factor<'a>>, Vec<TermShape>), Error> {
    let mut factors: Vec<Factor<'a>> = Vec::new();
    let mut shapes = Vec::with_capacity(terms.len());
    for (t, term) in terms.iter().enumerate() {
        check(t, term, n)?;
        let k = term.columns.len();
        let basis = Basis::fit(&term.columns, w, n, term.structure.scaling());
        if let Some(column) = (0..k).find(|j| !basis.kept.contains(j)) {
            return Err(Error::DependentColumn { term: t, column });
        }
        let back = basis.back();
        let forth = dense::invert_lower(&dense::transpose(&back, k), k)
            .map(|l| dense::transpose(&l, k))
            .ok_or_else(|| Error::NotFinite { what: format!("the scale of random-effects term {t}") })?;
        let same = |f: &Factor<'_>| std::ptr::eq(f.codes, term.codes) || f.codes == term.codes;
        let at = factors.iter().position(same).unwrap_or_else(|| {
            factors.push(Factor { codes: term.codes, n_levels: term.n_levels, k: 0, parts: Vec::new() });
            factors.len() - 1
        });
        let factor = &mut factors[at];
        shapes.push(TermShape {
            structure: term.structure,
            n_levels: term.n_levels,
            factor: at,
            offset: factor.k,
            back,
            forth,
        });
        factor.k += k;
        factor.parts.push((basis, term.columns.clone()));
    }
    if let Some(wide) = factors.iter().find(|f| f.k > MAX_COLUMNS) {
        let what = "random-effects columns of one grouping factor, at most".into();
        return Err(Error::Shape { what, expected: MAX_COLUMNS, found: wide.k });
    }
    let mut order: Vec<usize> = (0..factors.len()).collect();
    order.sort_by_key(|&f| std::cmp::Reverse(factors[f].n_levels * factors[f].k));
    for shape in &mut shapes {
        shape.factor = order.iter().position(|&f| f == shape.factor).unwrap_or(0);
    }
    let factors = order.iter().map(|&f| factors[f].clone()).collect();
    Ok((factors, shapes))
}

fn check(t: usize, term: &Term<'_>, n: usize) -> Result<(), Error> {
    let shape = |what: &str, expected, found| Error::Shape {
        what: format!("random-effects term {t}: {what}"),
        expected,
        found,
    };
    if term.codes.len() != n {
        return Err(shape("codes", n, term.codes.len()));
    }
    if let Some(bad) = term.codes.iter().find(|c| **c < 0 || **c as usize >= term.n_levels) {
        return Err(shape("code", term.n_levels, usize::try_from(*bad).unwrap_or(usize::MAX)));
    }
    if let Some(short) = term.columns.iter().flatten().find(|c| c.len() != n) {
        return Err(shape("column", n, short.len()));
    }
    if term.structure.k != term.columns.len() {
        return Err(shape("columns", term.structure.k, term.columns.len()));
    }
    Ok(())
}

impl TermShape {
    /// lambda in the fitted basis from theta in the user's.
    #[must_use]
    pub fn inner_theta(&self, theta: &[f64]) -> Vec<f64> {
        let k = self.structure.k;
        match self.structure.kind {
            Kind::Unstructured => {
                let lambda = self.structure.lambda(theta);
                self.structure.theta_of(&dense::square(&self.forth, &lambda, k))
            }
            _ => self.rescaled(theta, &self.forth),
        }
    }

    /// theta in the user's columns from theta in the fitted basis.
    #[must_use]
    pub fn outer_theta(&self, theta: &[f64]) -> Vec<f64> {
        let k = self.structure.k;
        match self.structure.kind {
            Kind::Unstructured => {
                let lambda = self.structure.lambda(theta);
                self.structure.theta_of(&dense::square(&self.back, &lambda, k))
            }
            _ => self.structure.rectified(&self.rescaled(theta, &self.back)),
        }
    }

    /// Standard deviations times the diagonal of a change of basis; correlations stay.
    fn rescaled(&self, theta: &[f64], change: &[f64]) -> Vec<f64> {
        let k = self.structure.k;
        let rho = self.structure.rho_index();
        (0..theta.len())
            .map(|t| if Some(t) == rho { theta[t] } else { theta[t] * change[t + t * k] })
            .collect()
    }

    /// `change' G change`, the derivative matrix in another basis.
    #[must_use]
    pub fn congruent(g: &[f64], change: &[f64], k: usize) -> Vec<f64> {
        dense::square(&dense::transpose(change, k), &dense::square(g, change, k), k)
    }
}
