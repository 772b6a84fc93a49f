//! The bridge: arrays in, records out, errors mapped. No mathematics here.
//!
//! Rows are borrowed from NumPy while the cross-products are summed; the interpreter lock is released for everything that takes time.

use mixwell_core::{
    Direction, Error, Kind, Optimum, Options, Problem, Rows, Solution, Structure, Term, term::TermShape,
};
use numpy::ndarray::{Array1, Array2, Array3, Array4};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

mod batch;
mod laplace;

/// Errors of the core become `mixwell.errors.MixwellError` with a code of the MW-N section.
fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let fields = PyDict::new(py);
    let (code, set) = match error {
        Error::Shape { .. } => ("MW-N01", fields.set_item("detail", error.to_string())),
        Error::NotFinite { what } => ("MW-N02", fields.set_item("what", what)),
        Error::NotPositiveDefinite { block, .. } => ("MW-N03", fields.set_item("block", block)),
        Error::ZeroResidual => ("MW-N04", Ok(())),
        Error::DependentColumn { term, column } => {
            ("MW-N06", fields.set_item("term", term).and_then(|()| fields.set_item("column", column)))
        }
        Error::NoDegreesOfFreedom { n, p } => {
            ("MW-N05", fields.set_item("n", n).and_then(|()| fields.set_item("p", p)))
        }
    };
    let made = set
        .and_then(|()| py.import("mixwell.errors"))
        .and_then(|m| m.getattr("error"))
        .and_then(|f| f.call((code,), Some(&fields)));
    match made {
        Ok(value) => PyErr::from_value(value),
        Err(_) => PyValueError::new_err(error.to_string()),
    }
}

type Values<'py> = PyReadonlyArray1<'py, f64>;

/// Codes and columns of a term at some rows.
type TermRows<'a> = (&'a [i32], Vec<Option<&'a [f64]>>);

/// First derivatives (term, k x k), and second ones (i, j, k x k).
type Directions = (Vec<(usize, Py<PyAny>)>, Vec<(usize, usize, Py<PyAny>)>);

fn contiguous<'a>(a: &'a Values<'_>, what: &str) -> PyResult<&'a [f64]> {
    a.as_slice().map_err(|_| PyValueError::new_err(format!("{what} must be contiguous")))
}

fn parse_structure(name: &str, homogeneous: bool, k: usize) -> PyResult<Structure> {
    let kind = match name {
        "us" => Kind::Unstructured,
        "diag" => Kind::Diagonal,
        "cs" => Kind::CompoundSymmetry,
        "ar1" => Kind::Ar1,
        _ => {
            return Err(PyValueError::new_err(format!("unknown covariance structure {name:?}")));
        }
    };
    // One column needs no structure but its variance.
    let kind = if k == 1 { Kind::Diagonal } else { kind };
    Ok(Structure { kind, homogeneous: homogeneous && kind != Kind::Unstructured, k })
}

/// A random-effects term: codes, columns (None: all ones), covariance structure.
#[pyclass(frozen, name = "Term", module = "mixwell._core")]
struct PyTerm {
    codes: Py<PyArray1<i32>>,
    n_levels: usize,
    columns: Vec<Option<Py<PyArray1<f64>>>>,
    structure: Structure,
}

#[pymethods]
impl PyTerm {
    #[new]
    fn new(
        codes: Py<PyArray1<i32>>,
        n_levels: usize,
        columns: Vec<Option<Py<PyArray1<f64>>>>,
        structure: &str,
        homogeneous: bool,
    ) -> PyResult<Self> {
        let structure = parse_structure(structure, homogeneous, columns.len())?;
        Ok(PyTerm { codes, n_levels, columns, structure })
    }
}

/// Where the search ended and how it got there.
#[pyclass(frozen, get_all, name = "Optimum", module = "mixwell._core")]
struct PyOptimum {
    theta: Py<PyAny>,
    criterion: f64,
    promised: f64,
    evaluations: usize,
    converged: bool,
    cone: Py<PyList>,
    trace: Py<PyList>,
}

