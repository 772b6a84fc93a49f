//! Linear and generalised linear mixed models: from rows to a certified optimum.
//!
//! ```text
//!   y = X beta + Z b + e      b = Lambda(theta) u      u ~ N(0, sigma^2 I)      e ~ N(0, sigma^2 W^-1)
//! ```
//!
//! | symbol | meaning |
//! |---|---|
//! | Z_t, J_t, k_t | columns of random-effects term t: k_t for each of the J_t levels of its grouping factor |
//! | lambda_t, Sigma_t | k x k lower triangular factor and relative covariance `lambda lambda'` of a level's effects |
//! | M | `Lambda'Z'WZ Lambda + I` |
//! | H | `W^-1 + Z Lambda Lambda'Z'`, the covariance of y over sigma^2 |
//! | P | `H^-1` (ML) or `H^-1 - H^-1 X (X'H^-1 X)^-1 X'H^-1` (REML) |
//! | K | `Lambda M^-1 Lambda'`, the conditional covariance of b over sigma^2 |
//! | r2 | minimum of the penalised residual sum of squares `|y - X beta - Z Lambda u|^2 + |u|^2` |
//!
//! Data go through the modules once, downwards:
//!
//! ```text
//!   term.rs structure.rs    terms of the formula; families of covariance matrices
//!   basis.rs                scale-free columns
//!   ordering.rs cross.rs    elimination order; cross-products A = [Z X y]'W[Z X y] from rows
//!   factor.rs               blocked elimination, Schur complement, selected inverse
//!   criterion.rs            profiled ML/REML criterion, gradient, average-information Hessian
//!   newton.rs               trust-region search, cone certificate
//!   solve.rs                beta, b and their covariances in the user's columns
//!   restrict.rs             the same problem with a coefficient held fixed: profiles
//!   information.rs          derivatives of the covariance of beta, traces: degrees of freedom
//!   batch.rs                many responses of one design, many selections of rows
//! ```
//!
//! Generalised models go another way over the same factor:
//!
//! ```text
//!   family.rs kernels.rs jet.rs special.rs   log-likelihoods, written once over numbers that carry derivatives
//!   laplace/       modes by penalised IRLS, the Laplace approximation and its gradient, BFGS; quadrature
//! ```
//!
//! `dense.rs` is the only module that knows a linear-algebra library. After `cross.rs` linear models do not depend on the number of rows.

#![deny(missing_docs)]

pub mod basis;
pub mod batch;
pub mod criterion;
pub mod cross;
pub mod dense;
pub mod error;
pub mod factor;
pub mod family;
pub mod information;
pub mod jet;
pub mod kernels;
pub mod laplace;
pub mod newton;
pub mod ordering;
pub mod restrict;
pub mod solve;
pub mod special;
pub mod structure;
pub mod term;

pub use batch::{Batch, Fit, Subset, fit_subsets};
pub use criterion::{Direction, Problem};
pub use cross::Rows;
pub use error::Error;
pub use newton::{Optimum, Options};
pub use solve::Solution;
pub use structure::{Kind, Structure};
pub use term::Term;
