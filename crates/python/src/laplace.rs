//! Generalised models: the bridge to the Laplace approximation.

use crate::{PyTerm, Values, contiguous, raise, square, vector, with_rows};
use mixwell_core::Error;
use mixwell_core::family::{Family, Full, Kind, Second};
use mixwell_core::laplace::{Aux, Data, Laplace, LaplaceOptimum, Penalty, State};
use numpy::ndarray::{Array2, Array3};
use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Columns (gamma, values) of an auxiliary predictor, and its known part.
type PyAux<'py> = (Vec<(usize, Option<Values<'py>>)>, Option<Values<'py>>);

/// A generalised linear mixed model with its columns.
#[pyclass(frozen, name = "Laplace", module = "mixwell._core")]
pub struct PyLaplace {
    inner: Laplace,
}

/// Where a search ended, with the modes there.
#[pyclass(frozen, name = "LaplaceFit", module = "mixwell._core")]
pub struct PyLaplaceFit {
    inner: LaplaceOptimum,
}

/// Log-likelihood of rows with its derivatives, one row of the array each:
/// value, d1, d2 as the search computes them, then value, d1, d2, d3 with all derivatives, then by auxiliary predictor
/// those of value, d1 and d2.
#[pyfunction]
pub fn family_rows(
    py: Python<'_>,
    family: (String, String, String),
    y: Values<'_>,
    weights: Option<Values<'_>>,
    eta: Values<'_>,
    aux: Vec<Values<'_>>,
) -> PyResult<Py<PyAny>> {
    let (name, link, zero) = &family;
    let family = Family::parse(name, link, zero)
        .ok_or_else(|| PyValueError::new_err(format!("unknown family {family:?}")))?;
    let (y, eta) = (contiguous(&y, "y")?, contiguous(&eta, "eta")?);
    let weights = borrow(weights.as_ref(), "weights")?;
    let aux = aux.iter().map(|a| contiguous(a, "an auxiliary predictor")).collect::<PyResult<Vec<_>>>()?;
    let n = y.len();
    if eta.len() != n
        || weights.is_some_and(|w| w.len() != n)
        || aux.iter().any(|a| a.len() != n)
        || aux.len() != family.n_aux()
    {
        return Err(raise(
            py,
            &Error::Shape { what: "rows of a family".into(), expected: n, found: eta.len() },
        ));
    }
    let mut rows = vec![Full::default(); n];
    family.full_rows(y, weights, eta, &aux, &mut rows);
    let mut second = vec![Second::default(); n];
    family.second_rows(y, weights, eta, &aux, &mut second);
    let at = |(i, j): (usize, usize)| {
        let r = &rows[i];
        match j {
            0 => second[i].value,
            1 => second[i].d1,
            2 => second[i].d2,
            3 => r.value,
            4 => r.d1,
            5 => r.d2,
            6 => r.d3,
            _ => [r.a, r.a1, r.a2][(j - 7) % 3][(j - 7) / 3],
        }
    };
    Ok(Array2::from_shape_fn((n, 7 + 3 * aux.len()), at).into_pyarray(py).into_any().unbind())
}

fn borrow<'a>(v: Option<&'a PyReadonlyArray1<'_, f64>>, what: &str) -> PyResult<Option<&'a [f64]>> {
    v.map(|v| contiguous(v, what)).transpose()
}

