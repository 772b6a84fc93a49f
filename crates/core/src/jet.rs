//! Truncated Taylor arithmetic: a likelihood is written once, its derivatives follow exactly.
//!
//! [`Jet2`] carries a value and two derivatives in eta, which is what a Newton step for the modes needs. [`Jet3`] carries three, and the
//! derivatives of the value and of the first two in each auxiliary predictor, which is what the gradient needs.

use crate::special;
use std::ops::{Add, Mul, Neg, Sub};

/// A number with derivatives.
pub trait Scalar:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    /// A number without derivatives.
    fn constant(v: f64) -> Self;
    /// The value.
    fn value(self) -> f64;
    /// A function of one variable, given its value and first three derivatives here.
    fn chain(self, f: [f64; 4]) -> Self;

    /// Times a number.
    fn scale(self, by: f64) -> Self {
        self * Self::constant(by)
    }
    /// Plus a number.
    fn shift(self, by: f64) -> Self {
        self + Self::constant(by)
    }
    /// Exponential.
    fn exp(self) -> Self {
        let e = self.value().exp();
        self.chain([e, e, e, e])
    }
    /// Natural logarithm; NaN for what is not positive.
    fn ln(self) -> Self {
        let (x, r) = (self.value(), 1.0 / self.value());
        self.chain([if x > 0.0 { x.ln() } else { f64::NAN }, r, -r * r, 2.0 * r * r * r])
    }
    /// `ln(1 + x)`.
    fn ln_1p(self) -> Self {
        let (x, r) = (self.value(), 1.0 / (1.0 + self.value()));
        self.chain([x.ln_1p(), r, -r * r, 2.0 * r * r * r])
    }
    /// One over it.
    fn recip(self) -> Self {
        let r = 1.0 / self.value();
        self.chain([r, -r * r, 2.0 * r * r * r, -6.0 * r * r * r * r])
    }
    /// Square.
    fn square(self) -> Self {
        self * self
    }
    /// `ln Gamma`.
    fn ln_gamma(self) -> Self {
        self.chain(special::ln_gamma(self.value()))
    }
    /// `ln(1 + e^x)`.
    fn log1p_exp(self) -> Self {
        self.chain(special::log1p_exp(self.value()))
    }
    /// `ln(1 - e^x)`.
    fn log1m_exp(self) -> Self {
        self.chain(special::log1m_exp(self.value()))
    }
    /// `ln Phi`.
    fn ln_phi(self) -> Self {
        self.chain(special::ln_phi(self.value()))
    }
}

/// Value and two derivatives in eta.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jet2 {
    /// Value.
    pub v: f64,
    /// First derivative.
    pub d1: f64,
    /// Second derivative.
    pub d2: f64,
}

impl Add for Jet2 {
    type Output = Jet2;
    #[inline]
    fn add(self, o: Jet2) -> Jet2 {
        Jet2 { v: self.v + o.v, d1: self.d1 + o.d1, d2: self.d2 + o.d2 }
    }
}

impl Sub for Jet2 {
    type Output = Jet2;
    #[inline]
    fn sub(self, o: Jet2) -> Jet2 {
        Jet2 { v: self.v - o.v, d1: self.d1 - o.d1, d2: self.d2 - o.d2 }
    }
}

impl Neg for Jet2 {
    type Output = Jet2;
    #[inline]
    fn neg(self) -> Jet2 {
        Jet2 { v: -self.v, d1: -self.d1, d2: -self.d2 }
    }
}

impl Mul for Jet2 {
    type Output = Jet2;
    #[inline]
    fn mul(self, o: Jet2) -> Jet2 {
        Jet2 {
            v: self.v * o.v,
            d1: self.d1 * o.v + self.v * o.d1,
            d2: self.d2 * o.v + 2.0 * self.d1 * o.d1 + self.v * o.d2,
        }
    }
}

impl Scalar for Jet2 {
    #[inline]
    fn constant(v: f64) -> Jet2 {
        Jet2 { v, d1: 0.0, d2: 0.0 }
    }
    #[inline]
    fn value(self) -> f64 {
        self.v
    }
    #[inline]
    fn chain(self, f: [f64; 4]) -> Jet2 {
        Jet2 { v: f[0], d1: f[1] * self.d1, d2: f[2] * self.d1 * self.d1 + f[1] * self.d2 }
    }
}

