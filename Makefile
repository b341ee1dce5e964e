# make demo   train an agent that chops trees, on the terminal    make test       everything that must hold, under 20 minutes
# make lab    the same in a notebook                              make test-full  all the rest
# make venv   install only                                        make clean      remove what make made (not runs/)
# make bench-learning   the learning benchmarks that are not done yet: hours, and may be stopped at any time

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := $(BIN)/python -m minestudio_nb.run chop_tree --name demo --replace --report
export OMP_NUM_THREADS ?= 1

.PHONY: venv demo lab test test-full lint docs bench-learning clean
.DEFAULT_GOAL := demo

venv: $(STAMP)

$(STAMP): pyproject.toml constraints-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) is there. Say which: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "python3-venv is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints-cpu.txt -e '.[lab,dev,wandb]'
	@touch $@

# The simulator is compiled once per machine; the first line shows how far that is.
demo: $(STAMP)
	$(BIN)/python -m minestudio_nb.simulator.compile_cache
	$(DEMO)

lab: $(STAMP)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/01_quickstart.ipynb

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m minestudio_nb.simulator.compile_cache
	$(BIN)/python -m pytest -m "not full"
	MSNB_TEST=1 $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 150 -p no:cacheprovider notebooks

test-full: test
	$(BIN)/python -m pytest -m full --timeout 3600

# The reference pages that follow from the code.
docs: $(STAMP)
	$(BIN)/python docs/generate.py

.venv/.bench-installed: $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints-cpu.txt -e '.[bench]'
	@touch $@

bench-learning: .venv/.bench-installed
	$(BIN)/python -m benchmarks.learning
	$(BIN)/python -m benchmarks.learning --publish

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find minestudio_nb tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
