"""Count the instructions of small fits under callgrind: repeatable where seconds are not.

Prints the instructions of one further fit: the difference between runs with 60 and with 10 fits, over 50.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile

FITS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "penicillin": "diameter ~ (1 | plate) + (1 | sample)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
}

# The same for every process: an inherited PYTHONDONTWRITEBYTECODE would leave compiling to the first count.
ENVIRONMENT = {
    "RAYON_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
}


def program(name: str, fits: int) -> str:
    """Code of a process that loads a table once and fits it so many times."""
    fit = f"mw.lmer({FITS[name]!r}, table).fixef"
    load = f"import mixwell as mw\ntable = mw.data.load({name!r}, 'dict')"
    return f"{load}\nfor _ in range({fits}): {fit}"


def count(name: str, fits: int) -> int:
    """Instructions of a process that fits so many times."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                sys.executable,
                "-c",
                program(name, fits),
            ],
            capture_output=True,
            text=True,
            check=True,
            env=ENVIRONMENT,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise SystemExit(done.stderr)
    return int(found.group(1))


def main() -> None:
    """Print instructions per fit."""
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed")
    # Once without valgrind, so that no count contains the compilation of a changed module.
    # The first fits also import modules and fill caches: what is counted is fits after those.
    for name in FITS:
        subprocess.run([sys.executable, "-c", program(name, 1)], check=True, env=ENVIRONMENT)
        print(f"{name}: {(count(name, 60) - count(name, 10)) // 50:,} instructions per fit")


if __name__ == "__main__":
    main()
