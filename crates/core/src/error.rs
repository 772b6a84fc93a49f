//! Every error of the core.
//!
//! | variant | when |
//! |---|---|
//! | [`Error::Shape`] | arrays that should have the same length do not, or a code is out of range |
//! | [`Error::NotFinite`] | a criterion, or a cross-product of the rows, overflowed or is not a number |
//! | [`Error::NotPositiveDefinite`] | a pivot of the blocked factor failed: the cross-products are numerically broken |
//! | [`Error::DependentColumn`] | a random-effects column adds nothing to those before it: its variance is arbitrary |
//! | [`Error::ZeroResidual`] | the penalised residual sum of squares is zero: the response is reproduced exactly |
//! | [`Error::NoDegreesOfFreedom`] | no more observations than estimable coefficients |

use std::fmt;

/// What can go wrong between rows and an optimum.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// `what` has a wrong length or index.
    Shape {
        /// Which argument.
        what: String,
        /// The length or bound that was expected.
        expected: usize,
        /// What was found.
        found: usize,
    },
    /// A quantity is not finite.
    NotFinite {
        /// Which quantity.
        what: String,
    },
    /// A pivot of the factor is not positive.
    NotPositiveDefinite {
        /// Which part of the factor failed.
        block: String,
        /// Index of the failing pivot in that part.
        pivot: usize,
    },
    /// The model reproduces the response exactly.
    ZeroResidual,
    /// A column of a random-effects term is zero, or (unstructured) a combination of earlier ones.
    DependentColumn {
        /// Position of the term.
        term: usize,
        /// Position of the column in the term.
        column: usize,
    },
    /// `n` observations cannot estimate `p` coefficients and a variance.
    NoDegreesOfFreedom {
        /// Observations.
        n: usize,
        /// Estimable coefficients.
        p: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Shape { what, expected, found } => {
                write!(f, "{what}: expected {expected}, found {found}")
            }
            Error::NotFinite { what } => write!(f, "{what} is not finite"),
            Error::NotPositiveDefinite { block, pivot } => {
                write!(f, "{block} is not positive definite at pivot {pivot}")
            }
            Error::DependentColumn { term, column } => {
                write!(f, "column {column} of random-effects term {term} depends on the others")
            }
            Error::ZeroResidual => write!(f, "the residual sum of squares is zero"),
            Error::NoDegreesOfFreedom { n, p } => {
                write!(f, "{n} observations for {p} coefficients")
            }
        }
    }
}

impl std::error::Error for Error {}
