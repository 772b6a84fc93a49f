"""Fits as files: numbers and text in a zip archive of NumPy arrays, nothing that could run.

A file holds what the caller of `fit` gave (the columns that were used, the arguments) and where the search
ended. Loading reads the table again as the formula says, puts the optimum in its place without searching, and
checks both: the columns by their fingerprint, the optimum by the criterion there. A checksum tells damage; it
is no signature, so a file is as trustworthy as where it comes from.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design import build_design
from mixwell.design.frame import Column, Frame
from mixwell.errors import MixwellError, Note, error
from mixwell.families import resolve
from mixwell.fitted.result import FittedModel
from mixwell.formula import Formula, parse
from mixwell.generalized.model import GeneralizedModel
from mixwell.generalized.predictors import predictors_of
from mixwell.generalized.priors import Prior
from mixwell.generalized.quadrature import rule
from mixwell.options import Control

if TYPE_CHECKING:
    from mixwell.design import Design

__all__ = ["checksum", "fingerprint", "load", "save"]

Array = NDArray[Any]

FORMAT = 1
AGREE = 1e-8  # relative difference of the criterion at the stored optimum that is rounding
MOST = 2**34  # bytes that a file may unpack to
_KINDS = "fiubmM"  # of arrays: numbers, booleans, dates
_LIBRARIES = ("pandas", "polars", "pyarrow")
_RECORDS: dict[str, Any] = {"Control": Control, "Prior": Prior, "Note": Note}


# --- saving ------------------------------------------------------------------------------------------------


def save(m: FittedModel | GeneralizedModel, path: str | Path, *, data: bool = True) -> None:
    """Write the fit to a file that `mixwell.load` reads.

    Parameters
    ----------
    path
        Where to; an ending of your choice (".mixwell").
    data
        Store the columns that were used. Without them `load` needs the table again.

    Raises
    ------
    MixwellError
        MW-A136 for an argument of the fit that cannot be stored, MW-A142 where no file can be written. What
        was at the path before stays then.

    Examples
    --------
    >>> import tempfile, pathlib, mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     m.save(pathlib.Path(folder) / "yield.mixwell")
    ...     again = mw.load(pathlib.Path(folder) / "yield.mixwell")
    >>> again.loglik == m.loglik, again.fixef.names
    (True, ('(Intercept)',))
    """
    import mixwell as mw  # noqa: PLC0415

    arrays: dict[str, Array] = {}
    columns = _columns(m)
    arguments = {name: value for name, value in m.arguments.items() if name not in ("data", "prior")}
    frame = m.design.frame
    meta: dict[str, Any] = {
        "format": FORMAT,
        "mixwell": mw.__version__,
        "formula": m.formula.text,
        "names": list(frame.names),
        "rows": frame.n_rows,
        "library": frame._backend if frame._backend in _LIBRARIES else None,
        "fingerprint": fingerprint(m),
        "arguments": {name: _encoded(value, arrays, name) for name, value in arguments.items()},
        "control": _encoded(m.control, arrays, "control"),
        "kept": list(m.kept),
    }
    if isinstance(m, FittedModel):
        state = m.__getstate__()
        meta |= {"kind": "linear", "method": m.method}
        meta |= {name: _encoded(state[name], arrays, name) for name in ("optimum", "solution")}
    else:
        meta |= {"kind": "generalized", "family": m.family.name, "link": m.family.link, "nodes": m.nagq}
        held = {"core": dict(m.core), "hessian": m.hessian, "basis": m.basis}
        held |= {"remarks": m.remarks, "prior": m.prior}
        meta |= {name: _encoded(value, arrays, name) for name, value in held.items()}
    if data:
        meta["columns"] = [_stored(column, arrays) for column in columns]
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    arrays["checksum"] = checksum(arrays)
    _written(Path(path), arrays)


def _written(path: Path, arrays: dict[str, Array]) -> None:
    target = path.resolve()  # what a link stands for
    partial = target.with_name(f"{target.name}.partial")
    try:
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            partial.replace(target)
        finally:
            if partial.exists():
                partial.unlink()
    except OSError as failure:
        raise error("MW-A142", path=str(path), reason=failure.strerror or type(failure).__name__) from None


def fingerprint(m: FittedModel | GeneralizedModel) -> str:
    """SHA-256 of the columns that a fit has used, whatever library they came from.

    Examples
    --------
    >>> import mixwell as mw
    >>> tables = (mw.data.load("dyestuff", library) for library in ("dict", "pandas"))
    >>> one, other = (fingerprint(mw.lm("Yield ~ 1", table)) for table in tables)
    >>> one == other
    True
    """
    return _digest(_columns(m))


def checksum(arrays: Mapping[str, Array]) -> NDArray[np.uint8]:
    """SHA-256 of arrays with their names, kinds and shapes, as 32 bytes.

    Examples
    --------
    >>> checksum({"a": np.zeros(3)}).shape
    (32,)
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\x00{name}\x00{array.dtype.str}{arrays[name].shape}\x00".encode())
        digest.update(array.tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _columns(m: FittedModel | GeneralizedModel) -> list[Column]:
    """Columns that the formulas and arguments name, in the order of the table."""
    names = {name for name, _ in m.formula.variables()}
    for given in ("ziformula", "dispformula"):
        further = m.arguments.get(given)
        if further is not None:
            names |= {name for name, _ in _formula(further).variables()}
    names |= {m.arguments[name] for name in ("weights", "offset") if isinstance(m.arguments.get(name), str)}
    frame = m.design.frame
    return [frame.column(name) for name in frame.names if name in names]


def _formula(given: Any) -> Formula:
    return given if isinstance(given, Formula) else parse(given)


def _digest(columns: list[Column]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"\x00{column.name}\x00".encode())
        if column.values is None or column.kind in ("string", "categorical"):
            # In the order of the levels, which decides what a coefficient stands for.
            codes, levels = column.codes()
            used = np.unique(codes[codes >= 0])
            digest.update(json.dumps([column.ordered, *(str(levels[code]) for code in used)]).encode())
            digest.update(np.where(codes < 0, -1, np.searchsorted(used, codes)).astype(np.int32).tobytes())
            continue
        values = column.values
        number = values.astype(np.float64) if values.dtype.kind in "fiub" else values.astype(np.int64)
        if column.absent is not None:
            number = np.where(column.absent, np.nan if number.dtype.kind == "f" else -1, number)
        if number.dtype.kind == "f":
            number = np.where(np.isnan(number), np.nan, number)  # there are many
        digest.update(b"boolean" if column.kind == "boolean" else b"")
        digest.update(np.ascontiguousarray(number).tobytes())
    return digest.hexdigest()


def _stored(column: Column, arrays: dict[str, Array]) -> dict[str, Any]:
    zone = None if column.timezone is None else str(column.timezone)
    record: dict[str, Any] = {"name": column.name, "kind": column.kind, "ordered": column.ordered}
    record |= {
        "zone": zone,
        "levels": [_encoded(level, arrays, f"column {column.name}") for level in column.levels_],
    }
    for part in ("values", "absent", "codes_"):
        value = getattr(column, part)
        record[part] = None if value is None else _encoded(np.asarray(value), arrays, part)
    return record


def _encoded(value: Any, arrays: dict[str, Array], what: str) -> Any:
    """Turn a value into JSON; arrays go beside it."""
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        value = value.item()
    if isinstance(value, Formula):
        return value.text
    if isinstance(value, float) and not np.isfinite(value):
        return {"@float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Control, Prior)):
        inner = {each.name: _encoded(getattr(value, each.name), arrays, what) for each in fields(value)}
        return {"@record": type(value).__name__, "fields": inner}
    if isinstance(value, Note):
        return {"@record": "Note", "fields": value._asdict()}
    if isinstance(value, SimpleNamespace):
        return {"@space": {name: _encoded(each, arrays, what) for name, each in vars(value).items()}}
    if isinstance(value, Mapping):
        return {"@map": [[str(name), _encoded(each, arrays, what)] for name, each in value.items()]}
    if isinstance(value, (tuple, list)):
        items = [_encoded(each, arrays, what) for each in value]
        return {"@tuple": items} if isinstance(value, tuple) else items
    found = np.asarray(value)
    if found.dtype.kind not in _KINDS:
        raise error("MW-A136", what=what, kind=type(value).__name__)
    name = f"a{len(arrays)}"
    arrays[name] = found
    return {"@array": name}


# --- loading -----------------------------------------------------------------------------------------------


def load(path: str | Path, *, data: Any = None) -> Any:
    """Read a fit that `m.save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path
        The file.
    data
        The table of the fit: needed where the file has no data, checked against its fingerprint.

    Returns
    -------
    FittedModel or GeneralizedModel
        As it was saved: nothing is searched again. Tables come in the library that the fit had, if it is
        installed.

    Raises
    ------
    MixwellError
        MW-A137 for a file that is none of ours or is damaged, MW-A138 for one of a later version, MW-A139
        when the table is not the one that was fitted, MW-A140 when it needs the table, MW-A141 when the
        optimum does not belong to the data.

    Examples
    --------
    See `save`.
    """
    meta, arrays = _read(Path(path))
    table = None if data is None else Frame.from_data(data)
    try:
        return _rebuilt(meta, arrays, table, data)
    except MixwellError:
        raise
    except Exception as damage:  # whatever a forged file leads to
        raise error("MW-A137", path=str(path), reason=f"it is damaged ({type(damage).__name__})") from damage


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _arrays(archive, path)
        intact = np.array_equal(arrays.pop("checksum"), checksum(arrays))
        meta = json.loads(arrays.pop("meta").tobytes())
        later = int(meta["format"]) > FORMAT
    except MixwellError:
        raise
    except FileNotFoundError:
        raise error("MW-A137", path=str(path), reason="there is no such file") from None
    except OSError as failure:
        raise error("MW-A137", path=str(path), reason=failure.strerror or "it cannot be read") from None
    except Exception:  # zipfile, zlib, json and NumPy have many ways to say that bytes make no sense
        raise error("MW-A137", path=str(path), reason="it is not a saved fit, or is damaged") from None
    if later:
        raise error("MW-A138", path=str(path), version=meta.get("mixwell", "?"))
    if not intact:
        raise error("MW-A137", path=str(path), reason="it is damaged (checksum)")
    return meta, arrays


def _arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, Array]:
    members = archive.infolist()
    if sum(each.file_size for each in members) > MOST:
        raise error("MW-A137", path=str(path), reason="it would unpack to more than 16 GiB")
    return {each.filename.removesuffix(".npy"): _array(archive, each) for each in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read an array, of numbers or dates, that takes no more memory than its member unpacks to."""
    with archive.open(member) as file:
        first = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.kind not in _KINDS or min(shape, default=0) < 0:
        raise ValueError(member.filename)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(member.filename)
    with archive.open(member) as file:
        found: Array = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _rebuilt(meta: dict[str, Any], arrays: dict[str, Array], read: Frame | None, data: Any) -> Any:
    def decoded(value: Any) -> Any:
        return _decoded(value, arrays)

    arguments = {name: decoded(value) for name, value in meta["arguments"].items()}
    linear = meta["kind"] == "linear"
    table = _table(meta, arrays) if read is None else read
    formula = parse(meta["formula"], tuple(meta["names"]))
    options: dict[str, Any] = {name: arguments.get(name) for name in ("weights", "offset", "contrasts")}
    options["na_action"] = arguments.get("na_action", "drop")
    extra, family = {}, None
    if not linear:
        given = {"zi": arguments.get("ziformula"), "disp": arguments.get("dispformula")}
        extra = {name: parse(text) for name, text in given.items() if text is not None}
        variance = arguments.get("variance")
        name = arguments["family"]
        family = resolve(name, meta["link"], extra_zeros="zi" in extra, variance=variance)
        design = build_design(formula, table, family=family, extra=extra, **options)
    else:
        design = build_design(formula, table, **options)
    response = arguments.get("response")
    if response is not None:
        response = np.asarray(response)
        whole = design.rows is not None and len(response) == design.n_rows
        design = replace(design, y=np.ascontiguousarray(response[design.rows] if whole else response))
    arguments["data"] = table if data is None else data
    control, kept = decoded(meta["control"]), tuple(meta["kept"])
    if linear:
        m: Any = FittedModel(design, meta["method"], control, decoded(meta["optimum"]), arguments, None)
        m.__dict__.update(solution=decoded(meta["solution"]), kept=kept)
        stored = float(m.optimum.criterion)
        found = stored if not m.is_mixed else float(m.problem.criterion(m.theta, m.is_reml))
    else:
        assert family is not None
        prior = decoded(meta["prior"])
        arguments["prior"] = prior
        predictors = predictors_of(design, family)
        core, hessian, basis = (decoded(meta[name]) for name in ("core", "hessian", "basis"))
        remarks, nodes = decoded(meta["remarks"]), meta["nodes"]
        m = GeneralizedModel(
            design, family, control, predictors, core, hessian, arguments, kept, basis, nodes, remarks, prior
        )
        psi, stored = np.ascontiguousarray(core["psi"]), float(core["criterion"])
        _check_shape(psi, m.laplace.n_theta + len(m.laplace.kept) + len(predictors.names))
        found = m.laplace.integrate(psi, *rule(nodes)) if nodes > 1 else m.laplace.evaluate(psi)[0]
    _check(meta, m.design, _digest(_columns(m)), (stored, found))
    return m


def _check(meta: dict[str, Any], design: Design, digest: str, criteria: tuple[float, float]) -> None:
    if digest != meta["fingerprint"]:
        raise error("MW-A139", rows=design.frame.n_rows, stored=meta["rows"])
    stored, found = criteria
    if not abs(stored - found) <= AGREE * max(abs(stored), 1.0):
        raise error("MW-A141", stored=stored, found=found)


def _decoded(value: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(value, list):
        return [_decoded(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if "@array" in value:
        return arrays[value["@array"]]
    if "@float" in value:
        return float(value["@float"])
    if "@tuple" in value:
        return tuple(_decoded(each, arrays) for each in value["@tuple"])
    if "@map" in value:
        return {name: _decoded(each, arrays) for name, each in value["@map"]}
    if "@space" in value:
        return SimpleNamespace(**{name: _decoded(each, arrays) for name, each in value["@space"].items()})
    inner = {name: _decoded(each, arrays) for name, each in value["fields"].items()}
    return _RECORDS[value["@record"]](**inner)


def _check_shape(array: Array, length: int) -> None:
    """Keep what has another shape from the core, which trusts its caller."""
    if array.shape != (length,):
        raise ValueError(array.shape)


def _table(meta: dict[str, Any], arrays: dict[str, Array]) -> Frame:
    if "columns" not in meta:
        raise error("MW-A140")
    columns = {record["name"]: _column(record, arrays, meta["rows"]) for record in meta["columns"]}
    library = meta["library"]
    if library not in (None, *_LIBRARIES):  # nothing else is imported
        raise ValueError(library)
    if library is not None and find_spec(library) is None:
        library = None
    native = {name: _native(column, library) for name, column in columns.items()}
    table: Any = native
    if library == "pyarrow":
        table = importlib.import_module("pyarrow").table(native)
    elif library is not None:
        table = importlib.import_module(library).DataFrame(native)
    # Read back through the stored columns, so that nothing depends on how the library keeps them.
    return Frame(table, columns, meta["rows"], columns.__getitem__, library)


def _column(record: dict[str, Any], arrays: dict[str, Array], rows: int) -> Column:
    parts = {part: _decoded(record[part], arrays) for part in ("values", "absent", "codes_")}
    for each in parts.values():
        if each is not None:
            _check_shape(each, rows)
    zone = None
    if record["zone"] is not None:
        from zoneinfo import ZoneInfo  # noqa: PLC0415

        zone = ZoneInfo(record["zone"])
    levels = tuple(_decoded(level, arrays) for level in record["levels"])
    codes = parts["codes_"]
    if codes is not None and codes.size and not -1 <= codes.min() <= codes.max() < len(levels):
        raise ValueError(record["name"])
    return Column(
        record["name"], record["kind"], levels_=levels, ordered=record["ordered"], timezone=zone, **parts
    )


def _native(column: Column, library: str | None) -> Any:
    """Column as a library keeps it; only what the user sees depends on it."""
    if column.values is not None:
        values = column.values
        if column.absent is not None and values.dtype.kind in "iub":
            return np.where(column.absent, np.nan, values.astype(np.float64))
        return values
    codes, levels = column.codes()
    if column.kind == "categorical" and library == "pandas":
        pandas = importlib.import_module("pandas")
        return pandas.Categorical.from_codes(codes, list(levels), ordered=column.ordered)
    if column.kind == "categorical" and library == "pyarrow":
        pyarrow = importlib.import_module("pyarrow")
        indices = pyarrow.array(codes, mask=codes < 0)
        return pyarrow.DictionaryArray.from_arrays(indices, list(levels), ordered=column.ordered)
    items = [None if code < 0 else levels[code] for code in codes.tolist()]
    if column.kind == "categorical" and library == "polars":
        polars = importlib.import_module("polars")
        return polars.Series(column.name, items, polars.Enum([str(level) for level in levels]))
    return items if library else np.array(items, dtype=object)
