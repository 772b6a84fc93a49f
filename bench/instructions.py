"""Count the instructions of small fits under callgrind: repeatable where seconds are not.

Prints the instructions of one further fit: the difference between runs with 11 and with 1 fits, over 10.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile

FITS = {
    "sleepstudy": "mw.lmer('Reaction ~ Days + (Days | Subject)', mw.data.load('sleepstudy', 'dict')).fixef",
    "penicillin": "mw.lmer('diameter ~ (1|plate) + (1|sample)', mw.data.load('penicillin', 'dict')).fixef",
    "pastes": "mw.lmer('strength ~ 1 + (1 | batch/cask)', mw.data.load('pastes', 'dict')).fixef",
}


def count(code: str, fits: int) -> int:
    """Instructions of a process that fits so many times."""
    program = f"import mixwell as mw\nfor _ in range({fits}): {code}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                sys.executable,
                "-c",
                program,
            ],
            capture_output=True,
            text=True,
            check=True,
            env={
                "RAYON_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "PATH": "/usr/bin:/bin",
                "PYTHONHASHSEED": "0",
            },
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
    subprocess.run([sys.executable, "-c", "import mixwell as mw\n" + "\n".join(FITS.values())], check=True)
    for name, code in FITS.items():
        print(f"{name}: {(count(code, 11) - count(code, 1)) // 10:,} instructions per fit")


if __name__ == "__main__":
    main()
