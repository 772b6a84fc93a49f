//! Distributions of the response and links: a log-likelihood is written once, over numbers that carry derivatives.
//!
//! Each row has a linear predictor eta and up to three auxiliary ones. All constants are kept. Weights multiply the log-likelihood;
//! for binomial and beta-binomial rows y is a proportion and the weight the number of trials.
//!
//! | family | auxiliary predictors | variance |
//! |---|---|---|
//! | gaussian | log variance | sigma^2 |
//! | gamma, inverse_gaussian | log phi | phi mu^2, phi mu^3 |
//! | binomial, poisson | - | mu (1 - mu), mu |
//! | betabinomial, beta | log precision s | mu (1 - mu) / (1 + s) for beta |
//! | nbinom2, nbinom1 | log size, log phi | mu + mu^2 / size, mu (1 + phi) |
//! | tweedie | log phi, logit(power - 1) | phi mu^power |
//! | t | log scale, log df | |
//! | truncated_poisson, truncated_nbinom1, truncated_nbinom2 | as without truncation | of the untruncated |
//! | cumulative | upper and lower threshold | |
//!
//! With zero inflation, or as a hurdle, the last auxiliary predictor is the logit of the probability of an extra zero, or of a zero.

use crate::jet::{Jet2, Jet3, Scalar};
use crate::kernels::{binomial_logit, poisson_log};
use crate::special;
use rayon::prelude::*;

/// Auxiliary predictors at most.
pub const MAX_AUX: usize = 3;

/// Rows per task; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 4096;

/// Up to this count `Gamma(y + s) / Gamma(s)` is a product.
const FEW: f64 = 40.0;

/// More terms than that a Tweedie sum does not need; where its peak is out of reach it is not defined.
const MOST_TERMS: usize = 2000;

/// From here on Stirling's series is exact to rounding.
const STIRLING: f64 = 60.0;

/// Distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Gaussian,
    Gamma,
    InverseGaussian,
    Binomial,
    BetaBinomial,
    Poisson,
    NegativeBinomial1,
    NegativeBinomial2,
    Beta,
    Tweedie,
    Student,
    TruncatedPoisson,
    TruncatedNegativeBinomial1,
    TruncatedNegativeBinomial2,
    Cumulative,
}

/// eta as a function of the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Link {
    Identity,
    Log,
    Inverse,
    Sqrt,
    InverseSquared,
    Logit,
    Probit,
    Cloglog,
    Loglog,
    Cauchit,
}

/// What happens at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Zero {
    None,
    Inflated,
    Hurdle,
}

/// A distribution, a link, and what happens at zero.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Family {
    pub kind: Kind,
    pub link: Link,
    pub zero: Zero,
}

/// Log-likelihood of a row and its derivatives in eta.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Second {
    pub value: f64,
    pub d1: f64,
    pub d2: f64,
}

/// As [`Second`], with a third derivative, and the derivatives of the first three in each auxiliary predictor.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Full {
    pub value: f64,
    pub d1: f64,
    pub d2: f64,
    pub d3: f64,
    pub a: [f64; 3],
    pub a1: [f64; 3],
    pub a2: [f64; 3],
}

