PYTHON := .venv/bin/python

# Containers often forbid Python to keep what it compiled: each process of a training then compiles
# nearly 3,000 modules anew, 6 s of a core.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup quickstart test lint benchmark clean

setup:
	@scripts/setup.sh

quickstart: setup
	.venv/bin/dlr quickstart

test: setup
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

benchmark: setup
	$(PYTHON) -m benchmarks.run

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
