# Each target is a line or two; the work is in cargo and scripts/.
.DEFAULT_GOAL := help
.PHONY: help golden-istio setup mlflow wasm cli install demo recording mlflow-demo test test-mesh test-long fuzz mutants lint bench bench-analysis bench-exposures bench-ways agreement clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## fetch what cargo does not: the wasm target, Envoy, a Python environment
	@scripts/setup.sh

mlflow: ## also fetch MLflow, which is large: its tests and examples/pipeline need it
	@scripts/setup.sh mlflow

wasm: setup ## build the filter: dist/sidetrack.wasm
	@scripts/build-wasm.sh

cli: wasm ## build the command with the filter inside: dist/sidetrack
	@scripts/build-cli.sh

install: cli ## install the command, also as kubectl sidetrack, with its manual pages (PREFIX, default /usr/local)
	@scripts/install.sh

demo: cli ## watch an A/B test in a real Envoy on this machine
	dist/sidetrack demo

recording: cli ## record the demo: docs/images/demo.svg and demo.cast
	@scripts/record-demo.py --cast docs/images/demo.cast --svg docs/images/demo.svg --until "no files are left" -- \
		dist/sidetrack demo --for 8s --no-keep

mlflow-demo: mlflow wasm cli ## watch models go from MLflow's registry through A/B tests to a promotion or a rollback
	@scripts/setup.sh tests
	@examples/pipeline/run.sh

test: ## run all tests, including those in a real Envoy
	@scripts/test.py

test-mesh: ## run the tests on real control planes: API server, istiod, Envoy Gateway (needs Go; the first build takes 10 minutes)
	@scripts/test.py --mesh

golden-istio: ## write tests/golden/istio/newest again: what istiod makes of our manifests (needs Go); review the diff
	@scripts/mesh.sh sidetrack-istiod
	@UPDATE=1 cargo test --test mesh goldens::

test-long: wasm cli ## run the long tests: a million requests, every supported Envoy, a minute of each fuzzer (about an hour)
	@scripts/test-long.sh

fuzz: setup ## fuzz for a minute per target (FUZZ_SECONDS=3600 for longer; needs a C++ compiler)
	@scripts/fuzz.sh

mutants: ## check that tests notice broken code (hours; MUTANTS_SHARD=0/12 for every twelfth mutant)
	@scripts/setup.sh mutants
	@scripts/mutants.sh

lint: setup ## check the formatting, the lints and the documentation
	scripts/check-docs.py
	scripts/check-borders.py
	cargo fmt --check
	cargo clippy --workspace --exclude sidetrack-filter --all-targets -- -D warnings
	cargo clippy -p sidetrack-filter --target wasm32-wasip1 -- -D warnings
	.tools/py/bin/zizmor --offline --quiet --config .github/zizmor.yml .github/workflows \
		examples/pipeline/advance.yml examples/pipeline/follow.yml

bench: wasm ## measure the cost of a request in a real Envoy: instructions, time, memory (needs valgrind and wrk)
	@benches/run.sh

bench-analysis: cli ## measure `analyze run` beside DuckDB: 10 million lines (LINES=1000000 for fewer)
	@benches/run.sh --analysis --lines $(or $(LINES),10000000)

bench-exposures: cli wasm ## measure what logging exposures adds to the latency of a request
	@benches/run.sh --exposures

bench-ways: cli ## measure the same analysis from each format of files and by each engine (fetches Spark)
	@benches/run.sh --ways

agreement: cli ## compare the statistics with SciPy, statsmodels, GrowthBook and others: the worst differences (fetches 900 MB)
	@scripts/setup.sh reference
	@.tools/reference/bin/python -B analysis/reference/agreement.py

clean: ## remove build results, but not .tools
	cargo clean
	rm -rf dist
