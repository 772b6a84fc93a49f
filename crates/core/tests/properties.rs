//! The core against the textbook: dense V, generalised least squares, finite differences.

use mixwell_core::factor::Factor;
use mixwell_core::{Error, Kind, Options, Problem, Rows, Structure, Term, dense};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Codes, number of levels, columns, structure.
type RandomPart = (Vec<i32>, usize, Vec<Vec<f64>>, Structure);

/// A random design: rows, and which structures its terms have.
#[derive(Debug, Clone)]
struct Design {
    y: Vec<f64>,
    x: Vec<f64>,
    weights: Vec<f64>,
    terms: Vec<RandomPart>,
    theta: Vec<f64>,
}

impl Design {
    fn rows(&self) -> Rows<'_> {
        Rows {
            y: &self.y,
            x: vec![None, Some(&self.x)],
            terms: self
                .terms
                .iter()
                .map(|(codes, n_levels, columns, structure)| Term {
                    codes,
                    n_levels: *n_levels,
                    columns: columns.iter().map(|c| Some(c.as_slice())).collect(),
                    structure: *structure,
                })
                .collect(),
            weights: Some(&self.weights),
        }
    }

    /// V = W^-1 + Z Lambda Lambda'Z', n x n.
    fn covariance(&self, theta: &[f64]) -> Vec<f64> {
        let n = self.y.len();
        let mut v = vec![0.0; n * n];
        (0..n).for_each(|i| v[i + i * n] = 1.0 / self.weights[i]);
        let mut at = 0;
        for (codes, _, columns, s) in &self.terms {
            let lambda = s.lambda(&theta[at..at + s.n_theta()]);
            let sigma = dense::square(&lambda, &dense::transpose(&lambda, s.k), s.k);
            at += s.n_theta();
            for j in 0..n {
                for i in (0..n).filter(|&i| codes[i] == codes[j]) {
                    for b in 0..s.k {
                        for a in 0..s.k {
                            v[i + j * n] += columns[a][i] * sigma[a + b * s.k] * columns[b][j];
                        }
                    }
                }
            }
        }
        v
    }

    /// The criterion from its definition.
    fn dense_criterion(&self, theta: &[f64], reml: bool) -> f64 {
        let n = self.y.len();
        let mut l = self.covariance(theta);
        dense::cholesky(&mut l, n, n).expect("V is positive definite");
        let mut white: Vec<f64> = vec![1.0; n];
        white.extend(&self.x);
        white.extend(&self.y);
        dense::solve_lower(&l, n, n, &mut white, 3);
        let dot = |a: usize, b: usize| -> f64 { (0..n).map(|i| white[i + a * n] * white[i + b * n]).sum() };
        let (s00, s01, s11) = (dot(0, 0), dot(0, 1), dot(1, 1));
        let det = s00 * s11 - s01 * s01;
        let (t0, t1) = (dot(0, 2), dot(1, 2));
        let explained = (s11 * t0 * t0 - 2.0 * s01 * t0 * t1 + s00 * t1 * t1) / det;
        let r2 = dot(2, 2) - explained;
        let nu = if reml { n - 2 } else { n } as f64;
        let log_det = dense::log_det(&l, 0, n, n) + if reml { det.ln() } else { 0.0 };
        log_det + nu * (1.0 + (2.0 * std::f64::consts::PI * r2 / nu).ln())
    }
}

fn value(problem: &Problem, theta: &[f64], reml: bool) -> f64 {
    problem.evaluate(&problem.inner(theta), reml, &mut Factor::default()).expect("criterion")
}

fn structures() -> impl Strategy<Value = Structure> {
    let kinds = prop_oneof![
        Just(Kind::Unstructured),
        Just(Kind::Diagonal),
        Just(Kind::CompoundSymmetry),
        Just(Kind::Ar1)
    ];
    (kinds, any::<bool>(), 1usize..4).prop_map(|(kind, homogeneous, k)| Structure {
        kind: if k == 1 { Kind::Diagonal } else { kind },
        homogeneous: homogeneous && kind != Kind::Unstructured,
        k,
    })
}

/// The next number of a splitmix64 generator, in (-1, 1).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

