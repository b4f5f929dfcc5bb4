# Two commands do all the set-up on a machine with Python 3.11 or newer and make:  make demo   and   make test
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUTPUT ?= demo

.PHONY: install demo test test-slow test-cluster check cohorts table site benchmarks clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mirror needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,slides,workflow,data,explain,view]"
	@touch $@

demo: install  ## simulate a cohort, run the main job on it, say where the report is
	$(BIN)/mirror demo --output $(OUTPUT)

test: install  ## fast tests, style and import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: install  ## the tests that take minutes
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m "slow and not cluster" --timeout 3600

test-cluster: install  ## a study through a real Slurm on this host (as root; skips where it cannot be started)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster --timeout 3600

check: install  ## static types (fetches pyright through npm on its first run)
	$(BIN)/pyright

site: install  ## the documentation, in build/site
	$(BIN)/python docs/build_site.py build/site

cohorts: install  ## the real cohorts beside the project, three seeds beside the opponents, and the README's tables from it
	$(BIN)/mirror sweep configs/sweeps/pretraining.yaml
	$(BIN)/mirror run configs/rcc.yaml
	$(BIN)/python docs/update_readme.py pretraining rcc

table: install  ## the whole table of three real cohorts: free baselines, supervised models, fine-tuning, alignment alone
	$(BIN)/mirror sweep configs/sweeps/pretraining.yaml --row alignment-only
	for cohort in brca coadread blca; do \
		$(BIN)/mirror run configs/$$cohort.yaml --supervised \
			--beside alignment-only=runs/pretraining/$$cohort/alignment-only || exit 1; \
	done

benchmarks: install  ## each prints its table and ends in one line of JSON; what a script lacks it says, and the others go on
	failed=; for script in step workflow $$(cd benchmarks && ls *.py | grep -vx 'step.py\|workflow.py' | sed 's/\.py$$//'); do \
		echo "== $$script"; OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$script.py || failed="$$failed $$script"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

clean:
	rm -rf $(VENV) demo runs build dist