impl Family {
    /// From names; an empty link is the usual one.
    #[must_use]
    pub fn parse(family: &str, link: &str, zero: &str) -> Option<Family> {
        use Kind::{
            Beta, BetaBinomial, Binomial, Cumulative, Gamma, Gaussian, InverseGaussian, NegativeBinomial1,
            NegativeBinomial2, Poisson, Student, TruncatedNegativeBinomial1, TruncatedNegativeBinomial2,
            TruncatedPoisson, Tweedie,
        };
        let (kind, usual) = match family {
            "gaussian" => (Gaussian, Link::Identity),
            "gamma" => (Gamma, Link::Inverse),
            "inverse_gaussian" => (InverseGaussian, Link::InverseSquared),
            "binomial" => (Binomial, Link::Logit),
            "betabinomial" => (BetaBinomial, Link::Logit),
            "poisson" => (Poisson, Link::Log),
            "nbinom1" => (NegativeBinomial1, Link::Log),
            "nbinom2" => (NegativeBinomial2, Link::Log),
            "beta" => (Beta, Link::Logit),
            "tweedie" => (Tweedie, Link::Log),
            "t" => (Student, Link::Identity),
            "truncated_poisson" => (TruncatedPoisson, Link::Log),
            "truncated_nbinom1" => (TruncatedNegativeBinomial1, Link::Log),
            "truncated_nbinom2" => (TruncatedNegativeBinomial2, Link::Log),
            "cumulative" => (Cumulative, Link::Logit),
            _ => return None,
        };
        let link = match link {
            "" => usual,
            "identity" => Link::Identity,
            "log" => Link::Log,
            "inverse" => Link::Inverse,
            "sqrt" => Link::Sqrt,
            "inverse_squared" => Link::InverseSquared,
            "logit" => Link::Logit,
            "probit" => Link::Probit,
            "cloglog" => Link::Cloglog,
            "loglog" => Link::Loglog,
            "cauchit" => Link::Cauchit,
            _ => return None,
        };
        let zero = match zero {
            "" => Zero::None,
            "inflated" => Zero::Inflated,
            "hurdle" => Zero::Hurdle,
            _ => return None,
        };
        Some(Family { kind, link, zero })
    }

    /// Auxiliary predictors, that of zeros included.
    #[must_use]
    pub fn n_aux(&self) -> usize {
        let own = match self.kind {
            Kind::Binomial | Kind::Poisson | Kind::TruncatedPoisson => 0,
            Kind::Tweedie | Kind::Student | Kind::Cumulative => 2,
            _ => 1,
        };
        own + usize::from(self.zero != Zero::None)
    }

    /// Log-likelihood of a row and two derivatives in eta.
    #[must_use]
    pub fn second(&self, y: f64, weight: f64, eta: f64, aux: &[f64]) -> Second {
        match (self.kind, self.link, self.zero) {
            (Kind::Binomial, Link::Logit, Zero::None) => {
                let [soft, mu, v, _] = special::log1p_exp(eta);
                let value = weight * (y * eta - soft) + ln_choose(weight, y);
                Second { value, d1: weight * (y - mu), d2: -weight * v }
            }
            (Kind::Poisson, Link::Log, Zero::None) => {
                let mu = eta.exp();
                let value = weight * (y * eta - mu - libm::lgamma(y + 1.0));
                Second { value, d1: weight * (y - mu), d2: -weight * mu }
            }
            _ => {
                let mut numbers = [Jet2::default(); MAX_AUX];
                numbers.iter_mut().zip(aux).for_each(|(n, v)| *n = Jet2::constant(*v));
                let j = self.log_likelihood(y, weight, Jet2 { v: eta, d1: 1.0, d2: 0.0 }, numbers);
                Second { value: j.v, d1: j.d1, d2: j.d2 }
            }
        }
    }

    /// Log-likelihood of a row with all derivatives.
    #[must_use]
    pub fn full(&self, y: f64, weight: f64, eta: f64, aux: &[f64]) -> Full {
        match (self.kind, self.link, self.zero) {
            (Kind::Binomial, Link::Logit, Zero::None) => {
                let s = self.second(y, weight, eta, aux);
                let d3 = -weight * special::log1p_exp(eta)[3];
                Full { value: s.value, d1: s.d1, d2: s.d2, d3, ..Full::default() }
            }
            (Kind::Poisson, Link::Log, Zero::None) => {
                let s = self.second(y, weight, eta, aux);
                Full { value: s.value, d1: s.d1, d2: s.d2, d3: s.d2, ..Full::default() }
            }
            _ => {
                let mut numbers = [Jet3::default(); MAX_AUX];
                for (k, v) in aux.iter().enumerate() {
                    numbers[k] = if v.is_finite() { Jet3::aux(k, *v) } else { Jet3::constant(*v) };
                }
                let j = self.log_likelihood(y, weight, Jet3::eta(eta), numbers);
                let column = |i: usize| [j.a[0][i], j.a[1][i], j.a[2][i]];
                Full {
                    value: j.d[0],
                    d1: j.d[1],
                    d2: j.d[2],
                    d3: j.d[3],
                    a: column(0),
                    a1: column(1),
                    a2: column(2),
                }
            }
        }
    }

