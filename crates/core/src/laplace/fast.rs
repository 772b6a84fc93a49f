//! The fast stage: beta together with the modes (penalised least squares), only theta and gamma from the Laplace approximation.
//!
//! `beta^(theta, gamma)` minimises `-2 loglik + |u|^2`, and F is minimised over theta and gamma along it: lme4's `nAGQ = 0`. It is
//! an approximation of the Laplace optimum, close when groups are large.

use super::{Laplace, State};
use crate::error::Error;

/// A promised decrease of F below this is no reason to go on.
const NEGLIGIBLE: f64 = 1e-9;

/// Newton steps for beta, and when the last one counts as none.
const MAX_STEPS: usize = 50;
const STILL: f64 = 1e-14;

/// Steps of the differences in theta and gamma.
const STEP: f64 = 1e-4;

/// Where the fast stage ended.
#[derive(Debug, Clone)]
pub struct Fast {
    /// (theta of standardised columns, beta~, gamma).
    pub psi: Vec<f64>,
    /// F there.
    pub criterion: f64,
    /// Of F in theta and gamma along beta^; of the penalised sum in beta~.
    pub gradient: Vec<f64>,
    /// Its derivatives: of F in theta and gamma, `2 X'H^-1 X` in beta~, zeros between.
    pub hessian: Vec<f64>,
    /// Nothing was left to gain.
    pub converged: bool,
    /// Values of F along beta^.
    pub evaluations: usize,
}

impl Laplace {
    /// Minimises F along beta^, starting from a linear predictor and the gammas; differences do not count as evaluations
    /// of the limit.
    pub fn fast(&self, eta: &[f64], gamma: &[f64], max_evaluations: usize) -> Result<Fast, Error> {
        let (mut psi, _) = self.start(&self.table.sort(eta), gamma)?;
        let (t, p, m) = (self.n_theta(), self.p(), self.n_psi());
        let bounds = self.bounds();
        let free: Vec<usize> = (0..t).chain(t + p..m).collect();
        let mut state = State::default();
        let mut f = self.along(&mut psi, &mut state)?;
        let (mut evaluations, mut values) = (1, 1);
        let (mut slope, mut b) = self.differences(&psi, f, &free, &state, &mut evaluations)?;
        let mut converged = free.is_empty();
        while values < max_evaluations && !converged {
            super::search::positive(&mut b, free.len());
            let (step, promised) = super::search::newton_step(&b, &slope);
            if promised < NEGLIGIBLE {
                converged = true;
                break;
            }
            let mut scale = 1.0;
            let found = loop {
                let mut trial = psi.clone();
                for (i, s) in free.iter().zip(&step) {
                    // Differences must stay inside the limits, too.
                    let (low, high) = (bounds[*i].0 + 40.0 * STEP, bounds[*i].1 - 40.0 * STEP);
                    trial[*i] = (trial[*i] + scale * s).clamp(low, high);
                }
                let mut next = State::from_modes(&state.u);
                (evaluations, values) = (evaluations + 1, values + 1);
                let value = self.along(&mut trial, &mut next).unwrap_or(f64::INFINITY);
                if value <= f {
                    break Some((trial, next, value));
                }
                scale *= 0.4;
                if scale < 1e-6 {
                    break None;
                }
            };
            let Some((trial, next, value)) = found else {
                converged = promised < 1e-6;
                break;
            };
            (psi, state, f) = (trial, next, value);
            (slope, b) = self.differences(&psi, f, &free, &state, &mut evaluations)?;
        }
        let block = self.beta_block(&psi, &state)?;
        let (mut gradient, mut hessian) = (vec![0.0; m], vec![0.0; m * m]);
        let in_beta = self.penalized_slope(&psi, &state);
        for j in 0..p {
            gradient[t + j] = in_beta[j];
            (0..p).for_each(|i| hessian[(t + i) + (t + j) * m] = block[i + j * p]);
        }
        for (j, at) in free.iter().enumerate() {
            gradient[*at] = slope[j];
            free.iter().enumerate().for_each(|(i, row)| hessian[row + at * m] = b[i + j * free.len()]);
        }
        Ok(Fast { psi, criterion: f, gradient, hessian, converged, evaluations })
    }

