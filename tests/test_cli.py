"""The command line: output, exit codes, files of every kind, JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell.cli.main import main
from mixwell.cli.reading import read

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    assert main(["data", "sleepstudy", "--out", str(path / "sleep.csv")]) == 0
    assert main(["data", "cbpp", "--out", str(path / "cbpp.csv")]) == 0
    return path


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_fit_prints_the_summary(folder: Path, capsys: Any) -> None:
    code, out, err = run(capsys, "fit", SLEEP, str(folder / "sleep.csv"))
    assert (code, err) == (0, "")
    assert out.strip() == mw.fit(SLEEP, mw.data.load("sleepstudy", "dict")).summary()


def test_options_of_the_model_reach_it(folder: Path, capsys: Any) -> None:
    arguments = ("cbind(incidence, size - incidence) ~ factor(period) + (1 | herd)", str(folder / "cbpp.csv"))
    _, out, _ = run(capsys, "fit", *arguments, "--family", "binomial", "--link", "probit", "--nagq", "7")
    assert "binomial (probit)" in out
    assert "7 nodes" in out
    _, out, _ = run(capsys, "fit", SLEEP, str(folder / "sleep.csv"), "--method", "ML")
    assert "fitted by ML" in out
    _, out, _ = run(capsys, "fit", SLEEP, str(folder / "sleep.csv"), "--ddf", "kenward-roger")
    assert "Kenward-Roger" in out


def test_json_is_strict_and_has_the_numbers(folder: Path, capsys: Any) -> None:
    target = folder / "fit.json"
    assert main(["fit", SLEEP, str(folder / "sleep.csv"), "--json", str(target)]) == 0
    found = json.loads(target.read_text(), parse_constant=pytest.fail)
    m = mw.fit(SLEEP, mw.data.load("sleepstudy", "dict"))
    assert found["formula"] == str(m.formula)
    assert [row["term"] for row in found["coefficients"]] == list(m.fixef.names)
    np.testing.assert_allclose([row["estimate"] for row in found["coefficients"]], m.fixef.values, rtol=1e-12)
    assert found["statistics"]["nobs"] == 180
    assert found["levels"] == {"Subject": 18}
    assert found["certificate"]["passed"] is True
    assert len(found["random_effects"]) >= 3
    assert found["mixwell"] == mw.__version__


def test_json_of_a_generalised_model(folder: Path, capsys: Any) -> None:
    formula = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
    code, out, _ = run(
        capsys, "fit", formula, str(folder / "cbpp.csv"), "--family", "binomial", "--json", "-"
    )
    assert code == 0
    found = json.loads(out[out.index("{\n") :], parse_constant=pytest.fail)
    assert (found["family"], found["link"]) == ("binomial", "logit")


def test_refusals_are_messages_with_a_caret(folder: Path, capsys: Any) -> None:
    code, out, err = run(capsys, "fit", "Reaction ~ Dys", str(folder / "sleep.csv"))
    assert (code, out) == (1, "")
    assert "MW-F20" in err
    assert "^^^" in err
    assert "Did you mean 'Days'?" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "code"), [("no.csv", "MW-A146"), ("sheet.xlsx", "MW-A147"), ("ragged.csv", "MW-A147")]
)
def test_files_that_cannot_be_read(folder: Path, capsys: Any, name: str, code: str) -> None:
    (folder / "ragged.csv").write_text("a,b\n1,2\n3\n")
    exit_code, _, err = run(capsys, "fit", "a ~ b", str(folder / name))
    assert exit_code == 1
    assert code in err


def test_usage_errors_exit_with_two(capsys: Any) -> None:
    for arguments in ([], ["fit"], ["fitt"], ["fit", "y ~ x", "d.csv", "--method", "MLE"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        assert "usage:" in capsys.readouterr().err


def test_a_fit_without_certificate_exits_with_three(folder: Path, capsys: Any) -> None:
    (folder / "edge.csv").write_text(
        "y,f\n" + "".join(f"{y},{f}\n" for y, f in zip("011011000", "aaabbbccc", strict=True))
    )
    code, out, err = run(
        capsys, "fit", "y ~ f", str(folder / "edge.csv"), "--family", "binomial", "--link", "identity"
    )
    assert code == 3
    assert "NOT certified" in out
    assert "warning" in err


@pytest.mark.parametrize("command", [[], ["fit"], ["compare"], ["emmeans"], ["power"], ["data"], ["demo"]])
def test_help_teaches(capsys: Any, command: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes" in out
    if command and command != ["demo"]:
        assert "example" in out
        assert f"mixwell {command[0]}" in out


def test_emmeans_prints_means_then_contrasts(folder: Path, capsys: Any) -> None:
    arguments = ("emmeans", SLEEP, str(folder / "sleep.csv"), "--specs", "Days", "--at", "Days", "0", "5")
    m = mw.fit(SLEEP, mw.data.load("sleepstudy", "dict"))
    means = m.emmeans("Days", at={"Days": [0, 5]})
    code, out, err = run(capsys, *arguments, "--contrast", "pairwise", "--adjust", "holm")
    assert (code, err) == (0, "")
    assert out == f"{means}\n\n{means.contrast('pairwise', adjust='holm')}\n"
    _, out, _ = run(capsys, *arguments, "--adjust", "bonferroni", "--ddf", "kenward-roger")
    wanted = m.emmeans("Days", at={"Days": [0, 5]}, adjust="bonferroni", ddf="kenward-roger")
    assert out == f"{wanted}\n"


def test_compare(folder: Path, capsys: Any) -> None:
    code, out, _ = run(capsys, "compare", "Reaction ~ Days + (1 | Subject)", SLEEP, str(folder / "sleep.csv"))
    assert code == 0
    assert "Likelihood-ratio tests" in out


def test_power(folder: Path, capsys: Any) -> None:
    arguments = ("--effect", "Days", "3", "--extend", "Subject", "30", "--n-sim", "20", "--seed", "1")
    code, out, _ = run(capsys, "power", SLEEP, str(folder / "sleep.csv"), *arguments)
    assert code == 0
    assert "Days" in out


def test_data(capsys: Any) -> None:
    _, out, _ = run(capsys, "data")
    assert "Belenky" in out
    _, out, _ = run(capsys, "data", "dyestuff")
    assert out.splitlines()[0] == "Batch,Yield"
    code, _, err = run(capsys, "data", "nothing")
    assert code == 1
    assert "MW-A40" in err


def test_standard_input(monkeypatch: Any, folder: Path, capsys: Any) -> None:
    class Pipe:
        buffer = io.BytesIO((folder / "sleep.csv").read_bytes())

    monkeypatch.setattr("sys.stdin", Pipe())
    code, out, _ = run(capsys, "fit", "Reaction ~ Days", "-")
    assert code == 0
    assert "180 rows" in out


@pytest.mark.parametrize("ending", ["parquet", "feather", "arrow"])
def test_binary_files(folder: Path, capsys: Any, ending: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
    sleep = mw.data.load("sleepstudy", "dict")
    table = pyarrow.table({name: list(values) for name, values in sleep.items()})
    path = folder / f"sleep.{ending}"
    (parquet.write_table if ending == "parquet" else feather.write_feather)(table, str(path))
    code, out, _ = run(capsys, "fit", SLEEP, str(path))
    assert code == 0
    assert "10.467" in out


def test_columns_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("\ufeffa\tb\tc\td\n1\t2.5\tx\t1\n\t3\tNA\t2\n", encoding="utf-8")
    table = read(str(tmp_path / "t.tsv"))
    assert list(table) == ["a", "b", "c", "d"]
    assert table["d"].dtype == np.int64
    np.testing.assert_array_equal(table["a"], [1.0, np.nan])
    assert table["c"].tolist() == ["x", None]


def test_large_text_files_go_through_a_library(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("mixwell.cli.reading.SMALL", 0)
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,\n")
    table = read(str(tmp_path / "t.csv"))
    assert find_spec("pyarrow") is None or table.num_rows == 2


def test_as_a_process() -> None:
    """The version, and a pipe that closes early."""
    command = [sys.executable, "-m", "mixwell"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == f"mixwell {mw.__version__}"
    with subprocess.Popen(
        [*command, "data", "recognition"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)
