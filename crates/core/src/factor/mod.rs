//! The blocked factor: levels are eliminated one by one, what is left is one dense Schur complement (LMM.1).
//!
//! Nothing is multiplied by Lambda beforehand. With `a` and `V` the present diagonal block of a level and its row over
//! later columns (earlier eliminations already subtracted), eliminating the level means
//!
//! ```text
//!   D = lambda'a lambda + I = L L'     W = L^-1 lambda'     P = W'W = (Sigma^-1 + a)^-1
//!   A_rs -= V_r' P V_s                 log|M| += log|D|
//! ```
//!
//! so a singular lambda, or lambda = 0, is an ordinary case: P is then singular, or zero. Going back,
//!
//! ```text
//!   b = P rho                 Z'e = Q rho             rho = y-column minus V b_later,   Q = (I + a Sigma)^-1
//!   K_ee = P + P N P          Z'P Z = Q a - Q N Q'    N = V K_later V'
//! ```
//!
//! where K = Lambda M^-1 Lambda' is the conditional covariance of (b, beta) over sigma^2. The gradient, the conditional
//! variances and the covariance of beta are all read from K. In the dense tail the same quantities come from
//! `S = Lambda'S0 Lambda + I`, the scaled Schur complement of the columns `[tail X y]`.

mod back;
mod eliminate;
mod forward;
mod inverse;
mod quadratic;

use crate::cross::Cross;
use crate::dense;
pub use forward::SparseRow;

/// A tail factor is handled through lambda^-1 while the norm of that stays below this.
const REGULAR: f64 = 1e4;

/// Most columns that one grouping factor can have.
pub const MAX_COLUMNS: usize = 64;

/// Levels of the leading factor per task; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 2048;

/// lambda of one grouping factor with what is derived from it.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Columns per level.
    pub k: usize,
    /// Lower triangular factor.
    pub lambda: Vec<f64>,
    /// `lambda^-1` when it is safe to use in the tail.
    inverse: Option<Vec<f64>>,
    /// `Sigma^-1` when lambda is well conditioned, whatever its size.
    precision: Option<Vec<f64>>,
}

impl Scale {
    /// Prepares `lambda`.
    #[must_use]
    pub fn new(lambda: Vec<f64>, k: usize) -> Scale {
        let norm = |m: &[f64]| m.iter().map(|v| v * v).sum::<f64>().sqrt();
        let inverse = dense::invert_lower(&lambda, k).filter(|i| i.iter().all(|v| v.is_finite()));
        let precision = inverse
            .as_ref()
            .filter(|i| norm(i) * norm(&lambda) < 1e3 * k as f64)
            .map(|i| dense::square(&dense::transpose(i, k), i, k));
        let inverse = inverse.filter(|i| norm(i) < REGULAR);
        Scale { k, lambda, inverse, precision }
    }
}

/// The factor of one lambda; buffers are kept between evaluations.
#[derive(Debug, Clone, Default)]
pub struct Factor {
    /// One a grouping factor.
    pub scales: Vec<Scale>,
    /// W = L^-1 lambda' of each sparse node, row-major.
    w: Vec<f64>,
    /// `W V`, laid out as the cross-products' `val`.
    y: Vec<f64>,
    /// `W V` over `[X y]`.
    yx: Vec<f64>,
    /// Updated rows of the chain's nodes.
    v: Vec<f64>,
    vx: Vec<f64>,
    a: Vec<f64>,
    /// Rows of leading levels times W in the dense form.
    y_dense: Vec<f64>,
    /// Schur complement on `[tail X y]`, lower triangle, unscaled.
    s0: Vec<f64>,
    /// Its scaled Cholesky factor; the last row belongs to y.
    s: Vec<f64>,
    /// `log|M|`.
    pub log_det_m: f64,
    /// `log|X'H^-1 X|`.
    pub log_det_x: f64,
    /// Minimum of the penalised residual sum of squares.
    pub r2: f64,
}

/// The penalised least-squares solution, all in the working basis.
#[derive(Debug, Clone)]
pub struct Modes {
    /// Conditional modes b~ in q-space.
    pub b: Vec<f64>,
    /// Coefficients beta~, to be added to gamma.
    pub beta: Vec<f64>,
    /// `Z'e`.
    pub ze: Vec<f64>,
}

/// Blocks of K = Lambda M^-1 Lambda', the conditional covariance over sigma^2.
#[derive(Debug, Clone, Default)]
pub struct Covariance {
    /// `sum_j Z_j' P Z_j` of each grouping factor, k x k.
    pub zpz: Vec<Vec<f64>>,
    /// Diagonal blocks K_ee of all nodes, when asked for.
    pub blocks: Vec<f64>,
    /// K over `[tail X]` (or the tail alone), full, column-major.
    pub tail: Vec<f64>,
    /// Columns of `tail`.
    pub m: usize,
    /// Rows of K of the chain's nodes over their neighbours, over X, and their diagonal blocks.
    chain: Vec<f64>,
    chain_x: Vec<f64>,
    chain_d: Vec<f64>,
}

/// A node's blocks: what has been summed, or what is left of it when eliminations have touched it.
struct Node<'a> {
    k: usize,
    a: &'a [f64],
    v: &'a [f64],
    vx: &'a [f64],
}

impl<'a> Node<'a> {
    /// The cross-products of node `e`, no elimination subtracted.
    fn original(c: &'a Cross, e: usize) -> Node<'a> {
        let px = c.p + 1;
        Node {
            k: c.k(e),
            a: &c.diag[c.d[e]..c.d[e + 1]],
            v: &c.val[c.val_ptr[e]..c.val_ptr[e + 1]],
            vx: &c.xy[c.q[e] * px..c.q[e + 1] * px],
        }
    }
}

impl Factor {
    /// Node `e` as it is when its turn comes.
    fn node<'a>(&'a self, c: &'a Cross, e: usize) -> Node<'a> {
        if e < c.n_leading || e >= c.n_sparse {
            return Node::original(c, e);
        }
        let (k, px) = (c.k(e), c.p + 1);
        let (v0, x0, d0) = (c.val_ptr[c.n_leading], c.q[c.n_leading] * px, c.d[c.n_leading]);
        Node {
            k,
            a: &self.a[c.d[e] - d0..c.d[e + 1] - d0],
            v: &self.v[c.val_ptr[e] - v0..c.val_ptr[e + 1] - v0],
            vx: &self.vx[c.q[e] * px - x0..c.q[e + 1] * px - x0],
        }
    }
}
