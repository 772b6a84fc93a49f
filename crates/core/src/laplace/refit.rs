//! The same model of many responses: parametric bootstraps, simulation studies.

use super::search::Point;
use super::{Laplace, State};
use crate::error::Error;
use rayon::prelude::*;

/// Where the search for one response ended.
#[derive(Debug, Clone)]
pub struct Refit {
    /// (theta of standardised columns, beta~, gamma).
    pub psi: Vec<f64>,
    /// F there.
    pub criterion: f64,
    /// Nothing was left to gain.
    pub converged: bool,
    /// Evaluations of F.
    pub evaluations: usize,
}

impl Laplace {
    /// Fits responses (n each) side by side, all from psi with the Hessian there: that of the model they are drawn from.
    #[must_use]
    pub fn refit(
        &self,
        responses: &[&[f64]],
        psi: &[f64],
        hessian: &[f64],
        max_evaluations: usize,
    ) -> Vec<Result<Refit, Error>> {
        let one = |y: &&[f64]| {
            let model = self.with_response(y);
            let mut state = State::default();
            let f = model.evaluate(psi, &mut state)?;
            let g = model.gradient(psi, &mut state)?;
            let from = Point { psi: psi.to_vec(), f, g, state };
            let found = model.descend(from, hessian.to_vec(), max_evaluations)?;
            let (criterion, converged) = (found.criterion, found.converged);
            Ok(Refit { psi: found.psi, criterion, converged, evaluations: found.evaluations })
        };
        responses.par_iter().map(one).collect()
    }
}