/// Value, three derivatives in eta, and those of the first three in each auxiliary predictor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jet3 {
    /// Value and derivatives in eta.
    pub d: [f64; 4],
    /// By auxiliary predictor: derivative of the value, of the first and of the second derivative in eta.
    pub a: [[f64; 3]; 3],
}

impl Jet3 {
    /// The linear predictor.
    #[must_use]
    pub fn eta(v: f64) -> Jet3 {
        Jet3 { d: [v, 1.0, 0.0, 0.0], a: [[0.0; 3]; 3] }
    }

    /// Auxiliary predictor `k`.
    #[must_use]
    pub fn aux(k: usize, v: f64) -> Jet3 {
        let mut out = Jet3 { d: [v, 0.0, 0.0, 0.0], a: [[0.0; 3]; 3] };
        out.a[k][0] = 1.0;
        out
    }

    fn zip(self, o: Jet3, f: impl Fn(f64, f64) -> f64) -> Jet3 {
        let mut out = Jet3::default();
        for i in 0..4 {
            out.d[i] = f(self.d[i], o.d[i]);
        }
        for k in 0..3 {
            for i in 0..3 {
                out.a[k][i] = f(self.a[k][i], o.a[k][i]);
            }
        }
        out
    }
}

impl Add for Jet3 {
    type Output = Jet3;
    fn add(self, o: Jet3) -> Jet3 {
        self.zip(o, |x, y| x + y)
    }
}

impl Sub for Jet3 {
    type Output = Jet3;
    fn sub(self, o: Jet3) -> Jet3 {
        self.zip(o, |x, y| x - y)
    }
}

impl Neg for Jet3 {
    type Output = Jet3;
    fn neg(self) -> Jet3 {
        self.zip(self, |x, _| -x)
    }
}

impl Mul for Jet3 {
    type Output = Jet3;
    fn mul(self, o: Jet3) -> Jet3 {
        let (x, y) = (&self.d, &o.d);
        let mut out = Jet3 {
            d: [
                x[0] * y[0],
                x[1] * y[0] + x[0] * y[1],
                x[2] * y[0] + 2.0 * x[1] * y[1] + x[0] * y[2],
                x[3] * y[0] + 3.0 * (x[2] * y[1] + x[1] * y[2]) + x[0] * y[3],
            ],
            a: [[0.0; 3]; 3],
        };
        for k in 0..3 {
            let (p, q) = (&self.a[k], &o.a[k]);
            out.a[k] = [
                p[0] * y[0] + x[0] * q[0],
                p[1] * y[0] + p[0] * y[1] + x[1] * q[0] + x[0] * q[1],
                p[2] * y[0] + 2.0 * p[1] * y[1] + p[0] * y[2] + x[2] * q[0] + 2.0 * x[1] * q[1] + x[0] * q[2],
            ];
        }
        out
    }
}

impl Scalar for Jet3 {
    fn constant(v: f64) -> Jet3 {
        Jet3 { d: [v, 0.0, 0.0, 0.0], a: [[0.0; 3]; 3] }
    }
    fn value(self) -> f64 {
        self.d[0]
    }
    fn chain(self, f: [f64; 4]) -> Jet3 {
        let x = &self.d;
        let mut out = Jet3 {
            d: [
                f[0],
                f[1] * x[1],
                f[2] * x[1] * x[1] + f[1] * x[2],
                f[3] * x[1] * x[1] * x[1] + 3.0 * f[2] * x[1] * x[2] + f[1] * x[3],
            ],
            a: [[0.0; 3]; 3],
        };
        for k in 0..3 {
            let p = &self.a[k];
            out.a[k] = [
                f[1] * p[0],
                f[2] * x[1] * p[0] + f[1] * p[1],
                f[3] * x[1] * x[1] * p[0] + f[2] * (x[2] * p[0] + 2.0 * x[1] * p[1]) + f[1] * p[2],
            ];
        }
        out
    }
}