/// What follows from theta. Arrays by term: b (J, k), condvar_unscaled (J, k, k), b_x (J, k, p), lambdas (k, k).
#[pyclass(frozen, get_all, name = "Solution", module = "mixwell._core")]
struct PySolution {
    beta: Py<PyAny>,
    vcov_unscaled: Py<PyAny>,
    b: Py<PyList>,
    condvar_unscaled: Py<PyList>,
    b_x: Py<PyList>,
    lambdas: Py<PyList>,
    r2: f64,
    sigma2: f64,
    logdet_m: f64,
    logdet_x: f64,
    schur: Py<PyAny>,
    schur_y: Py<PyAny>,
}

/// Cross-products of one model and all that follows from them.
#[pyclass(frozen, name = "Problem", module = "mixwell._core")]
struct PyProblem {
    inner: Problem,
}

fn square(py: Python<'_>, values: &[f64], k: usize) -> Py<PyAny> {
    Array2::from_shape_fn((k, k), |(i, j)| values[i + j * k]).into_pyarray(py).into_any().unbind()
}

fn vector(py: Python<'_>, values: &[f64]) -> Py<PyAny> {
    Array1::from(values.to_vec()).into_pyarray(py).into_any().unbind()
}

/// Borrows the arrays of a model for as long as `work` takes.
fn with_rows<R>(
    py: Python<'_>,
    y: &Values<'_>,
    columns: &[Option<Values<'_>>],
    terms: &[PyRef<'_, PyTerm>],
    weights: Option<&Values<'_>>,
    work: impl FnOnce(&Rows<'_>) -> PyResult<R>,
) -> PyResult<R> {
    let x = columns
        .iter()
        .map(|c| c.as_ref().map(|c| contiguous(c, "a column of X")).transpose())
        .collect::<PyResult<Vec<_>>>()?;
    let borrowed: Vec<_> = terms
        .iter()
        .map(|t| {
            let columns =
                t.columns.iter().map(|c| c.as_ref().map(|c| c.bind(py).readonly())).collect::<Vec<_>>();
            (t.codes.bind(py).readonly(), columns)
        })
        .collect();
    let mut built = Vec::with_capacity(terms.len());
    for (term, (codes, columns)) in terms.iter().zip(&borrowed) {
        let codes = codes.as_slice().map_err(|_| PyValueError::new_err("codes must be contiguous"))?;
        let columns = columns
            .iter()
            .map(|c| c.as_ref().map(|c| contiguous(c, "a column of Z")).transpose())
            .collect::<PyResult<Vec<_>>>()?;
        built.push(Term { codes, n_levels: term.n_levels, columns, structure: term.structure });
    }
    let rows = Rows {
        y: contiguous(y, "y")?,
        x,
        terms: built,
        weights: weights.map(|w| contiguous(w, "weights")).transpose()?,
    };
    work(&rows)
}

fn checked_start(py: Python<'_>, theta: &Values<'_>, expected: usize) -> PyResult<Vec<f64>> {
    let theta = contiguous(theta, "theta")?;
    if theta.len() != expected {
        let what = "values of theta".to_string();
        return Err(raise(py, &Error::Shape { what, expected, found: theta.len() }));
    }
    Ok(theta.to_vec())
}

#[pymethods]
impl PyProblem {
    #[new]
    fn new(
        py: Python<'_>,
        y: Values<'_>,
        columns: Vec<Option<Values<'_>>>,
        terms: Vec<PyRef<'_, PyTerm>>,
        weights: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let inner = with_rows(py, &y, &columns, &terms, weights.as_ref(), |rows| {
            py.detach(|| Problem::new(rows)).map_err(|e| raise(py, &e))
        })?;
        Ok(PyProblem { inner })
    }

    #[getter]
    fn n(&self) -> usize {
        self.inner.cross.n
    }

    #[getter]
    fn p(&self) -> usize {
        self.inner.cross.p
    }

    #[getter]
    fn q(&self) -> usize {
        self.inner.cross.n_random()
    }

    #[getter]
    fn n_theta(&self) -> usize {
        self.inner.n_theta()
    }

    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.inner.cross.fixed.kept.clone()
    }

    #[getter]
    fn dropped(&self) -> Vec<usize> {
        let fixed = &self.inner.cross.fixed;
        (0..fixed.given).filter(|j| !fixed.kept.contains(j)).collect()
    }

    /// The working basis of X, p x p: beta = basis (gamma + beta~) but for the intercept's shift.
    #[getter]
    fn basis(&self, py: Python<'_>) -> Py<PyAny> {
        square(py, &self.inner.cross.fixed.back, self.inner.cross.p)
    }

    /// How the levels are eliminated: leading, chain and tail columns, and whether leading rows are dense.
    #[getter]
    fn blocks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let c = &self.inner.cross;
        let d = PyDict::new(py);
        let lead = c.q[c.n_leading.min(c.n_nodes())];
        d.set_item("leading", lead)?;
        d.set_item("chain", c.q[c.n_sparse] - lead)?;
        d.set_item("tail", c.n_tail())?;
        d.set_item("dense", c.dense.is_some())?;
        Ok(d)
    }

    fn gradient(&self, py: Python<'_>, theta: Values<'_>, reml: bool) -> PyResult<Py<PyAny>> {
        Ok(self.derivatives(py, theta, reml)?.0)
    }

    fn criterion(&self, py: Python<'_>, theta: Values<'_>, reml: bool) -> PyResult<f64> {
        let theta = self.checked(py, &theta)?;
        py.detach(|| {
            self.inner.evaluate(&self.inner.inner(&theta), reml, &mut mixwell_core::factor::Factor::default())
        })
        .map_err(|e| raise(py, &e))
    }

    /// Gradient and Hessian (average information plus curvature) at theta.
    fn derivatives(&self, py: Python<'_>, theta: Values<'_>, reml: bool) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let theta = self.checked(py, &theta)?;
        let d = py
            .detach(|| {
                let mut factor = mixwell_core::factor::Factor::default();
                self.inner.evaluate(&self.inner.inner(&theta), reml, &mut factor)?;
                let modes = factor.modes(&self.inner.cross);
                let frames = self.inner.outer_frames();
                Ok(self.inner.derivatives(&theta, &frames, reml, &factor, &modes))
            })
            .map_err(|e: Error| raise(py, &e))?;
        Ok((vector(py, &d.gradient), square(py, &d.hessian, theta.len())))
    }

    fn optimize(
        &self,
        py: Python<'_>,
        reml: bool,
        start: Option<Values<'_>>,
        max_evaluations: usize,
    ) -> PyResult<PyOptimum> {
        let start = start.map(|s| self.checked(py, &s)).transpose()?;
        let options = Options { reml, start, max_evaluations };
        let optimum = py.detach(|| self.inner.optimize(&options)).map_err(|e| raise(py, &e))?;
        self.optimum(py, &optimum)
    }

    /// The problem with a'beta held at a value.
    fn restrict(&self, py: Python<'_>, a: Values<'_>, value: f64) -> PyResult<PyProblem> {
        let (a, expected) = (contiguous(&a, "a")?, self.inner.cross.p);
        if a.len() != expected || a.iter().all(|v| *v == 0.0) {
            let what = "weights of the coefficients".to_string();
            return Err(raise(py, &Error::Shape { what, expected, found: a.len() }));
        }
        Ok(PyProblem { inner: self.inner.restrict(a, value) })
    }

    /// Variance of each row's random part given y and beta, over sigma^2: codes (m,) (-1: none) and columns by term.
    fn conditional_variance(
        &self,
        py: Python<'_>,
        theta: Values<'_>,
        codes: Vec<PyReadonlyArray1<'_, i32>>,
        columns: Vec<Vec<Option<Values<'_>>>>,
    ) -> PyResult<Py<PyAny>> {
        let theta = self.checked(py, &theta)?;
        let terms = &self.inner.cross.terms;
        let n = codes.first().map_or(0, |c| c.len().unwrap_or(0));
        let mut rows = Vec::with_capacity(terms.len());
        for (codes, columns) in codes.iter().zip(&columns) {
            let codes = codes.as_slice().map_err(|_| PyValueError::new_err("codes must be contiguous"))?;
            let columns = columns
                .iter()
                .map(|c| c.as_ref().map(|c| contiguous(c, "a column of Z")).transpose())
                .collect::<PyResult<Vec<_>>>()?;
            rows.push((codes, columns));
        }
        let fits = |(term, (codes, columns)): (&TermShape, &TermRows<'_>)| {
            codes.len() == n
                && columns.len() == term.structure.k
                && columns.iter().flatten().all(|c| c.len() == n)
                && codes.iter().all(|c| *c < term.n_levels as i32)
        };
        if rows.len() != terms.len() || !terms.iter().zip(&rows).all(fits) {
            let what = "rows of random effects".to_string();
            return Err(raise(py, &Error::Shape { what, expected: terms.len(), found: rows.len() }));
        }
        let values =
            py.detach(|| self.inner.conditional_variances(&theta, &rows)).map_err(|e| raise(py, &e))?;
        Ok(vector(py, &values))
    }

    /// Derivatives of each term's covariance in theta: (term, k x k) each, and second ones as (i, j, k x k), i <= j.
    fn directions(&self, py: Python<'_>, theta: Values<'_>) -> PyResult<Directions> {
        let theta = self.checked(py, &theta)?;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (t, (term, own)) in self.inner.split(&theta).enumerate() {
            let (s, k, at) = (&term.structure, term.structure.k, first.len());
            for i in 0..own.len() {
                first.push((t, square(py, &s.d_sigma(own, i), k)));
                for j in i..own.len() {
                    let d = s.dd_sigma(own, i, j);
                    if d.iter().any(|v| *v != 0.0) {
                        second.push((at + i, at + j, square(py, &d, k)));
                    }
                }
            }
        }
        Ok((first, second))
    }

    /// First-order quantities along directions (term, k x k) at theta.
    fn moments<'py>(
        &self,
        py: Python<'py>,
        theta: Values<'py>,
        directions: Vec<(usize, PyReadonlyArray2<'py, f64>)>,
        reml: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let theta = self.checked(py, &theta)?;
        let directions = self.along(py, &directions)?;
        let m = py.detach(|| self.inner.moments(&theta, &directions, reml)).map_err(|e| raise(py, &e))?;
        let (n_dir, p) = (directions.len(), self.inner.cross.p);
        let blocks = |values: &[Vec<f64>]| -> Vec<Py<PyAny>> {
            let k = |t: usize| self.inner.cross.terms[t].structure.k;
            values.iter().enumerate().map(|(t, v)| square(py, v, k(t))).collect()
        };
        let out = PyDict::new(py);
        out.set_item("criterion", m.criterion)?;
        out.set_item("r2", m.r2)?;
        out.set_item("zpz", blocks(&m.zpz))?;
        out.set_item("scores", blocks(&m.scores))?;
        out.set_item("quadratic", square(py, &m.quadratic, n_dir))?;
        let xvx = Array3::from_shape_fn((n_dir, p, p), |(t, i, j)| m.xvx[t * p * p + i + j * p]);
        out.set_item("xvx", xvx.into_pyarray(py))?;
        out.set_item("xhx", square(py, &m.xhx, p))?;
        out.set_item("phi", square(py, &m.phi, p))?;
        Ok(out)
    }

    /// Exact traces tr(P V_i P V_j) and, when full, X'H^-1 V_i H^-1 V_j H^-1 X; None beyond `largest` connected effects.
    fn traces<'py>(
        &self,
        py: Python<'py>,
        theta: Values<'py>,
        directions: Vec<(usize, PyReadonlyArray2<'py, f64>)>,
        reml: bool,
        full: bool,
        largest: usize,
    ) -> PyResult<Option<(Py<PyAny>, Py<PyAny>)>> {
        let theta = self.checked(py, &theta)?;
        let directions = self.along(py, &directions)?;
        let traces = py
            .detach(|| self.inner.traces(&theta, &directions, reml, full, largest))
            .map_err(|e| raise(py, &e))?;
        let (n, p) = (directions.len(), self.inner.cross.p);
        Ok(traces.map(|t| {
            let m = if full { n } else { 0 };
            let at = |(a, b, i, j)| t.xvvx[(a * n + b) * p * p + i + j * p];
            let products = Array4::from_shape_fn((m, m, p, p), at).into_pyarray(py).into_any().unbind();
            (square(py, &t.trace, n), products)
        }))
    }

    fn solve(&self, py: Python<'_>, theta: Values<'_>, reml: bool, full: bool) -> PyResult<PySolution> {
        let theta = self.checked(py, &theta)?;
        let solution = py.detach(|| self.inner.solve(&theta, reml, full)).map_err(|e| raise(py, &e))?;
        self.solution(py, &solution)
    }
}

