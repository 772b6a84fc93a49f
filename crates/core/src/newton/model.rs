//! The quadratic model of a step, and what the gradients seen teach it.

use crate::criterion::Derivatives;
use crate::dense;
use std::cell::OnceCell;

/// The quadratic model in scaled coordinates.
pub(super) struct Model {
    n: usize,
    scale: Vec<f64>,
    hessian: Vec<f64>,
    gradient: Vec<f64>,
    pub(super) gradient_norm: f64,
    /// The full Newton step and its promise, when the Hessian is safely positive definite.
    newton: Option<(Vec<f64>, f64)>,
    axes: OnceCell<Axes>,
}

/// Eigen-coordinates of the scaled Hessian: only needed when the trust region binds, or curvature is not positive.
struct Axes {
    values: Vec<f64>,
    vectors: Vec<f64>,
    gradient: Vec<f64>,
}

impl Model {
    pub(super) fn new(d: &Derivatives, n: usize) -> Model {
        Model::corrected(d, &vec![0.0; n * n], n)
    }

    pub(super) fn corrected(d: &Derivatives, secant: &[f64], n: usize) -> Model {
        let own = |i: usize| d.information[i + i * n].abs().max(d.hessian[i + i * n].abs());
        let largest = (0..n).map(own).fold(0.0, f64::max);
        let scale: Vec<f64> =
            (0..n).map(|i| own(i).max(1e-12 * largest).max(f64::MIN_POSITIVE).sqrt()).collect();
        let hessian: Vec<f64> = (0..n * n)
            .map(|l| {
                let (i, j) = (l % n, l / n);
                ((d.hessian[i + j * n] + d.hessian[j + i * n]) / 2.0 + secant[i + j * n])
                    / (scale[i] * scale[j])
            })
            .collect();
        let gradient: Vec<f64> = (0..n).map(|i| d.gradient[i] / scale[i]).collect();
        let gradient_norm = norm(&gradient);
        let newton = newton_step(&hessian, &gradient, n);
        Model { n, scale, hessian, gradient, gradient_norm, newton, axes: OnceCell::new() }
    }

    fn axes(&self) -> &Axes {
        self.axes.get_or_init(|| {
            let n = self.n;
            let (values, vectors) = dense::eigen(&self.hessian, n);
            let gradient =
                (0..n).map(|j| (0..n).map(|i| vectors[i + j * n] * self.gradient[i]).sum()).collect();
            // Negative curvature is a direction to go along, flat ones are bounded away from zero.
            let top = values.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            let values = values.iter().map(|v| v.abs().max(1e-10 * top).max(f64::MIN_POSITIVE)).collect();
            Axes { values, vectors, gradient }
        })
    }

    /// Minimiser of the model within `radius`: step, promised decrease, scaled length.
    pub(super) fn step(&self, radius: f64) -> (Vec<f64>, f64, f64) {
        if let Some((z, promised)) = &self.newton {
            let length = norm(z);
            if length <= radius {
                return (z.iter().zip(&self.scale).map(|(z, s)| z / s).collect(), *promised, length);
            }
        }
        let Axes { values, vectors, gradient } = self.axes();
        let length = |mu: f64| -> f64 {
            gradient.iter().zip(values).map(|(g, v)| (g / (v + mu)).powi(2)).sum::<f64>().sqrt()
        };
        let mut mu = 0.0;
        if length(0.0) > radius {
            // The secular function decreases in mu: bisect until the length is the radius.
            let (mut lo, mut hi) = (0.0, self.gradient_norm / radius);
            for _ in 0..200 {
                mu = 0.5 * (lo + hi);
                if length(mu) > radius {
                    lo = mu;
                } else {
                    hi = mu;
                }
                if hi - lo <= 1e-6 * hi {
                    break;
                }
            }
            mu = hi;
        }
        let z: Vec<f64> = gradient.iter().zip(values).map(|(g, v)| -g / (v + mu)).collect();
        let promised =
            -z.iter().zip(gradient).zip(values).map(|((z, g), v)| z * (g + 0.5 * v * z)).sum::<f64>();
        let n = self.n;
        let step =
            (0..n).map(|i| (0..n).map(|j| vectors[i + j * n] * z[j]).sum::<f64>() / self.scale[i]).collect();
        (step, promised, norm(&z))
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `-H^-1 g` and the decrease it promises, or `None` unless all pivots of H are well above zero.
fn newton_step(hessian: &[f64], gradient: &[f64], n: usize) -> Option<(Vec<f64>, f64)> {
    let mut l = hessian.to_vec();
    dense::cholesky(&mut l, n, n).ok()?;
    if (0..n).any(|j| l[j + j * n] < 1e-4) {
        return None;
    }
    let mut z: Vec<f64> = gradient.iter().map(|g| -g).collect();
    dense::solve_lower(&l, n, n, &mut z, 1);
    let promised = 0.5 * z.iter().map(|v| v * v).sum::<f64>();
    dense::solve_lower_transposed(&l, n, n, &mut z);
    Some((z, promised))
}

/// Symmetric rank-one correction of the Hessian from one step: what the gradients say beyond average information.
///
/// Most searches end before it matters. Where average and observed information differ much (few levels, a nearly
/// singular lambda) it turns slow linear convergence into superlinear.
pub(super) fn correct(secant: &mut [f64], old: &Derivatives, new: &Derivatives, step: &[f64]) {
    let n = step.len();
    let r: Vec<f64> = (0..n)
        .map(|i| {
            let expected: f64 = (0..n).map(|j| (new.hessian[i + j * n] + secant[i + j * n]) * step[j]).sum();
            new.gradient[i] - old.gradient[i] - expected
        })
        .collect();
    let scale = |i: usize| new.information[i + i * n].abs().max(f64::MIN_POSITIVE).sqrt();
    let rs: f64 = r.iter().zip(step).map(|(a, b)| a * b).sum();
    let rr: f64 = (0..n).map(|i| (r[i] / scale(i)).powi(2)).sum::<f64>().sqrt();
    let ss: f64 = (0..n).map(|i| (step[i] * scale(i)).powi(2)).sum::<f64>().sqrt();
    if rs.is_finite() && rs.abs() > 1e-3 * rr * ss {
        for j in 0..n {
            for i in 0..n {
                secant[i + j * n] += r[i] * r[j] / rs;
            }
        }
    }
}
