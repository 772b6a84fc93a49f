//! How each parameter is searched for: as it is, or through a map that keeps it in its range.

use crate::structure::Structure;

/// How a parameter is searched for: as it is, or through a map that keeps it in its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Coordinate {
    /// Signs do not matter, or any value is allowed.
    Same,
    /// A standard deviation whose sign would matter: `exp`.
    Log,
    /// A correlation between two bounds: `tanh`.
    Bounded(f64, f64),
}

impl Coordinate {
    pub(super) fn free(self, value: f64) -> f64 {
        match self {
            Coordinate::Same => value,
            Coordinate::Log => value.abs().ln(),
            Coordinate::Bounded(lo, hi) => {
                let half = (hi - lo) / 2.0;
                ((value - lo - half) / half).clamp(-0.999_999, 0.999_999).atanh()
            }
        }
    }

    /// Value and its first two derivatives.
    pub(super) fn value(self, z: f64) -> [f64; 3] {
        match self {
            Coordinate::Same => [z, 1.0, 0.0],
            Coordinate::Log => [z.exp(); 3],
            Coordinate::Bounded(lo, hi) => {
                let (half, th) = ((hi - lo) / 2.0, z.tanh());
                let first = half * (1.0 - th * th);
                [lo + half + half * th, first, -2.0 * th * first]
            }
        }
    }
}

pub(super) fn coordinates(s: &Structure) -> Vec<Coordinate> {
    let n = s.n_theta();
    match s.rho_bounds() {
        None => vec![Coordinate::Same; n],
        Some((lo, hi)) => {
            let sd = if s.homogeneous { Coordinate::Same } else { Coordinate::Log };
            let mut all = vec![sd; n - 1];
            all.push(Coordinate::Bounded(lo, hi));
            all
        }
    }
}