impl PyProblem {
    fn along(
        &self,
        py: Python<'_>,
        given: &[(usize, PyReadonlyArray2<'_, f64>)],
    ) -> PyResult<Vec<Direction>> {
        let terms = &self.inner.cross.terms;
        let one = |(t, d): &(usize, PyReadonlyArray2<'_, f64>)| {
            let (d, k) = (d.as_array(), terms.get(*t).map_or(0, |term| term.structure.k));
            if d.dim() != (k, k) || k == 0 {
                let what = format!("rows of a direction of term {t}");
                return Err(raise(py, &Error::Shape { what, expected: k, found: d.nrows() }));
            }
            Ok((*t, (0..k * k).map(|l| d[(l % k, l / k)]).collect()))
        };
        given.iter().map(one).collect()
    }

    fn checked(&self, py: Python<'_>, theta: &Values<'_>) -> PyResult<Vec<f64>> {
        checked_start(py, theta, self.inner.n_theta())
    }

    fn optimum(&self, py: Python<'_>, o: &Optimum) -> PyResult<PyOptimum> {
        let cone = PyList::empty(py);
        for (c, term) in o.cone.iter().zip(&self.inner.cross.terms) {
            let k = term.structure.k;
            let item = PyDict::new(py);
            item.set_item("G", square(py, &c.g, k))?;
            item.set_item("lambda", square(py, &c.lambda, k))?;
            item.set_item("scale", c.scale)?;
            item.set_item("stationarity", c.stationarity)?;
            item.set_item("min_eigenvalue", c.min_eigenvalue)?;
            cone.append(item)?;
        }
        let trace = PyList::empty(py);
        for s in &o.trace {
            let item = PyDict::new(py);
            item.set_item("evaluation", s.evaluation)?;
            item.set_item("criterion", s.criterion)?;
            item.set_item("gradient_norm", s.gradient)?;
            item.set_item("radius", s.radius)?;
            item.set_item("predicted", s.predicted)?;
            item.set_item("accepted", s.accepted)?;
            item.set_item("kind", s.kind)?;
            trace.append(item)?;
        }
        Ok(PyOptimum {
            theta: vector(py, &o.theta),
            criterion: o.criterion,
            promised: o.promised,
            evaluations: o.evaluations,
            converged: o.converged,
            cone: cone.unbind(),
            trace: trace.unbind(),
        })
    }

    fn solution(&self, py: Python<'_>, s: &Solution) -> PyResult<PySolution> {
        let (p, terms) = (self.inner.cross.p, &self.inner.cross.terms);
        let (b, condvar, absorbed, lambdas) =
            (PyList::empty(py), PyList::empty(py), PyList::empty(py), PyList::empty(py));
        for (t, term) in terms.iter().enumerate() {
            let (j, k) = (term.n_levels, term.structure.k);
            b.append(Array2::from_shape_fn((j, k), |(l, i)| s.b[t][l * k + i]).into_pyarray(py))?;
            lambdas.append(square(py, &s.lambdas[t], k))?;
            if let Some(v) = s.condvar.get(t) {
                let blocks = Array3::from_shape_fn((j, k, k), |(l, a, c)| v[l * k * k + a + c * k]);
                condvar.append(blocks.into_pyarray(py))?;
            }
            if let Some(v) = s.absorbed.get(t) {
                let columns = Array3::from_shape_fn((j, k, p), |(l, a, c)| v[(l * k + a) * p + c]);
                absorbed.append(columns.into_pyarray(py))?;
            }
        }
        Ok(PySolution {
            beta: vector(py, &s.beta),
            vcov_unscaled: square(py, &s.vcov, p),
            b: b.unbind(),
            condvar_unscaled: condvar.unbind(),
            b_x: absorbed.unbind(),
            lambdas: lambdas.unbind(),
            r2: s.r2,
            sigma2: s.sigma2,
            logdet_m: s.log_det_m,
            logdet_x: s.log_det_x,
            schur: square(py, &s.schur, p),
            schur_y: vector(py, &s.schur_y),
        })
    }
}

/// Version of the compiled core.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::batch::{PyBatch, fit_subsets};
    #[pymodule_export]
    use super::laplace::{PyLaplace, PyLaplaceFit, family_rows};
    #[pymodule_export]
    use super::{PyOptimum, PyProblem, PySolution, PyTerm, version};
}
