"""A dense textbook linear mixed model, written to be checked by eye: slow, plain, independent of mixwell.

    y = X beta + sum_t Z_t b_t + e,    Var(b_t, one level) = sigma^2 Sigma_t,    Var(e) = sigma^2 W^-1
    V(theta) = W^-1 + sum_t Z_t (I kron Sigma_t) Z_t'

Everything follows from V by generalised least squares. Nothing is factored by blocks or profiled cleverly,
and the criterion accepts complex theta, so its gradient by complex step is exact to rounding.

theta has the parts of the terms one after the other, as mixwell documents them: `us` the lower triangle of
lambda (Sigma = lambda lambda') column by column, `diag` the standard deviations, `cs` and `ar1` the standard
deviations followed by rho; all relative to sigma, and one standard deviation only when homogeneous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Array = NDArray[Any]


def complex_step(f: Callable[[Array], Any], x: Array) -> Array:
    """Return the gradient of f at x: Im f(x + ih) / h, which subtracts nothing and so loses no digits."""
    h = 1e-25
    return np.array([f(x + 1j * h * unit).imag / h for unit in np.eye(x.size)])


@dataclass(frozen=True, slots=True)
class OracleTerm:
    """One random-effects term: codes (n,), columns (n, k), structure and the number of levels."""

    codes: Array
    columns: Array
    structure: str = "us"
    homogeneous: bool = False

    @property
    def k(self) -> int:
        """Columns per level."""
        return int(self.columns.shape[1])

    @property
    def n_levels(self) -> int:
        """Levels of the grouping factor."""
        return int(self.codes.max()) + 1

    @property
    def n_theta(self) -> int:
        """Covariance parameters."""
        sds = 1 if self.homogeneous else self.k
        return {"us": self.k * (self.k + 1) // 2, "diag": sds, "cs": sds + 1, "ar1": sds + 1}[self.structure]

    def z(self) -> Array:
        """Dense design matrix, shape (n, n_levels * k), the k columns of a level side by side."""
        dense = np.zeros((self.codes.size, self.n_levels, self.k))
        dense[np.arange(self.codes.size), self.codes] = self.columns
        return dense.reshape(self.codes.size, -1)

    def sigma(self, theta: Array) -> Array:
        """Relative covariance of one level, shape (k, k); theta may be complex."""
        if self.structure == "us":
            factor = np.zeros((self.k, self.k), theta.dtype)
            columns, rows = np.triu_indices(self.k)
            factor[rows, columns] = theta
            return factor @ factor.T
        sds = np.broadcast_to(theta[: 1 if self.homogeneous else self.k], (self.k,))
        lag = np.abs(np.subtract.outer(np.arange(self.k), np.arange(self.k)))
        if self.structure == "diag":
            correlation = np.eye(self.k)
        elif self.structure == "cs":
            correlation = np.where(lag == 0, 1.0, theta[-1])
        else:
            correlation = theta[-1] ** lag
        return sds[:, None] * correlation * sds


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The model at one theta.

    criterion -2 log-likelihood (ML or REML) with all constants; beta (p,); vcov (p, p), that is sigma2
    vcov_unscaled; sigma2 = r2 / nu; r2 the penalised residual sum of squares; b per term (J, k); condvar per
    term (J, k, k), scaled by sigma2, beta taken as known; b_x per term (J, k, p), the conditional modes of
    the columns of X; fitted (n,) with the random effects.
    """

    criterion: float
    beta: Array
    vcov: Array
    vcov_unscaled: Array
    sigma2: float
    r2: float
    b: list[Array]
    condvar: list[Array]
    b_x: list[Array]
    fitted: Array


