"""Bootstrap replicates for ArviZ, which draws and summarises any set of draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.resampling.bootstrap import Bootstrap

__all__ = ["to_arviz"]

_WHAT = "parametric and other bootstrap replicates: draws of estimates, not of a posterior distribution"


def to_arviz(replicates: Bootstrap) -> Any:
    """Return the replicates as an object of ArviZ.

    Parameters
    ----------
    replicates
        Of `m.bootstrap()`. Those without a fit are left out.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        Whichever the installed ArviZ has. Group `posterior` (what ArviZ's functions look for by that name)
        with one chain: `fixef` over the dimension `coefficient`, and every other statistic under its own
        name; the attributes say that these are replicates and of which model.

    Raises
    ------
    MixwellError
        MW-A163 without the package, MW-A165 if no replicate has a fit.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> draws = m.bootstrap(50, seed=1).to_arviz()
    >>> draws["posterior"]["fixef"].shape, draws["posterior"]["coefficient"].values.tolist()
    ((1, 50, 2), ['(Intercept)', 'Days'])
    """
    import mixwell as mw  # noqa: PLC0415

    try:
        import arviz  # noqa: PLC0415
    except ModuleNotFoundError:
        raise error("MW-A163", package="arviz") from None
    m = replicates.model
    usable = ~replicates.failed
    if not usable.any():
        raise error("MW-A165", n=replicates.n)
    fixef = [name for name in replicates.names if name in m.fixef.names]
    own = dict(zip(replicates.names, replicates.values[usable].T, strict=True))
    draws = {name: column[None, :] for name, column in own.items() if name not in fixef}
    dims, coords = {}, {}
    if fixef:
        draws = {"fixef": np.stack([own[name] for name in fixef], axis=-1)[None], **draws}
        dims, coords = {"fixef": ["coefficient"]}, {"coefficient": fixef}
    groups: dict[str, Any] = {"posterior": draws}
    if hasattr(arviz, "InferenceData"):
        data = arviz.from_dict(**groups, dims=dims, coords=coords)
    else:  # from version 1 on, with trees of xarray
        data = arviz.from_dict(groups, dims=dims, coords=coords)
    data["posterior"].attrs.update(
        what=_WHAT,
        formula=str(m.formula),
        mixwell=mw.__version__,
        method=replicates.method,
        seed=str(replicates.seed),
        left_out=int((~usable).sum()),
    )
    return data