    /// [`Family::second`] of many rows.
    pub fn second_rows(
        &self,
        y: &[f64],
        weight: Option<&[f64]>,
        eta: &[f64],
        aux: &[&[f64]],
        out: &mut [Second],
    ) {
        self.rows(y, weight, eta, aux, out, |f, y, w, eta, aux| f.second(y, w, eta, aux));
    }

    /// Sum of the log-likelihoods of many rows less their [`Family::constant`]s, with the derivatives of each row.
    ///
    /// For the two families that are used most the values of single rows are not computed, only their sum.
    pub fn kernel_rows(
        &self,
        y: &[f64],
        weight: Option<&[f64]>,
        eta: &[f64],
        aux: &[&[f64]],
        out: &mut [Second],
    ) -> f64 {
        let chunk = |(c, out): (usize, &mut [Second])| -> f64 {
            let part = c * CHUNK..c * CHUNK + out.len();
            let (y, eta) = (&y[part.clone()], &eta[part.clone()]);
            let own = weight.map(|w| &w[part.clone()]);
            match (self.kind, self.link, self.zero) {
                (Kind::Binomial, Link::Logit, Zero::None) => binomial_logit(y, own, eta, out),
                (Kind::Poisson, Link::Log, Zero::None) => poisson_log(y, own, eta, out),
                _ => {
                    let aux: Vec<&[f64]> = aux.iter().map(|a| &a[part.clone()]).collect();
                    let mut at = [0.0; MAX_AUX];
                    let mut sum = 0.0;
                    for (i, out) in out.iter_mut().enumerate() {
                        at.iter_mut().zip(&aux).for_each(|(v, column)| *v = column[i]);
                        let w = own.map_or(1.0, |w| w[i]);
                        *out = if w == 0.0 {
                            Second::default()
                        } else {
                            self.second(y[i], w, eta[i], &at[..aux.len()])
                        };
                        sum += out.value;
                    }
                    sum
                }
            }
        };
        if y.len() > CHUNK {
            out.par_chunks_mut(CHUNK).enumerate().map(chunk).collect::<Vec<f64>>().iter().sum()
        } else {
            chunk((0, out))
        }
    }

    /// What [`Family::kernel_rows`] leaves out: terms without parameters.
    #[must_use]
    pub fn constant(&self, y: &[f64], weight: Option<&[f64]>) -> f64 {
        let one = |i: usize| {
            let w = weight.map_or(1.0, |w| w[i]);
            match (self.kind, self.link, self.zero) {
                _ if w == 0.0 => 0.0,
                (Kind::Binomial, Link::Logit, Zero::None) => ln_choose(w, y[i]),
                (Kind::Poisson, Link::Log, Zero::None) => -w * libm::lgamma(y[i] + 1.0),
                _ => 0.0,
            }
        };
        (0..y.len()).map(one).sum()
    }

    /// [`Family::full`] of many rows, from their first two derivatives where these tell the third; the values of single rows
    /// are then left out.
    pub fn extended_rows(
        &self,
        y: &[f64],
        weight: Option<&[f64]>,
        eta: &[f64],
        aux: &[&[f64]],
        known: &[Second],
        out: &mut [Full],
    ) {
        let third = |i: usize| -> f64 {
            let w = weight.map_or(1.0, |w| w[i]);
            match (self.kind, w) {
                (_, 0.0) => 0.0,
                (Kind::Poisson, _) => known[i].d2,
                // 1 - 2 mu from d1 = w (y - mu)
                (_, w) => known[i].d2 * (1.0 - 2.0 * (y[i] - known[i].d1 / w)),
            }
        };
        match (self.kind, self.link, self.zero) {
            (Kind::Binomial, Link::Logit, Zero::None) | (Kind::Poisson, Link::Log, Zero::None) => {
                for (i, out) in out.iter_mut().enumerate() {
                    let (d1, d2) = (known[i].d1, known[i].d2);
                    *out = Full { d1, d2, d3: third(i), ..Full::default() };
                }
            }
            _ => self.full_rows(y, weight, eta, aux, out),
        }
    }

    /// [`Family::full`] of many rows.
    pub fn full_rows(
        &self,
        y: &[f64],
        weight: Option<&[f64]>,
        eta: &[f64],
        aux: &[&[f64]],
        out: &mut [Full],
    ) {
        self.rows(y, weight, eta, aux, out, |f, y, w, eta, aux| f.full(y, w, eta, aux));
    }

