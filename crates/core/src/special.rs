//! Special functions with the derivatives that likelihoods need.

use std::f64::consts::{PI, SQRT_2};

/// `ln sqrt(2 pi)`.
const LN_ROOT_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// Below this argument the normal distribution function is taken from its asymptotic series.
const FAR: f64 = -30.0;

/// From here on the series of the polygamma functions are exact to rounding.
const LARGE: f64 = 14.0;

/// `ln Gamma(x)` and its first three derivatives, x > 0.
#[must_use]
pub fn ln_gamma(x: f64) -> [f64; 4] {
    let (mut d1, mut d2, mut d3) = (0.0, 0.0, 0.0);
    let mut z = x;
    while z < LARGE {
        let r = 1.0 / z;
        d1 -= r;
        d2 += r * r;
        d3 -= 2.0 * r * r * r;
        z += 1.0;
    }
    let (r, s) = (1.0 / z, 1.0 / (z * z));
    d1 += z.ln()
        - 0.5 * r
        - s * (1.0 / 12.0
            - s * (1.0 / 120.0
                - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s * (1.0 / 132.0 - s * 691.0 / 32760.0)))));
    d2 += r
        + 0.5 * s
        + r * s
            * (1.0 / 6.0
                - s * (1.0 / 30.0
                    - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * (5.0 / 66.0 - s * 691.0 / 2730.0)))));
    d3 -= s
        + r * s
        + s * s * (0.5 - s * (1.0 / 6.0 - s * (1.0 / 6.0 - s * (0.3 - s * (5.0 / 6.0 - s * 691.0 / 210.0)))));
    [libm::lgamma(x), d1, d2, d3]
}

/// `ln Phi(x)`, the standard normal distribution function, and its first three derivatives.
#[must_use]
pub fn ln_phi(x: f64) -> [f64; 4] {
    let value = if x > FAR {
        (0.5 * libm::erfc(-x / SQRT_2)).ln()
    } else {
        let s = 1.0 / (x * x);
        let series = s * (1.0 - s * (3.0 - s * (15.0 - s * (105.0 - s * 945.0))));
        -0.5 * x * x - (-x).ln() - LN_ROOT_TWO_PI + (-series).ln_1p()
    };
    let ratio = (-0.5 * x * x - LN_ROOT_TWO_PI - value).exp();
    let slope = -ratio * (x + ratio);
    [value, ratio, slope, -slope * (x + ratio) - ratio * (1.0 + slope)]
}

/// `ln(1 + e^x)` and its first three derivatives.
#[must_use]
pub fn log1p_exp(x: f64) -> [f64; 4] {
    let e = (-x.abs()).exp();
    let small = 1.0 / (1.0 + e);
    let (p, q) = if x >= 0.0 { (small, e * small) } else { (e * small, small) };
    [x.max(0.0) + e.ln_1p(), p, p * q, p * q * (q - p)]
}

/// `ln(1 - e^x)` for x < 0, and its first three derivatives.
#[must_use]
pub fn log1m_exp(x: f64) -> [f64; 4] {
    let value = if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() };
    let w = 1.0 / (-x).exp_m1();
    [value, -w, -w * (1.0 + w), -w * (1.0 + w) * (1.0 + 2.0 * w)]
}

/// The Cauchy distribution function and its first three derivatives.
#[must_use]
pub fn cauchy(x: f64) -> [f64; 4] {
    let d = 1.0 / (1.0 + x * x);
    let f = d / PI;
    [1.0_f64.atan2(-x) / PI, f, -2.0 * x * d * f, (6.0 * x * x - 2.0) * d * d * f]
}
