# Each target is complete by itself on a fresh Debian or Ubuntu machine with only Python and make:
# it makes `.venv`, installs what it needs, and is quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAINTS := requirements/constraints.txt

# Torch and BLAS take every core of the machine unless told otherwise, which slows small arrays down.
OMP_NUM_THREADS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 4 ] && n=4; echo $$n)
export OMP_NUM_THREADS
export PYTHON

# Where levin, lai and real lie; Kodak's images are in ../data beside them.
BENCH ?= ../shared/bench

# On Linux windows open on a virtual screen and OpenGL runs in software, on every machine alike.
ON_SCREEN = $(if $(shell command -v xvfb-run 2>/dev/null),\
	env LIBGL_ALWAYS_SOFTWARE=1 QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1080x24 +extension GLX")

.PHONY: help demo test lint format types layers unit manifest wheel docs bench speed accuracy screenshots soak \
	lowest snapshots constraints venv clean distclean

help: ## Say what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.base ## Deblur a photograph with real camera shake and one with a known kernel
	$(BIN)/napari-deblur demo

test: lint types layers unit manifest wheel docs ## Run everything that continuous integration runs
	@echo "all tests passed"

lint: $(VENV)/.dev ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## Mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

layers: $(VENV)/.dev ## Check that no module imports from a layer above its own
	$(BIN)/lint-imports

unit: $(VENV)/.dev $(VENV)/.screen ## Run the tests with coverage (some: make unit TESTS=tests/blur)
	$(BIN)/coverage erase
	NAPARI_STRICT_QT=1 $(ON_SCREEN) $(BIN)/python -m pytest --cov --cov-report=term --durations=15 $(TESTS)

manifest: $(VENV)/.dev ## Validate the napari manifest
	$(BIN)/npe2 validate src/napari_deblur/napari.yaml

wheel: $(VENV)/.dev ## Build the wheel and use it in an environment without Qt
	$(BIN)/python .ci/check_wheel.py

docs: $(VENV)/.dev ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.dev ## Measure speed and memory
	for script in $(filter-out benchmarks/_% benchmarks/accuracy.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# One that was stopped goes on where it was; `make speed SPEED="scaling startup"` measures these only,
# and `make speed SPEED=inference DEVICE=cuda` on a graphics card.
DEVICE ?= cpu
SPEED ?= reference correlation inference scaling classical startup precision
PRECISION_PICTURES = --pictures $(BENCH)/../data/kodak.zip --levin $(BENCH)/levin

speed: $(VENV)/.dev ## Measure speed and memory for the documentation (half an hour, quiet machine)
	set -e; for name in $(SPEED); do echo "== $$name"; more=; \
		[ $$name = precision ] && more="$(PRECISION_PICTURES)"; \
		[ $(DEVICE) = cpu ] || more="$$more --device $(DEVICE)"; on=$(DEVICE:cpu=); \
		$(BIN)/python benchmarks/$$name.py --full $$more \
			--json benchmarks/results/$$name$${on:+-$$on}.json; done
	$(BIN)/python benchmarks/_speed_tables.py

accuracy: $(VENV)/.dev ## Measure accuracy for the documentation (BENCH=folder of the benchmarks)
	$(BIN)/python benchmarks/accuracy.py --bench $(BENCH) $(ARGS)

screenshots: $(VENV)/.dev $(VENV)/.screen ## Make the pictures of the documentation anew
	$(ON_SCREEN) $(BIN)/python docs/screenshots.py
	$(BIN)/python docs/tutorial_pictures.py
	$(BIN)/python docs/overview_picture.py

soak: $(VENV)/.dev $(VENV)/.screen ## Run the tests that take minutes to hours; keep their figures
	NAPARI_STRICT_QT=1 $(ON_SCREEN) $(BIN)/python .ci/soak.py $(TESTS)

lowest: $(VENV)/.dev ## Run tests with the lowest versions that pyproject.toml allows
	$(BIN)/python .ci/check_lowest.py $(TESTS)

snapshots: $(VENV)/.dev ## Write down the public interface and the licences of what is installed
	$(BIN)/python .ci/public_api.py
	$(BIN)/python docs/licences.py

constraints: $(VENV)/.dev ## Write down the versions that are installed in .venv
	$(PIP) freeze --exclude-editable | sed 's/+cpu$$//' > $(CONSTRAINTS).new
	mv $(CONSTRAINTS).new $(CONSTRAINTS)

venv: $(VENV)/.dev ## Only make the environment

clean: ## Remove what was built
	rm -rf build dist site demo-output *.egg-info .coverage .coverage.* .tmp
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environment too
	rm -rf $(VENV)

$(VENV)/.python:
	.ci/system-packages python
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"
	touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable ".[dask,napari,training]" --group dev
	touch $@

$(VENV)/.screen: $(VENV)/.python .ci/system-packages
	.ci/system-packages screen
	touch $@
