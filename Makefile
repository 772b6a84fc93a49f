# make demo: build, install, fit sleepstudy.   make test: everything that must pass.
# Needs Python >= 3.11 (with venv), a C toolchain and cargo. CARGO_TARGET_DIR may point to a cache outside the clone.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find crates src -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.csv')

.PHONY: demo test lint build bench clean

demo: $(VENV)/.built
	@$(BIN)/python -m mixwell.demo

test: $(VENV)/.test $(VENV)/.bridges
	cargo test --workspace --release --quiet
	$(BIN)/python -m pytest -n 2 tests
	$(BIN)/python -m pytest --doctest-modules --pyargs mixwell
	$(VENV)/bridges/bin/python -m pytest tests/test_marginaleffects.py

lint: $(VENV)/.lint
	cargo fmt --check
	cargo clippy --workspace --all-targets --release -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest mixwell._core --ignore-disjoint-bases

build: $(VENV)/.built

# Against lme4 (if R is there) and glmm, in one run; see bench/README.md.
bench: $(VENV)/.test
	$(BIN)/python bench/run.py
	$(BIN)/python bench/inference.py
	$(BIN)/python bench/generalised.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip

# A non-editable install: what is tested is what a user gets.
$(VENV)/.built: $(BIN)/python $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check .
	@touch $@

$(VENV)/.test: $(VENV)/.built pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --group test
	@touch $@

# marginaleffects 0.6 does not work with polars 2, so it has an environment of its own on top of the other one.
$(VENV)/.bridges: $(VENV)/.test
	$(PYTHON) -m venv $(VENV)/bridges
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > $$($(VENV)/bridges/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/mixwell.pth
	$(VENV)/bridges/bin/pip install --quiet --disable-pip-version-check "marginaleffects>=0.6" "polars>=1.26,<2"
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check --group lint
	@touch $@

clean:
	rm -rf $(VENV) target