prop_compose! {
    fn designs()(structures in prop::collection::vec((structures(), 2usize..7), 1..4))(
        n in 30usize..50,
        seed in any::<u64>(),
        weights in prop::collection::vec(0.5f64..2.0, 50),
        structures in Just(structures),
    ) -> Design {
        // Numbers from a seed, not from the strategy: shrinking must not turn data into constants.
        let mut state = seed;
        let mut column = |n: usize| -> Vec<f64> { (0..n).map(|_| uniform(&mut state)).collect() };
        let mut terms = Vec::new();
        let mut theta = Vec::new();
        for (s, levels) in structures {
            let codes: Vec<i32> =
                column(n).iter().enumerate().map(|(i, v)| if i < levels { i as i32 } else { ((v + 1.0) * 500.0) as i32 % levels as i32 }).collect();
            let columns: Vec<Vec<f64>> = (0..s.k).map(|j| if j == 0 { vec![1.0; n] } else { column(n) }).collect();
            let mut own: Vec<f64> = column(s.n_theta());
            if let Some(rho) = s.rho_index() {
                own.iter_mut().for_each(|v| *v = v.abs());
                own[rho] *= 0.4;
            }
            theta.extend(own);
            terms.push((codes, levels, columns, s));
        }
        let (x, y) = (column(n), column(n));
        Design { y, x, weights: weights[..n].to_vec(), terms, theta }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(20), ..ProptestConfig::default() })]

    #[test]
    fn criterion_equals_its_definition(design in designs(), reml in any::<bool>()) {
        let problem = Problem::new(&design.rows()).expect("problem");
        let (ours, dense) = (value(&problem, &design.theta, reml), design.dense_criterion(&design.theta, reml));
        prop_assert!((ours - dense).abs() <= 1e-9 * (1.0 + dense.abs()), "{ours} {dense}");
    }

    #[test]
    fn gradient_equals_finite_differences(design in designs(), reml in any::<bool>()) {
        let problem = Problem::new(&design.rows()).expect("problem");
        let mut factor = Factor::default();
        problem.evaluate(&problem.inner(&design.theta), reml, &mut factor).expect("criterion");
        let modes = factor.modes(&problem.cross);
        let d = problem.derivatives(&design.theta, &problem.outer_frames(), reml, &factor, &modes);
        for i in 0..design.theta.len() {
            let h = 1e-5;
            let shifted = |step: f64| {
                let mut theta = design.theta.clone();
                theta[i] += step;
                design.dense_criterion(&theta, reml)
            };
            // A standard deviation of zero in a structure with correlations has a kink there.
            prop_assume!(design.theta[i].abs() > 1e-3);
            let slope = (shifted(h) - shifted(-h)) / (2.0 * h);
            prop_assert!((d.gradient[i] - slope).abs() < 1e-4 * (1.0 + slope.abs()), "{i}: {} {slope}", d.gradient[i]);
        }
    }

    #[test]
    fn zero_lambda_is_an_ordinary_case(design in designs(), reml in any::<bool>()) {
        let problem = Problem::new(&design.rows()).expect("problem");
        let zero: Vec<f64> = vec![0.0; design.theta.len()];
        let (ours, dense) = (value(&problem, &zero, reml), design.dense_criterion(&zero, reml));
        prop_assert!((ours - dense).abs() <= 1e-9 * (1.0 + dense.abs()));
    }

    #[test]
    fn derivatives_of_every_structure(s in structures(), seed in prop::collection::vec(0.2f64..1.0, 8)) {
        let mut theta = seed[..s.n_theta()].to_vec();
        if let Some(rho) = s.rho_index() {
            theta[rho] *= 0.4;
        }
        let sigma = |theta: &[f64]| {
            let l = s.lambda(theta);
            dense::square(&l, &dense::transpose(&l, s.k), s.k)
        };
        let g: Vec<f64> = (0..s.k * s.k).map(|l| 1.0 / (1.0 + (l % s.k + l / s.k) as f64)).collect();
        let h = 1e-6;
        for i in 0..theta.len() {
            let shift = |step: f64| { let mut t = theta.clone(); t[i] += step; t };
            let (up, down) = (sigma(&shift(h)), sigma(&shift(-h)));
            for (l, d) in s.d_sigma(&theta, i).iter().enumerate() {
                prop_assert!(((up[l] - down[l]) / (2.0 * h) - d).abs() < 1e-6);
            }
            for j in 0..theta.len() {
                let slope = |t: &[f64]| -> f64 { s.d_sigma(t, j).iter().zip(&g).map(|(a, b)| a * b).sum() };
                let numeric = (slope(&shift(h)) - slope(&shift(-h))) / (2.0 * h);
                prop_assert!((numeric - s.curvature(&theta, &g, i, j)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn an_optimum_satisfies_the_cone(design in designs(), reml in any::<bool>()) {
        let problem = Problem::new(&design.rows()).expect("problem");
        let options = Options { reml, start: None, max_evaluations: 500 };
        let optimum = problem.optimize(&options).expect("optimum");
        prop_assert!(optimum.converged, "{} left after {} evaluations", optimum.promised, optimum.evaluations);
        for cone in &optimum.cone {
            prop_assert!(cone.stationarity < 1e-4, "stationarity {}", cone.stationarity);
            prop_assert!(cone.min_eigenvalue > -1e-5, "multiplier {}", cone.min_eigenvalue);
        }
        prop_assert!((value(&problem, &optimum.theta, reml) - optimum.criterion).abs() < 1e-8 * (1.0 + optimum.criterion.abs()));
    }

    #[test]
    fn theta_survives_the_change_of_basis(design in designs()) {
        let problem = Problem::new(&design.rows()).expect("problem");
        let there = problem.outer(&problem.inner(&design.theta));
        let (a, b) = (design.covariance(&design.theta), design.covariance(&there));
        for (x, y) in a.iter().zip(&b) {
            prop_assert!((x - y).abs() < 1e-10 * (1.0 + x.abs()));
        }
    }
}

#[test]
fn balanced_one_way_has_a_closed_form() {
    // 4 groups of 3: REML equals the ANOVA estimators when the group mean square exceeds the residual one.
    let y = [1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 9.0, 8.0, 7.0, 2.0, 1.0, 6.0];
    let codes: Vec<i32> = (0..12).map(|i| i / 3).collect();
    let structure = Structure { kind: Kind::Diagonal, homogeneous: false, k: 1 };
    let term = Term { codes: &codes, n_levels: 4, columns: vec![None], structure };
    let rows = Rows { y: &y, x: vec![None], terms: vec![term], weights: None };
    let problem = Problem::new(&rows).expect("problem");
    let options = Options { reml: true, start: None, max_evaluations: 100 };
    let optimum = problem.optimize(&options).expect("optimum");
    let means: Vec<f64> = y.chunks(3).map(|g| g.iter().sum::<f64>() / 3.0).collect();
    let grand = y.iter().sum::<f64>() / 12.0;
    let within =
        y.chunks(3).zip(&means).flat_map(|(g, m)| g.iter().map(move |v| (v - m).powi(2))).sum::<f64>() / 8.0;
    let between = 3.0 * means.iter().map(|m| (m - grand).powi(2)).sum::<f64>() / 3.0;
    let theta = ((between - within) / 3.0 / within).sqrt();
    // The search ends where nothing is left to gain in f, which is flat: eight digits of theta.
    assert!((optimum.theta[0] - theta).abs() < 1e-8 * theta, "{} {theta}", optimum.theta[0]);
}

#[test]
fn collinear_columns_are_dropped_and_named_by_position() {
    let x: Vec<f64> = (0..10).map(|i| f64::from(i) + 2000.0).collect();
    let twice: Vec<f64> = x.iter().map(|v| 2.0 * v - 7.0).collect();
    let nearly: Vec<f64> =
        x.iter().enumerate().map(|(i, v)| v + 1e-4 * f64::from((i * i) as u32 % 7)).collect();
    let y: Vec<f64> = (0..10).map(|i| f64::from(i * i % 7)).collect();
    let rows =
        Rows { y: &y, x: vec![None, Some(&x), Some(&twice), Some(&nearly)], terms: vec![], weights: None };
    let problem = Problem::new(&rows).expect("problem");
    assert_eq!(problem.cross.fixed.kept, vec![0, 1, 3]);
}

#[test]
fn errors_are_told() {
    let y = [1.0, 2.0, 4.0];
    let exact = Rows { y: &y, x: vec![Some(&y)], terms: vec![], weights: None };
    assert_eq!(Problem::new(&exact).err(), Some(Error::ZeroResidual));
    let x = [1.0, 0.0, 2.0];
    let z = [0.0, 5.0, 1.0];
    let full = Rows { y: &y, x: vec![None, Some(&x), Some(&z)], terms: vec![], weights: None };
    assert_eq!(Problem::new(&full).err(), Some(Error::NoDegreesOfFreedom { n: 3, p: 3 }));
    let codes = [0, 1, 5];
    let structure = Structure { kind: Kind::Diagonal, homogeneous: false, k: 1 };
    let term = Term { codes: &codes, n_levels: 2, columns: vec![None], structure };
    let wild = Rows { y: &y, x: vec![None], terms: vec![term], weights: None };
    assert!(matches!(Problem::new(&wild), Err(Error::Shape { .. })));
}