@dataclass(frozen=True, slots=True)
class Oracle:
    """A data set and its terms; y less the offset, X (n, p) of full rank, optional weights (n,)."""

    y: Array
    X: Array
    terms: Sequence[OracleTerm] = ()
    weights: Array | None = None

    @property
    def n_theta(self) -> int:
        """Covariance parameters over all terms."""
        return sum(term.n_theta for term in self.terms)

    def split(self, theta: Array) -> list[Array]:
        """Cut theta into the parts of the terms."""
        return np.split(np.asarray(theta), np.cumsum([term.n_theta for term in self.terms])[:-1])

    def covariance(self, theta: Array) -> Array:
        """V(theta), shape (n, n)."""
        w = np.ones(self.y.size) if self.weights is None else np.asarray(self.weights, float)
        v = np.diag(1.0 / w).astype(np.result_type(np.asarray(theta).dtype, float))
        for term, part in zip(self.terms, self.split(theta), strict=False):
            z = term.z()
            v = v + z @ np.kron(np.eye(term.n_levels), term.sigma(part)) @ z.T
        return v

    def _gls(self, theta: Array) -> tuple[Array, Array, Any, Any]:
        """Return X'V^-1X, beta, r2 = |y - X beta|^2 in the metric of V, and log|V|."""
        v = self.covariance(theta)
        sign, logabs = np.linalg.slogdet(v)
        log_v = logabs + np.log(sign) if np.iscomplexobj(v) else logabs
        vx = np.linalg.solve(v, self.X)
        xvx = self.X.T @ vx
        beta = np.linalg.solve(xvx, vx.T @ self.y)
        residual = self.y - self.X @ beta
        return xvx, beta, residual @ np.linalg.solve(v, residual), log_v

    def criterion(self, theta: Array, *, reml: bool) -> Any:
        """Evaluate -2 log-likelihood, all constants included."""
        n, p = self.X.shape
        xvx, _, r2, value = self._gls(np.asarray(theta))
        if reml:
            sign, logabs = np.linalg.slogdet(xvx)
            value = value + (logabs + np.log(sign) if np.iscomplexobj(xvx) else logabs)
        nu = n - p if reml else n
        return value + nu * (1 + np.log(2 * np.pi * r2 / nu))

    def gradient(self, theta: Array, *, reml: bool) -> Array:
        """Differentiate the criterion by complex step, exact to rounding."""
        return complex_step(lambda point: self.criterion(point, reml=reml), np.asarray(theta, float))

    def central_gradient(self, theta: Array, *, reml: bool, step: float = 1e-5) -> Array:
        """Differentiate the criterion by central differences."""
        theta = np.asarray(theta, float)
        return np.array(
            [
                (
                    self.criterion(theta + step * unit, reml=reml)
                    - self.criterion(theta - step * unit, reml=reml)
                )
                / (2 * step)
                for unit in np.eye(theta.size)
            ]
        )

    def evaluate(self, theta: Array, *, reml: bool) -> Evaluation:
        """Return everything the model says at theta."""
        theta = np.asarray(theta, float)
        n, p = self.X.shape
        xvx, beta, r2, _ = self._gls(theta)
        v = self.covariance(theta)
        sigma2 = r2 / (n - p if reml else n)
        vcov_unscaled = np.linalg.inv(xvx)
        residual = self.y - self.X @ beta
        fitted = self.X @ beta
        modes, variances, modes_x = [], [], []
        for term, part in zip(self.terms, self.split(theta), strict=False):
            shape = (term.n_levels, term.k)
            z = term.z()
            prior = np.kron(np.eye(term.n_levels), term.sigma(part))
            gain = prior @ np.linalg.solve(v, z).T
            b = gain @ residual
            posterior = (prior - gain @ z @ prior).reshape(*shape, *shape)
            levels = np.arange(term.n_levels)
            modes.append(b.reshape(shape))
            variances.append(sigma2 * posterior[levels, :, levels, :])
            modes_x.append((gain @ self.X).reshape(*shape, p))
            fitted = fitted + z @ b
        return Evaluation(
            float(self.criterion(theta, reml=reml)),
            beta,
            sigma2 * vcov_unscaled,
            vcov_unscaled,
            float(sigma2),
            float(r2),
            modes,
            variances,
            modes_x,
            fitted,
        )

    def multipliers(self, theta: Array, *, reml: bool) -> list[Array]:
        """Differentiate the criterion by Sigma: per term G (k, k), symmetric.

        At an optimum over the covariance matrices G lambda = 0 and G is positive semidefinite.
        """
        theta = np.asarray(theta, float)
        n, p = self.X.shape
        xvx, beta, r2, _ = self._gls(theta)
        inverse = np.linalg.inv(self.covariance(theta))
        e = inverse @ (self.y - self.X @ beta)
        vx = inverse @ self.X
        q = inverse - vx @ np.linalg.solve(xvx, vx.T) if reml else inverse
        nu = n - p if reml else n
        found = []
        for term in self.terms:
            z = term.z()
            levels = np.arange(term.n_levels)
            shape = (term.n_levels, term.k)
            blocks = (z.T @ q @ z).reshape(*shape, *shape)[levels, :, levels, :]
            score = (z.T @ e).reshape(shape)
            found.append(blocks.sum(axis=0) - nu / r2 * score.T @ score)
        return found

    def optimise(self, *, reml: bool, starts: int = 4, seed: int = 0) -> tuple[float, Array]:
        """Return the lowest criterion of several BFGS searches, and its theta."""
        rng = np.random.default_rng(seed)
        best = (np.inf, np.zeros(self.n_theta))
        for attempt in range(starts):
            x0 = np.concatenate([self._start(term, rng if attempt else None) for term in self.terms])
            found = optimize.minimize(self._free, x0, args=(reml,), jac=True, options={"gtol": 1e-8})
            # BFGS stops early on flat ground: restart it once from where it stopped, without its memory.
            found = optimize.minimize(self._free, found.x, args=(reml,), jac=True, options={"gtol": 1e-9})
            if found.fun < best[0]:
                best = (float(found.fun), self._bounded(found.x))
        return best

    @staticmethod
    def _start(term: OracleTerm, rng: np.random.Generator | None) -> Array:
        """Start at Sigma = I over the mean square of the columns, or at a random point around it."""
        size = 1.0 / np.sqrt((term.columns**2).mean(axis=0))
        if term.structure == "us":
            columns, rows = np.triu_indices(term.k)
            start = np.where(rows == columns, size[rows], 0.0)
            noise = size[rows]
        else:
            sds = size[:1] if term.homogeneous else size
            start = np.append(sds, 0.0) if term.structure in ("cs", "ar1") else sds
            noise = np.append(sds, 1.0) if term.structure in ("cs", "ar1") else sds
        return start if rng is None else start * rng.uniform(0.1, 2.0) + noise * rng.normal(size=start.size)

    def _bounded(self, x: Array) -> Array:
        """Map free parameters to theta: rho between -1/(k-1) (cs) or -1 (ar1) and 1, its sds not negative."""
        theta = np.array(x)
        first = 0
        for term in self.terms:
            last = first + term.n_theta - 1
            if term.structure in ("cs", "ar1"):
                low = -1.0 / max(term.k - 1, 1) if term.structure == "cs" else -1.0
                theta[first:last] = np.where(x[first:last].real < 0, -x[first:last], x[first:last])
                theta[last] = low + (1.0 - low) * (0.5 + 0.5 * np.tanh(x[last]))
            first = last + 1
        return theta

    def _free(self, x: Array, reml: bool) -> tuple[float, Array]:
        """Criterion and gradient in the free parameters."""

        def f(point: Array) -> Any:
            return self.criterion(self._bounded(point), reml=reml)

        return float(f(x)), complex_step(f, x)