    fn rows<T: Send + Default>(
        &self,
        y: &[f64],
        weight: Option<&[f64]>,
        eta: &[f64],
        aux: &[&[f64]],
        out: &mut [T],
        one: impl Fn(&Family, f64, f64, f64, &[f64]) -> T + Sync,
    ) {
        let chunk = |(c, out): (usize, &mut [T])| {
            let mut own = [0.0; MAX_AUX];
            for (r, out) in out.iter_mut().enumerate() {
                let i = c * CHUNK + r;
                own.iter_mut().zip(aux).for_each(|(v, column)| *v = column[i]);
                let w = weight.map_or(1.0, |w| w[i]);
                *out = if w == 0.0 { T::default() } else { one(self, y[i], w, eta[i], &own[..aux.len()]) };
            }
        };
        if y.len() > CHUNK {
            out.par_chunks_mut(CHUNK).enumerate().for_each(chunk);
        } else {
            chunk((0, out));
        }
    }

    /// The log-likelihood of a row over any kind of number; NaN where the mean is out of range.
    fn log_likelihood<S: Scalar>(&self, y: f64, weight: f64, eta: S, aux: [S; MAX_AUX]) -> S {
        let z = match self.n_aux() {
            0 => S::constant(0.0),
            n => aux[n - 1],
        };
        match self.zero {
            Zero::None => self.density(y, weight, eta, aux),
            // log pi = -log(1 + e^-z), log(1 - pi) = -log(1 + e^z)
            Zero::Inflated if y == 0.0 => {
                let (extra, base) = (-(-z).log1p_exp(), -z.log1p_exp() + self.density(0.0, 1.0, eta, aux));
                (extra + (base - extra).log1p_exp()).scale(weight)
            }
            Zero::Hurdle if y == 0.0 => (-(-z).log1p_exp()).scale(weight),
            Zero::Inflated | Zero::Hurdle => self.density(y, weight, eta, aux) - z.log1p_exp().scale(weight),
        }
    }

    fn density<S: Scalar>(&self, y: f64, weight: f64, eta: S, aux: [S; MAX_AUX]) -> S {
        let own = match self.kind {
            Kind::Binomial => {
                let (p, q) = self.log_shares(eta);
                return p.scale(weight * y) + q.scale(weight * (1.0 - y)).shift(ln_choose(weight, y));
            }
            Kind::BetaBinomial => {
                let (p, q) = self.log_shares(eta);
                let (a, b) = ((p + aux[0]).exp(), (q + aux[0]).exp());
                let (hits, misses) = (weight * y, weight * (1.0 - y));
                return rising(a, hits) + rising(b, misses)
                    - rising(aux[0].exp(), weight).shift(-ln_choose(weight, y));
            }
            Kind::Gaussian => {
                let r = self.mean(eta).shift(-y);
                -(aux[0].shift((2.0 * std::f64::consts::PI).ln()) + r.square() * (-aux[0]).exp()).scale(0.5)
            }
            Kind::Student => {
                let (r, df) = (self.mean(eta).shift(-y) * (-aux[0]).exp(), aux[1].exp());
                rising(df.scale(0.5), 0.5)
                    - aux[1].shift(std::f64::consts::PI.ln()).scale(0.5)
                    - aux[0]
                    - df.shift(1.0).scale(0.5) * (r.square() * (-aux[1]).exp()).ln_1p()
            }
            Kind::Gamma => {
                let (log_mu, shape) = (self.log_mean(eta), (-aux[0]).exp());
                let share = (-log_mu).exp().scale(y) + log_mu.shift(-y.ln()) + aux[0];
                -(shape * share).shift(y.ln()) - shape.ln_gamma()
            }
            Kind::InverseGaussian => {
                let (log_mu, mu) = (self.log_mean(eta), self.mean(eta));
                let r = mu.shift(-y).square() * (log_mu.scale(-2.0) - aux[0]).exp();
                -(aux[0].shift((2.0 * std::f64::consts::PI).ln() + 3.0 * y.ln()) + r.scale(1.0 / y))
                    .scale(0.5)
            }
            Kind::Poisson => self.poisson(y, eta),
            Kind::TruncatedPoisson => self.poisson(y, eta) - (-self.mean(eta)).log1m_exp(),
            Kind::NegativeBinomial2 => self.nbinom2(y, eta, aux[0]),
            Kind::TruncatedNegativeBinomial2 => {
                self.nbinom2(y, eta, aux[0]) - self.nbinom2(0.0, eta, aux[0]).log1m_exp()
            }
            Kind::NegativeBinomial1 => self.nbinom1(y, eta, aux[0]),
            Kind::TruncatedNegativeBinomial1 => {
                self.nbinom1(y, eta, aux[0]) - self.nbinom1(0.0, eta, aux[0]).log1m_exp()
            }
            Kind::Beta => {
                let (p, q) = self.log_shares(eta);
                let (a, b) = ((p + aux[0]).exp(), (q + aux[0]).exp());
                aux[0].exp().ln_gamma() - a.ln_gamma() - b.ln_gamma()
                    + a.shift(-1.0).scale(y.ln())
                    + b.shift(-1.0).scale((-y).ln_1p())
            }
            Kind::Tweedie => self.tweedie(y, eta, aux),
            Kind::Cumulative => self.cumulative(eta, aux),
        };
        own.scale(weight)
    }

