//! Fits side by side are the fits one by one, to the last digit.

use mixwell_core::{Batch, Error, Fit, Kind, Options, Problem, Rows, Structure, Subset, Term, fit_subsets};

/// A reproducible stream of numbers in (-1, 1).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn many(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next()).collect()
    }
}

const FULL: Structure = Structure { kind: Kind::Unstructured, homogeneous: false, k: 2 };
const ONE: Structure = Structure { kind: Kind::Diagonal, homogeneous: false, k: 1 };

/// Two crossed factors, the first with a slope, weights, and an X that is far from standardised.
struct Data {
    x: Vec<f64>,
    weights: Vec<f64>,
    first: Vec<i32>,
    second: Vec<i32>,
    levels: (usize, usize),
}

impl Data {
    fn new(n: usize, levels: (usize, usize), noise: &mut Noise) -> Data {
        Data {
            x: noise.many(n).iter().map(|v| 2000.0 + 10.0 * v).collect(),
            weights: noise.many(n).iter().map(|v| 1.5 + v).collect(),
            first: (0..n).map(|i| (i % levels.0) as i32).collect(),
            second: (0..n).map(|i| (i / levels.0 % levels.1) as i32).collect(),
            levels,
        }
    }

    fn rows<'a>(&'a self, y: &'a [f64], weighted: bool, crossed: bool) -> Rows<'a> {
        let mut terms = vec![Term {
            codes: &self.first,
            n_levels: self.levels.0,
            columns: vec![None, Some(&self.x)],
            structure: FULL,
        }];
        if crossed {
            let (codes, n_levels) = (&self.second[..], self.levels.1);
            terms.push(Term { codes, n_levels, columns: vec![None], structure: ONE });
        }
        Rows { y, x: vec![None, Some(&self.x)], terms, weights: weighted.then_some(&self.weights) }
    }

    fn response(&self, spread: f64, noise: &mut Noise) -> Vec<f64> {
        let (a, b) = (noise.many(self.levels.0), noise.many(self.levels.1));
        let rows = self.first.iter().zip(&self.second).zip(&self.x);
        rows.map(|((i, j), x)| 1e4 + spread * (a[*i as usize] + b[*j as usize]) + 0.1 * x + noise.next())
            .collect()
    }
}

fn alone(rows: &Rows<'_>, options: &Options) -> (Vec<f64>, Vec<f64>, f64, f64) {
    let problem = Problem::new(rows).expect("a problem");
    let o = problem.optimize(options).expect("an optimum");
    let s = problem.solve(&o.theta, options.reml, false).expect("a solution");
    (o.theta, s.beta, s.sigma2.sqrt(), o.criterion)
}

fn same(fit: &Result<Fit, Error>, (theta, beta, sigma, criterion): &(Vec<f64>, Vec<f64>, f64, f64)) {
    let fit = fit.as_ref().expect("a fit");
    assert_eq!((&fit.theta, &fit.beta), (theta, beta));
    assert_eq!((fit.sigma, fit.criterion), (*sigma, *criterion));
    assert!(fit.converged);
}

#[test]
fn responses_side_by_side_are_fits_one_by_one() {
    let mut noise = Noise(1);
    // Sparse, dense and single-factor layouts; more rows than a batch of the sums.
    for (n, levels) in [(300, (30, 5)), (1200, (40, 30)), (5000, (50, 20))] {
        let data = Data::new(n, levels, &mut noise);
        for (weighted, crossed) in [(true, true), (false, true), (true, false), (false, false)] {
            let ys: Vec<Vec<f64>> =
                [0.0, 0.5, 2.0].iter().map(|spread| data.response(*spread, &mut noise)).collect();
            let batch = Batch::new(&data.rows(&ys[0], weighted, crossed)).expect("a batch");
            for start in [None, Some(if crossed { vec![0.5, 0.0, 0.01, 1.0] } else { vec![0.5, 0.0, 0.01] })]
            {
                let options = Options { reml: weighted, start, max_evaluations: 500 };
                let fits = batch.fit(&ys.concat(), &options, true);
                assert_eq!(fits.len(), ys.len());
                for (fit, y) in fits.iter().zip(&ys) {
                    same(fit, &alone(&data.rows(y, weighted, crossed), &options));
                }
            }
        }
    }
}

#[test]
fn without_a_search_theta_stays() {
    let mut noise = Noise(2);
    let data = Data::new(240, (12, 5), &mut noise);
    let y = data.response(1.0, &mut noise);
    let rows = data.rows(&y, true, true);
    let theta = vec![0.5, 0.1, 0.02, 0.7];
    let options = Options { reml: true, start: Some(theta.clone()), max_evaluations: 500 };
    let fit = Batch::new(&rows).expect("a batch").fit(&y, &options, false).remove(0).expect("a fit");
    let solution = Problem::new(&rows).expect("a problem").solve(&theta, true, false).expect("a solution");
    assert_eq!((fit.theta, fit.beta), (theta, solution.beta));
    assert_eq!(fit.vcov, solution.vcov.iter().map(|v| v * solution.sigma2).collect::<Vec<_>>());
}

#[test]
fn a_failing_response_leaves_the_others_alone() {
    let mut noise = Noise(3);
    let data = Data::new(200, (10, 4), &mut noise);
    let y = data.response(1.0, &mut noise);
    let batch = Batch::new(&data.rows(&y, false, false)).expect("a batch");
    let options = Options { reml: true, start: None, max_evaluations: 500 };
    let all = [y.clone(), vec![7.0; 200], vec![f64::NAN; 200], y.clone()].concat();
    let fits = batch.fit(&all, &options, true);
    assert_eq!(fits[0], fits[3]);
    assert!(fits[0].is_ok());
    assert!(matches!(fits[1], Err(Error::NotFinite { .. } | Error::ZeroResidual)));
    assert!(matches!(fits[2], Err(Error::NotFinite { .. })));
}

#[test]
fn selections_are_fits_of_the_selected_rows() {
    let mut noise = Noise(4);
    let data = Data::new(300, (20, 5), &mut noise);
    let y = data.response(1.0, &mut noise);
    let rows = data.rows(&y, true, true);
    let options = Options { reml: true, start: None, max_evaluations: 500 };
    // Levels 0, 0, 3, 7, 9, ... of the first factor: the repeated one becomes two levels.
    let drawn = [0, 0, 3, 7, 9, 12, 13, 13, 15, 18];
    let (mut chosen, mut new) = (Vec::new(), Vec::new());
    for (level, code) in drawn.iter().enumerate() {
        for i in (0..300).filter(|i| data.first[*i] == *code) {
            chosen.push(i as i64);
            new.push(level as i32);
        }
    }
    let pick = |values: &[f64]| -> Vec<f64> { chosen.iter().map(|i| values[*i as usize]).collect() };
    let second: Vec<i32> = chosen.iter().map(|i| data.second[*i as usize]).collect();
    let picked = Data {
        x: pick(&data.x),
        weights: pick(&data.weights),
        first: new.clone(),
        second: second.clone(),
        levels: (drawn.len(), 5),
    };
    let subset = Subset { rows: &chosen, codes: vec![&new, &second], n_levels: vec![drawn.len(), 5] };
    let wrong = Subset { rows: &[300], codes: vec![&[0], &[0]], n_levels: vec![1, 1] };
    let fits = fit_subsets(&rows, &[subset, wrong], &options, true);
    let yp = pick(&y);
    same(&fits[0], &alone(&picked.rows(&yp, true, true), &options));
    assert!(matches!(fits[1], Err(Error::Shape { .. })));
}
