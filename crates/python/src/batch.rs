//! Many fits at once: a matrix of responses or a list of selections in, one array per quantity out.

use crate::{PyTerm, Values, checked_start, raise, with_rows};
use mixwell_core::{Batch, Error, Fit, Options, Subset, fit_subsets as core_fit_subsets};
use numpy::ndarray::{Array1, Array2, Array3};
use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A design ready for many responses.
#[pyclass(frozen, name = "Batch", module = "mixwell._core")]
pub struct PyBatch {
    inner: Batch,
}

#[pymethods]
impl PyBatch {
    #[new]
    fn new(
        py: Python<'_>,
        y: Values<'_>,
        columns: Vec<Option<Values<'_>>>,
        terms: Vec<PyRef<'_, PyTerm>>,
        weights: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let inner = with_rows(py, &y, &columns, &terms, weights.as_ref(), |rows| {
            py.detach(|| Batch::new(rows)).map_err(|e| raise(py, &e))
        })?;
        Ok(PyBatch { inner })
    }

    /// Fits every row of `responses`, shape (m, n).
    fn fit<'py>(
        &self,
        py: Python<'py>,
        responses: PyReadonlyArray2<'py, f64>,
        reml: bool,
        start: Option<Values<'_>>,
        max_evaluations: usize,
        search: bool,
        covariance: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let expected = self.inner.n();
        if responses.shape()[1] != expected {
            let what = "values of a response".to_string();
            return Err(raise(py, &Error::Shape { what, expected, found: responses.shape()[1] }));
        }
        // A Fortran-ordered matrix is a slice too, but of other rows.
        if !responses.is_c_contiguous() {
            return Err(PyValueError::new_err("responses must be C-contiguous"));
        }
        let values = responses.as_slice().map_err(|e| PyValueError::new_err(e.to_string()))?;
        let n_theta = self.inner.problem().n_theta();
        let start = start.map(|s| checked_start(py, &s, n_theta)).transpose()?;
        let options = Options { reml, start, max_evaluations };
        let fits = py.detach(|| self.inner.fit(values, &options, search));
        arrays(py, &fits, self.inner.problem().cross.fixed.given, n_theta, covariance)
    }
}

/// Fits every selection of the rows: for each its rows, and for each term its codes and number of levels.
#[pyfunction]
pub fn fit_subsets<'py>(
    py: Python<'py>,
    y: Values<'_>,
    columns: Vec<Option<Values<'_>>>,
    terms: Vec<PyRef<'_, PyTerm>>,
    weights: Option<Values<'_>>,
    rows: Vec<PyReadonlyArray1<'_, i64>>,
    codes: Vec<Vec<PyReadonlyArray1<'_, i32>>>,
    levels: Vec<Vec<usize>>,
    reml: bool,
    start: Option<Values<'_>>,
    max_evaluations: usize,
    search: bool,
    covariance: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let loose = || PyValueError::new_err("rows and codes must be contiguous");
    if codes.len() != rows.len() || levels.len() != rows.len() {
        return Err(PyValueError::new_err("as many codes and levels as selections of rows"));
    }
    let n_theta = terms.iter().map(|t| t.structure.n_theta()).sum();
    let start = start.map(|s| checked_start(py, &s, n_theta)).transpose()?;
    let options = Options { reml, start, max_evaluations };
    let mut subsets = Vec::with_capacity(rows.len());
    for ((rows, codes), levels) in rows.iter().zip(&codes).zip(levels) {
        let rows = rows.as_slice().map_err(|_| loose())?;
        let codes =
            codes.iter().map(|c| c.as_slice().map_err(|_| loose())).collect::<PyResult<Vec<&[i32]>>>()?;
        subsets.push(Subset { rows, codes, n_levels: levels });
    }
    let given = columns.len();
    let fits = with_rows(py, &y, &columns, &terms, weights.as_ref(), |rows| {
        Ok(py.detach(|| core_fit_subsets(rows, &subsets, &options, search)))
    })?;
    arrays(py, &fits, given, n_theta, covariance)
}

/// 0: converged, 1: stopped early, from 2 on: no fit (the last digit of the code of the error, plus one).
fn status(fit: &Result<Fit, Error>) -> u8 {
    match fit {
        Ok(fit) => u8::from(!fit.converged),
        Err(Error::Shape { .. }) => 2,
        Err(Error::NotFinite { .. }) => 3,
        Err(Error::NotPositiveDefinite { .. }) => 4,
        Err(Error::ZeroResidual) => 5,
        Err(Error::NoDegreesOfFreedom { .. }) => 6,
        Err(Error::DependentColumn { .. }) => 7,
    }
}

fn arrays<'py>(
    py: Python<'py>,
    fits: &[Result<Fit, Error>],
    p: usize,
    n_theta: usize,
    covariance: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let m = fits.len();
    let number = |of: &dyn Fn(&Fit) -> f64| -> Array1<f64> {
        fits.iter().map(|fit| fit.as_ref().map_or(f64::NAN, of)).collect()
    };
    let matrix = |columns: usize, of: &dyn Fn(&Fit, usize) -> f64| {
        Array2::from_shape_fn((m, columns), |(r, j)| fits[r].as_ref().map_or(f64::NAN, |fit| of(fit, j)))
    };
    let out = PyDict::new(py);
    out.set_item("beta", matrix(p, &|fit, j| fit.beta[j]).into_pyarray(py))?;
    out.set_item("se", matrix(p, &|fit, j| fit.vcov[j + j * p].sqrt()).into_pyarray(py))?;
    out.set_item("theta", matrix(n_theta, &|fit, t| fit.theta[t]).into_pyarray(py))?;
    out.set_item("sigma", number(&|fit| fit.sigma).into_pyarray(py))?;
    out.set_item("criterion", number(&|fit| fit.criterion).into_pyarray(py))?;
    let evaluations = fits.iter().map(|fit| fit.as_ref().map_or(0, |fit| fit.evaluations as i64));
    out.set_item("evaluations", evaluations.collect::<Array1<i64>>().into_pyarray(py))?;
    out.set_item("status", fits.iter().map(status).collect::<Array1<u8>>().into_pyarray(py))?;
    let singular = fits.iter().map(|fit| fit.as_ref().is_ok_and(|fit| fit.singular));
    out.set_item("singular", singular.collect::<Array1<bool>>().into_pyarray(py))?;
    if covariance {
        let vcov = Array3::from_shape_fn((m, p, p), |(r, i, j)| {
            fits[r].as_ref().map_or(f64::NAN, |fit| fit.vcov[i + j * p])
        });
        out.set_item("vcov", vcov.into_pyarray(py))?;
    }
    Ok(out)
}
