"""The stub of the compiled core says what the core is; the public names are annotated; py.typed is there."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import typing
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell import _core

STUB = ast.parse((Path(mw.__file__).parent / "_core.pyi").read_text("utf-8"))

FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
TYPED_DICTS = {
    name: node
    for name, node in CLASSES.items()
    if any(isinstance(each, ast.Name) and each.id == "type_check_only" for each in node.decorator_list)
}
NATIVE = {name: node for name, node in CLASSES.items() if name not in TYPED_DICTS}


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)


def members(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}


def in_stub(node: ast.FunctionDef) -> list[tuple[str, object]]:
    """Names and defaults of the parameters, in order; all are positional or keyword."""
    arguments = node.args
    assert not arguments.posonlyargs
    assert not arguments.kwonlyargs
    assert arguments.vararg is None
    assert arguments.kwarg is None
    defaults: list[object] = [ast.literal_eval(each) for each in arguments.defaults]
    absent = [inspect.Parameter.empty] * (len(arguments.args) - len(defaults))
    pairs = zip([each.arg for each in arguments.args], absent + defaults, strict=True)
    return [(name, default) for name, default in pairs if name not in ("self", "cls")]


def at_runtime(thing: Any) -> list[tuple[str, object]]:
    parameters = inspect.signature(thing).parameters.values()
    return [(each.name, each.default) for each in parameters if each.name != "self"]


def public(names: Any) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_public_names_are_the_same_in_both() -> None:
    [listed] = [
        ast.literal_eval(node.value)
        for node in STUB.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert set(FUNCTIONS) | set(NATIVE) == public(vars(_core)) == set(listed) == set(_core.__all__)
    assert not public(TYPED_DICTS) & public(vars(_core))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_same_parameters(name: str) -> None:
    assert in_stub(FUNCTIONS[name]) == at_runtime(getattr(_core, name))


@pytest.mark.parametrize("name", NATIVE)
def test_classes_have_the_same_members(name: str) -> None:
    native, stub = getattr(_core, name), members(NATIVE[name])
    assert public(stub) == public(vars(native))
    for member, node in stub.items():
        if member == "__new__":
            assert in_stub(node) == at_runtime(native)
        elif is_property(node):
            assert inspect.isdatadescriptor(vars(native)[member]), member
        else:
            assert inspect.ismethoddescriptor(vars(native)[member]), member
            assert in_stub(node) == at_runtime(vars(native)[member]), member
    constructible = native.__text_signature__ is not None
    assert constructible == ("__new__" in stub)
    with pytest.raises(TypeError):  # as @final says
        type("Derived", (native,), {})


# --- what the annotations promise -----------------------------------------------------------------------

N, LEVELS = 24, 6
RNG = np.random.default_rng(0)
X, CODES = RNG.normal(size=N), np.repeat(np.arange(LEVELS, dtype=np.int32), N // LEVELS)
Y = 1.0 + X + RNG.normal(size=LEVELS)[CODES] + RNG.normal(size=N)


@functools.cache
def instances() -> dict[str, Any]:
    """One object of every native class, of a model with a random intercept."""
    term = _core.Term(CODES, LEVELS, [None], "us", False)
    problem = _core.Problem(Y, [None, X], [term], None)
    optimum = problem.optimize(True, None, 100)
    laplace = _core.Laplace(
        ("poisson", "log", ""), np.round(np.exp(Y / 3.0)), [None, X], [term], None, None, []
    )
    return {
        "Term": term,
        "Problem": problem,
        "Optimum": optimum,
        "Solution": problem.solve(optimum.theta, True, True),
        "Laplace": laplace,
        "LaplaceFit": laplace.optimize(np.zeros(N), np.empty(0), 100),
        "Batch": _core.Batch(Y, [None, X], [term], None),
    }


KINDS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict}


def fits(value: Any, annotation: ast.expr) -> bool:
    """Whether a value is what an annotation of the stub says."""
    text = ast.unparse(annotation)
    if text == "_Floats":
        return isinstance(value, np.ndarray) and value.dtype == np.float64
    if text.startswith("NDArray[np."):
        dtype = {"bool_": np.bool_}.get(text[11:-1]) or getattr(np, text[11:-1])
        return isinstance(value, np.ndarray) and value.dtype == dtype
    if isinstance(annotation, ast.BinOp):
        return fits(value, annotation.left) or fits(value, annotation.right)
    if text == "None":
        return value is None
    if text in TYPED_DICTS:
        return isinstance(value, dict)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "list":
        return isinstance(value, list) and all(fits(each, annotation.slice) for each in value)
    kind = KINDS[text.partition("[")[0]]
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


@pytest.mark.parametrize("name", NATIVE)
def test_attributes_have_the_annotated_types(name: str) -> None:
    thing = instances()[name]
    for member, node in members(NATIVE[name]).items():
        if is_property(node):
            assert node.returns is not None
            assert fits(getattr(thing, member), node.returns), member
            with pytest.raises(AttributeError):
                setattr(thing, member, None)


def typed_dicts() -> dict[str, dict[str, Any]]:
    made = instances()
    problem, optimum, batch = made["Problem"], made["Optimum"], made["Batch"]
    directions = [(0, np.ones((1, 1)))]
    return {
        "Step": optimum.trace[0],
        "Cone": optimum.cone[0],
        "Moments": problem.moments(optimum.theta, directions, True),
        "Fits": batch.fit(np.vstack([Y, Y[::-1]]), True, None, 100, True, True),
    }


@pytest.mark.parametrize("name", TYPED_DICTS)
def test_dicts_have_the_keys_and_types_of_the_stub(name: str) -> None:
    fields = [node for node in TYPED_DICTS[name].body if isinstance(node, ast.AnnAssign)]
    keys = {ast.unparse(each.target): each.annotation for each in fields}
    if name == "Cone":  # its keyword key is in the base
        keys["lambda"] = ast.Name("_Floats")
    found = typed_dicts()[name]
    assert set(found) == set(keys)
    for key, annotation in keys.items():
        assert fits(found[key], annotation), key


# --- the package ----------------------------------------------------------------------------------------


def test_the_package_is_marked_as_typed() -> None:
    assert files("mixwell").joinpath("py.typed").is_file()
    assert files("mixwell").joinpath("_core.pyi").is_file()


def unwrapped(function: Any) -> Any:
    if isinstance(function, property):
        return function.fget
    if isinstance(function, functools.cached_property):
        return function.func
    if isinstance(function, staticmethod | classmethod):
        function = function.__func__
    return inspect.unwrap(function) if callable(function) else None


def callables(name: str, thing: Any) -> list[tuple[str, Any]]:
    """Return a function, or the methods and properties that a class of ours offers to its users."""
    if inspect.isfunction(thing):
        return [(name, unwrapped(thing))]
    if not inspect.isclass(thing):
        return []
    out = []
    for base in thing.__mro__:
        if base.__module__.partition(".")[0] == "mixwell":
            for member, value in vars(base).items():
                function = None if isinstance(value, type) else unwrapped(value)
                if (not member.startswith("_") or member == "__init__") and inspect.isfunction(function):
                    out.append((f"{name}.{member}", function))
    return out


MODULES = ["mixwell", "mixwell.data", "mixwell.sklearn"]
OFFERED = {
    f"{module}.{where}": function
    for module in MODULES
    for name in importlib.import_module(module).__all__
    for where, function in callables(name, getattr(importlib.import_module(module), name))
}


def test_public_callables_are_annotated() -> None:
    assert len(OFFERED) > 200
    missing = []
    for where, function in OFFERED.items():
        generated = function.__code__.co_filename.startswith("<")  # by dataclasses
        parameters = list(inspect.signature(function).parameters.values())
        owned = "." in where.removeprefix("mixwell.data.").removeprefix("mixwell.sklearn.").removeprefix(
            "mixwell."
        )
        for at, parameter in enumerate(parameters):
            own = owned and at == 0 and parameter.name in ("self", "cls", "m")
            if parameter.annotation is inspect.Parameter.empty and not own:
                missing.append(f"{where}({parameter.name})")
        if "return" not in function.__annotations__ and not generated:
            missing.append(f"{where} -> ?")
    assert not missing


def test_names_for_type_checkers_are_those_at_runtime() -> None:
    """`__init__` imports names lazily; what it tells a type checker must be the same."""
    tree = ast.parse(Path(mw.__file__).read_text("utf-8"))
    [block] = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    told = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(told) | {"__version__"} == set(mw.__all__)
    for name, module in told.items():
        source = importlib.import_module(str(module))
        assert getattr(mw, name) is getattr(source, name, None) or name == "data"
    assert typing.get_type_hints(mw.lmer)["return"] is mw.FittedModel
