# make quickstart: train a small FENet on synthetic scenes and look at the result
# make test: the tests that take minutes     make test-slow: those that take longer
# Each target sets up $(VENV) by itself. PYTHON=... and VENV=... choose another interpreter or folder, TESTS=... some tests.

VENV ?= .venv
# the first Python that is new enough and can make virtual environments
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
TESTS ?= tests

CORE := requirements.txt
DEV := requirements.txt requirements-extras.txt requirements-dev.txt
BENCHMARKS := roofline train-step loss hpf infer eval data scaling

.PHONY: quickstart test test-slow lint bench bench-gpu chaos fuzz faults reproduce clean
.NOTPARALLEL:

quickstart: $(VENV)/.core.stamp
	@PYTHON="$(VENV)/bin/python" sh scripts/quickstart.sh

# WORKERS=4 on more cores; each worker takes tests from the one that has more left
WORKERS ?= 2
test: $(VENV)/.dev.stamp
	"$(VENV)/bin/python" -m pytest -q -m "not slow" -n $(WORKERS) --dist worksteal $(TESTS)

# several processes each, which a second worker would disturb
test-slow: $(VENV)/.dev.stamp
	"$(VENV)/bin/python" -m pytest -q -m slow $(TESTS)

lint: $(VENV)/.dev.stamp
	"$(VENV)/bin/python" -m ruff check .

bench: $(VENV)/.core.stamp
	@mkdir -p runs/bench
	@for what in $(BENCHMARKS); do \
		echo "benchmark $$what"; \
		"$(VENV)/bin/python" scripts/benchmark.py "$$what" --json "runs/bench/$$what.json" || exit $$?; \
	done

# SCALE=0.1 a tenth of the cases, SEED=1 other ones, TARGETS="images options" some kinds; results in runs/fuzz.json
SCALE ?= 1
SEED ?= 0
fuzz: $(VENV)/.dev.stamp
	@mkdir -p runs
	"$(VENV)/bin/python" -m tests.campaigns.fuzz $(TARGETS) --scale $(SCALE) --seed $(SEED) --json runs/fuzz.json

# faults made by hand in a copy of the tree, each of which has to fail a test
faults: $(VENV)/.dev.stamp
	"$(VENV)/bin/python" -m tests.campaigns.faults

# needs a Python whose PyTorch sees a GPU, and sets nothing up
bench-gpu:
	@sh scripts/bench_gpu.sh

# SIGKILLs and SIGTERMs over a small run; KILLS=60 TERMS=16 JSON=docs/results/chaos_60.json for the log that is kept
KILLS ?= 20
TERMS ?= 12
JSON ?= runs/chaos.json
chaos: $(VENV)/.core.stamp
	rm -rf runs/chaos
	"$(VENV)/bin/python" tests/campaigns/chaos.py --kills "$(KILLS)" --terms "$(TERMS)" --out runs/chaos --json "$(JSON)"

# trains and scores as a receipt says, and compares; ID=... another receipt
ID ?= synthetic_fenet_quick
reproduce: $(VENV)/.core.stamp
	rm -rf "runs/reproduce/$(ID)"
	"$(VENV)/bin/python" scripts/reproduce.py "$(ID)"

clean:
	rm -rf runs/quickstart runs/bench runs/reproduce runs/chaos runs/chaos.json .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# a stamp is written last, so an interrupted set-up starts again
$(VENV)/.core.stamp: $(CORE) constraints.txt
	@sh scripts/setup_venv.sh "$(VENV)" "$(PYTHON)" $(CORE)
	@touch "$@"

$(VENV)/.dev.stamp: $(DEV) constraints.txt
	@sh scripts/setup_venv.sh "$(VENV)" "$(PYTHON)" $(DEV)
	@touch "$(VENV)/.core.stamp" "$@"