    /// F at (theta, beta^, gamma); beta~ is searched from the one in psi and replaced by beta^.
    fn along(&self, psi: &mut Vec<f64>, state: &mut State) -> Result<f64, Error> {
        let (t, p) = (self.n_theta(), self.p());
        let mut f = self.evaluate(psi, state)?;
        let penalized = |state: &State| -2.0 * state.parts[0] + state.parts[1];
        for _ in 0..if p > 0 { MAX_STEPS } else { 0 } {
            let slope = self.penalized_slope(psi, state);
            let mut block = self.beta_block(psi, state)?;
            super::search::positive(&mut block, p);
            let (step, promised) = super::search::newton_step(&block, &slope);
            if promised <= STILL * f.abs().max(1.0) {
                break;
            }
            let (before, mut scale) = (penalized(state), 1.0);
            loop {
                let mut trial = psi.clone();
                trial[t..t + p].iter_mut().zip(&step).for_each(|(b, s)| *b += scale * s);
                let mut next = State::from_modes(&state.u);
                let value = self.evaluate(&trial, &mut next);
                if let Ok(value) = value
                    && penalized(&next) <= before + 1e-12 * before.abs()
                {
                    (*psi, *state, f) = (trial, next, value);
                    break;
                }
                scale *= 0.5;
                if scale < 1e-8 {
                    return Ok(f);
                }
            }
        }
        Ok(f)
    }

    /// Derivative of `-2 loglik + |u|^2` in beta~ with u at its mode.
    fn penalized_slope(&self, psi: &[f64], state: &State) -> Vec<f64> {
        let (n, t, p) = (self.table.n, self.n_theta(), self.p());
        let column = |j: usize| &self.table.x[j * n..(j + 1) * n];
        let mut out: Vec<f64> =
            (0..p).map(|j| -2.0 * self.table.sum(|i| column(j)[i] * state.rows[i].d1)).collect();
        if let Some(penalty) = &self.penalty {
            penalty.add_to_beta(self, psi, &mut out);
        }
        debug_assert!(psi.len() >= t + p);
        out
    }

    /// Central differences of F along beta^ in the free parameters: gradient and Hessian.
    fn differences(
        &self,
        psi: &[f64],
        f: f64,
        free: &[usize],
        state: &State,
        evaluations: &mut usize,
    ) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let k = free.len();
        let mut at = |moves: &[(usize, f64)]| -> Result<f64, Error> {
            let mut near = psi.to_vec();
            moves.iter().for_each(|(i, h)| near[free[*i]] += h);
            *evaluations += 1;
            self.along(&mut near, &mut State::from_modes(&state.u))
        };
        // Second differences need longer steps than first ones.
        let long = 30.0 * STEP;
        let (mut slope, mut b) = (vec![0.0; k], vec![0.0; k * k]);
        let mut single = vec![(0.0, 0.0); k];
        for i in 0..k {
            slope[i] = (at(&[(i, STEP)])? - at(&[(i, -STEP)])?) / (2.0 * STEP);
            single[i] = (at(&[(i, long)])?, at(&[(i, -long)])?);
            b[i + i * k] = (single[i].0 - 2.0 * f + single[i].1) / (long * long);
        }
        for i in 0..k {
            for j in 0..i {
                let both = at(&[(i, long), (j, long)])? + at(&[(i, -long), (j, -long)])?;
                let apart = single[i].0 + single[i].1 + single[j].0 + single[j].1;
                let mixed = (both - apart + 2.0 * f) / (2.0 * long * long);
                (b[i + j * k], b[j + i * k]) = (mixed, mixed);
            }
        }
        Ok((slope, b))
    }
}