    fn poisson<S: Scalar>(&self, y: f64, eta: S) -> S {
        let mean = self.mean(eta);
        if mean.value() < 0.0 {
            return S::constant(f64::NAN);
        }
        let without = -mean.shift(libm::lgamma(y + 1.0));
        if y == 0.0 { without } else { without + self.log_mean(eta).scale(y) }
    }

    fn nbinom2<S: Scalar>(&self, y: f64, eta: S, log_size: S) -> S {
        let (size, ratio) = (log_size.exp(), self.log_mean(eta) - log_size);
        rising(size, y).shift(-libm::lgamma(y + 1.0)) + ratio.scale(y) - size.shift(y) * ratio.log1p_exp()
    }

    fn nbinom1<S: Scalar>(&self, y: f64, eta: S, log_phi: S) -> S {
        let (size, log1p) = ((self.log_mean(eta) - log_phi).exp(), log_phi.log1p_exp());
        rising(size, y).shift(-libm::lgamma(y + 1.0)) + (log_phi - log1p).scale(y) - size * log1p
    }

    /// The series of Dunn and Smyth (2005), summed around its largest term.
    fn tweedie<S: Scalar>(&self, y: f64, eta: S, aux: [S; MAX_AUX]) -> S {
        let log_mu = self.log_mean(eta);
        // q = power - 1, r = 2 - power
        let (log_q, log_r) = (-(-aux[1]).log1p_exp(), -aux[1].log1p_exp());
        let (q, r) = (log_q.exp(), log_r.exp());
        let inverse = (-aux[0]).exp();
        let mass = (log_mu * r - log_r).exp() * inverse;
        if y == 0.0 {
            return -mass;
        }
        let kernel = -((-(log_mu * q) - log_q).exp() * inverse).scale(y) - mass;
        // log of term j: j rate - ln j! - ln Gamma(j r / q)
        let ratio = (log_r - log_q).exp();
        let rate = ratio.scale(y.ln()) - ratio * log_q - (ratio.shift(1.0)) * aux[0] - log_r;
        let term = |j: f64| (rate.scale(j) - ratio.scale(j).ln_gamma()).shift(-libm::lgamma(j + 1.0));
        let peak = (y.powf(r.value()) / (aux[0].value().exp() * r.value())).round().clamp(1.0, 1e15);
        // Wide sums need few terms: the trapezoidal rule is exact to rounding at a quarter of a standard deviation.
        let bend = special::ln_gamma(peak + 1.0)[2]
            + ratio.value().powi(2) * special::ln_gamma(peak * ratio.value())[2];
        let stride = (0.25 / bend.sqrt()).floor().max(1.0);
        let top = term(peak);
        let mut sum = S::constant(1.0);
        for side in [-stride, stride] {
            let mut j = peak + side;
            let mut terms = 0;
            while j >= 1.0 {
                let difference = term(j) - top;
                sum = sum + difference.exp();
                if difference.value() < -42.0 {
                    break;
                }
                terms += 1;
                if terms > MOST_TERMS || difference.value().is_nan() {
                    return S::constant(f64::NAN);
                }
                j += side;
            }
        }
        let sum = sum.scale(stride);
        kernel + (top + sum.ln()).shift(-y.ln())
    }