#[pymethods]
impl PyLaplace {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        family: (String, String, String),
        y: Values<'_>,
        columns: Vec<Option<Values<'_>>>,
        terms: Vec<PyRef<'_, PyTerm>>,
        weights: Option<Values<'_>>,
        offset: Option<Values<'_>>,
        aux: Vec<PyAux<'_>>,
    ) -> PyResult<Self> {
        let (name, link, zero) = &family;
        let family = Family::parse(name, link, zero)
            .ok_or_else(|| PyValueError::new_err(format!("unknown family {family:?}")))?;
        let offset = borrow(offset.as_ref(), "the offset")?;
        let aux = aux
            .iter()
            .map(|(columns, known)| {
                let columns = columns
                    .iter()
                    .map(|(g, c)| Ok((*g, borrow(c.as_ref(), "an auxiliary column")?)))
                    .collect::<PyResult<Vec<_>>>()?;
                Ok(Aux { columns, offset: borrow(known.as_ref(), "an auxiliary offset")? })
            })
            .collect::<PyResult<Vec<_>>>()?;
        with_rows(py, &y, &columns, &terms, weights.as_ref(), |rows| {
            let data = Data {
                family,
                y: rows.y,
                weights: rows.weights,
                offset,
                x: rows.x.clone(),
                terms: rows.terms.clone(),
                aux,
                intercept_elsewhere: family.kind == Kind::Cumulative,
            };
            let inner = py.detach(|| Laplace::new(&data)).map_err(|e| raise(py, &e))?;
            Ok(PyLaplace { inner })
        })
    }

    #[getter]
    fn n_theta(&self) -> usize {
        self.inner.n_theta()
    }

    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.inner.kept.clone()
    }

    /// Limits of psi, (m, 2).
    #[getter]
    fn bounds(&self, py: Python<'_>) -> Py<PyAny> {
        let bounds = self.inner.bounds();
        let at = |(i, j): (usize, usize)| if j == 0 { bounds[i].0 } else { bounds[i].1 };
        Array2::from_shape_fn((bounds.len(), 2), at).into_pyarray(py).into_any().unbind()
    }

    /// The working basis of X, p x p: beta = basis beta~.
    #[getter]
    fn basis(&self, py: Python<'_>) -> Py<PyAny> {
        square(py, &self.inner.back, self.inner.p())
    }

    /// The same model with a penalty: precisions of the kept coefficients, (power, S) of each term's covariance or None.
    fn penalized(
        &self,
        precision: Values<'_>,
        covariance: Vec<Option<(f64, PyReadonlyArray2<'_, f64>)>>,
    ) -> PyResult<Self> {
        let precision = contiguous(&precision, "the precisions")?.to_vec();
        let covariance = covariance
            .iter()
            .map(|own| {
                own.as_ref().map(|(power, s)| (*power, s.as_array().iter().copied().collect::<Vec<f64>>()))
            })
            .collect();
        let penalty = Penalty::new(&self.inner, precision, covariance);
        Ok(PyLaplace { inner: self.inner.clone().penalized(penalty) })
    }

    /// (theta, beta, gamma) of the user's columns, from rows of psi.
    fn natural(&self, py: Python<'_>, psi: PyReadonlyArray2<'_, f64>) -> Py<PyAny> {
        let psi = psi.as_array();
        let rows: Vec<Vec<f64>> =
            psi.rows().into_iter().map(|row| self.inner.natural(&row.to_vec())).collect();
        let m = self.inner.n_psi();
        Array2::from_shape_fn((rows.len(), m), |(i, j)| rows[i][j]).into_pyarray(py).into_any().unbind()
    }

    /// psi from (theta, beta, gamma) of the user's columns.
    fn standard(&self, py: Python<'_>, natural: Values<'_>) -> PyResult<Py<PyAny>> {
        Ok(vector(py, &self.inner.standard(contiguous(&natural, "the parameters")?)))
    }

    /// Fits responses (B, n) side by side from psi with the Hessian there: psi (B, m), F, whether each converged.
    /// Where a search failed there is NaN.
    fn refit<'py>(
        &self,
        py: Python<'py>,
        responses: PyReadonlyArray2<'_, f64>,
        psi: Values<'_>,
        hessian: PyReadonlyArray2<'_, f64>,
        max_evaluations: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let psi = contiguous(&psi, "psi")?;
        let responses = responses.as_array();
        let rows: Vec<Vec<f64>> = responses.rows().into_iter().map(|row| row.to_vec()).collect();
        let hessian: Vec<f64> = hessian.as_array().iter().copied().collect();
        let found = py.detach(|| {
            let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
            self.inner.refit(&rows, psi, &hessian, max_evaluations)
        });
        let m = self.inner.n_psi();
        let at = |(i, j): (usize, usize)| found[i].as_ref().map_or(f64::NAN, |r| r.psi[j]);
        let out = PyDict::new(py);
        out.set_item("psi", Array2::from_shape_fn((found.len(), m), at).into_pyarray(py))?;
        let criterion: Vec<f64> =
            found.iter().map(|r| r.as_ref().map_or(f64::NAN, |r| r.criterion)).collect();
        out.set_item("criterion", vector(py, &criterion))?;
        let converged: Vec<bool> = found.iter().map(|r| r.as_ref().is_ok_and(|r| r.converged)).collect();
        out.set_item("converged", converged.into_pyarray(py))?;
        let evaluations: Vec<usize> = found.iter().map(|r| r.as_ref().map_or(0, |r| r.evaluations)).collect();
        out.set_item("evaluations", evaluations.into_pyarray(py))?;
        Ok(out)
    }

    /// Minimises F from a linear predictor and gammas.
    fn optimize(
        &self,
        py: Python<'_>,
        eta: Values<'_>,
        gamma: Values<'_>,
        max_evaluations: usize,
    ) -> PyResult<PyLaplaceFit> {
        let (eta, gamma) = (contiguous(&eta, "eta")?, contiguous(&gamma, "gamma")?);
        let inner =
            py.detach(|| self.inner.optimize(eta, gamma, max_evaluations)).map_err(|e| raise(py, &e))?;
        Ok(PyLaplaceFit { inner })
    }

    /// The fast stage (beta by penalised least squares): its end as a fit, gradient, Hessian, convergence, evaluations.
    fn fast<'py>(
        &self,
        py: Python<'py>,
        eta: Values<'_>,
        gamma: Values<'_>,
        max_evaluations: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (eta, gamma) = (contiguous(&eta, "eta")?, contiguous(&gamma, "gamma")?);
        let found = py.detach(|| self.inner.fast(eta, gamma, max_evaluations)).map_err(|e| raise(py, &e))?;
        let out = PyDict::new(py);
        out.set_item("psi", vector(py, &found.psi))?;
        out.set_item("criterion", found.criterion)?;
        out.set_item("gradient", vector(py, &found.gradient))?;
        out.set_item("hessian", square(py, &found.hessian, self.inner.n_psi()))?;
        out.set_item("converged", found.converged)?;
        out.set_item("evaluations", found.evaluations)?;
        Ok(out)
    }

    /// F and its gradient at (theta of standardised columns, beta~, gamma); modes are searched from those of `near`.
    #[pyo3(signature = (psi, near=None))]
    fn evaluate(
        &self,
        py: Python<'_>,
        psi: Values<'_>,
        near: Option<PyRef<'_, PyLaplaceFit>>,
    ) -> PyResult<(f64, Py<PyAny>)> {
        let psi = contiguous(&psi, "psi")?;
        let u = near.map_or_else(Vec::new, |fit| fit.inner.state.u.clone());
        let found = py.detach(|| {
            let mut state = State::from_modes(&u);
            let f = self.inner.evaluate(psi, &mut state)?;
            Ok((f, self.inner.gradient(psi, &mut state)?.values))
        });
        let (f, gradient) = found.map_err(|e: Error| raise(py, &e))?;
        Ok((f, vector(py, &gradient)))
    }

    /// Effects per level that quadrature would integrate over; None when it cannot.
    #[getter]
    fn integrable(&self) -> Option<usize> {
        self.inner.integrable()
    }

    /// -2 log-likelihood at psi by adaptive quadrature with Gauss-Hermite nodes and weights.
    fn integrate(
        &self,
        py: Python<'_>,
        psi: Values<'_>,
        nodes: Values<'_>,
        weights: Values<'_>,
    ) -> PyResult<f64> {
        let (psi, nodes, weights) =
            (contiguous(&psi, "psi")?, contiguous(&nodes, "nodes")?, contiguous(&weights, "weights")?);
        py.detach(|| self.inner.integrate(psi, nodes, weights, &mut State::default()))
            .map_err(|e| raise(py, &e))
    }

    /// The record of a point that was found elsewhere.
    fn at(&self, py: Python<'_>, psi: Values<'_>, scale: Values<'_>) -> PyResult<PyLaplaceFit> {
        let (psi, scale) = (contiguous(&psi, "psi")?, contiguous(&scale, "scale")?);
        let inner = py.detach(|| self.inner.at(psi, scale)).map_err(|e| raise(py, &e))?;
        Ok(PyLaplaceFit { inner })
    }

    /// Hessian of F at the end of a search; `scale` are about the standard errors of psi.
    fn hessian(
        &self,
        py: Python<'_>,
        fit: PyRef<'_, PyLaplaceFit>,
        scale: Values<'_>,
    ) -> PyResult<Py<PyAny>> {
        let scale = contiguous(&scale, "scale")?;
        let optimum = &fit.inner;
        let h = py.detach(|| self.inner.hessian(optimum, scale)).map_err(|e| raise(py, &e))?;
        Ok(square(py, &h, self.inner.n_psi()))
    }

    /// What a fit consists of, in the user's columns.
    fn describe<'py>(&self, py: Python<'py>, fit: PyRef<'_, PyLaplaceFit>) -> PyResult<Bound<'py, PyDict>> {
        let (model, o) = (&self.inner, &fit.inner);
        let (t, p) = (model.n_theta(), model.p());
        let out = PyDict::new(py);
        out.set_item("psi", vector(py, &o.psi))?;
        out.set_item("theta", vector(py, &model.problem.outer(&o.psi[..t])))?;
        out.set_item("beta", vector(py, &model.beta(&o.psi)))?;
        out.set_item("gamma", vector(py, &o.psi[t + p..]))?;
        out.set_item("criterion", o.criterion)?;
        out.set_item("gradient", vector(py, &o.gradient))?;
        out.set_item("promised", o.promised)?;
        out.set_item("evaluations", o.evaluations)?;
        out.set_item("inner", o.inner)?;
        out.set_item("converged", o.converged)?;
        out.set_item("held", o.held.clone())?;
        out.set_item("scale", vector(py, &o.scale))?;
        out.set_item("parts", o.state.parts)?;
        out.set_item("penalty", o.state.parts[3])?;
        out.set_item("eta", vector(py, &model.in_order(&o.state.eta)))?;
        let (b, condvar) = model.levels(&o.state);
        let (bs, vs, cone) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
        for (i, term) in model.problem.cross.terms.iter().enumerate() {
            let (j, k) = (term.n_levels, term.structure.k);
            bs.append(Array2::from_shape_fn((j, k), |(l, a)| b[i][l * k + a]).into_pyarray(py))?;
            let v = &condvar[i];
            vs.append(
                Array3::from_shape_fn((j, k, k), |(l, a, c)| v[l * k * k + a + c * k]).into_pyarray(py),
            )?;
            cone.append((square(py, &o.cone[i].0, k), square(py, &o.cone[i].1, k)))?;
        }
        out.set_item("b", bs)?;
        out.set_item("condvar", vs)?;
        out.set_item("cone", cone)?;
        Ok(out)
    }
}