    /// `log(F(upper - eta) - F(lower - eta))`, from the tail where digits are.
    fn cumulative<S: Scalar>(&self, eta: S, aux: [S; MAX_AUX]) -> S {
        let (upper, lower) = (aux[0], aux[1]);
        if upper.value() == f64::INFINITY {
            return self.log_distribution(lower - eta).1;
        }
        let (below, above) = self.log_distribution(upper - eta);
        if lower.value() == f64::NEG_INFINITY {
            return below;
        }
        let (lower_below, lower_above) = self.log_distribution(lower - eta);
        if below.value() < above.value() {
            below + (lower_below - below).log1m_exp()
        } else {
            lower_above + (above - lower_above).log1m_exp()
        }
    }

    /// log F and log(1 - F) of the link's distribution.
    fn log_distribution<S: Scalar>(&self, x: S) -> (S, S) {
        match self.link {
            Link::Probit => (x.ln_phi(), (-x).ln_phi()),
            Link::Cloglog => ((-x.exp()).log1m_exp(), -x.exp()),
            Link::Loglog => (-(-x).exp(), (-(-x).exp()).log1m_exp()),
            Link::Cauchit => {
                let at = |x: S| x.chain(special::cauchy(x.value())).ln();
                (at(x), at(-x))
            }
            Link::Log => (x, x.log1m_exp()),
            Link::Identity => (x.ln(), (-x).shift(1.0).ln()),
            _ => (-(-x).log1p_exp(), -x.log1p_exp()),
        }
    }

    /// log(mu) and log(1 - mu) of a probability.
    fn log_shares<S: Scalar>(&self, eta: S) -> (S, S) {
        self.log_distribution(eta)
    }

    /// log(mu) of a positive mean.
    fn log_mean<S: Scalar>(&self, eta: S) -> S {
        match self.link {
            Link::Log => eta,
            Link::Inverse => -eta.ln(),
            Link::Sqrt => eta.square().ln(),
            Link::InverseSquared => eta.ln().scale(-0.5),
            Link::Identity => eta.ln(),
            _ => self.log_shares(eta).0,
        }
    }

    /// mu.
    fn mean<S: Scalar>(&self, eta: S) -> S {
        match self.link {
            Link::Identity => eta,
            Link::Log => eta.exp(),
            Link::Inverse => eta.recip(),
            Link::Sqrt => eta.square(),
            Link::InverseSquared => self.log_mean(eta).exp(),
            _ => self.log_shares(eta).0.exp(),
        }
    }
}

/// `ln Gamma(s + y) - ln Gamma(s)` for a whole number y: a sum while y is small, which keeps digits for large s.
fn rising<S: Scalar>(s: S, y: f64) -> S {
    if y <= FEW && y.fract().abs() < 1e-9 {
        let mut out = S::constant(0.0);
        let mut j = 0.0;
        while j < y - 0.5 {
            out = out + s.shift(j).ln();
            j += 1.0;
        }
        return out;
    }
    if s.value() < STIRLING {
        return s.shift(y).ln_gamma() - s.ln_gamma();
    }
    // Stirling's series, without the cancellation of two large numbers.
    let rest = |x: S| {
        let (r, q) = (x.recip(), x.square().recip());
        r.scale(1.0 / 12.0) - r * q * (q.scale(-1.0 / 1260.0).shift(1.0 / 360.0))
    };
    let main = s.ln().scale(y) + s.shift(y - 0.5) * s.recip().scale(y).ln_1p();
    main.shift(-y) + rest(s.shift(y)) - rest(s)
}

/// `ln choose(n, n y)`.
fn ln_choose(n: f64, y: f64) -> f64 {
    if n == 1.0 && (y == 0.0 || y == 1.0) {
        return 0.0;
    }
    let (hits, misses) = (n * y, n * (1.0 - y));
    libm::lgamma(n + 1.0) - libm::lgamma(hits + 1.0) - libm::lgamma(misses + 1.0)
}
