# The front door. `make run` and `make test` are all that a newcomer needs; both say aloud what
# they install before they install it.

TARGET  := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
FAST    := target/$(TARGET)/fast/pxrun
RELEASE := target/$(TARGET)/release/pxrun
PREFIX  ?= /usr/local
# Measurements share the tests' build: what is timed is another program.
MEASURE := cargo bench --quiet --profile dev --bench

# The suites drive this binary.
export PXRUN_BIN ?= $(CURDIR)/$(FAST)

.PHONY: help run build release install deb test-deb lint test test-all bench bench-short docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: build ## build, make a small bundle, run it, show its output
	hack/run-demo $(FAST)

build: ## build the binary that the tests drive
	hack/deps
	cargo build --profile fast

release: ## build the binary to install: smallest and fastest
	hack/deps
	cargo build --release

install: release ## install it below PREFIX (/usr/local)
	install -D -m 0755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/pxrun

deb: release ## make the Debian package, in target/deb
	hack/deb $(RELEASE) target/deb

test-deb: build ## install and purge the package in Debian 12 and 13 roots (makes them once: minutes)
	hack/test-deb "$$(hack/deb $(FAST) target/deb-test)"

lint: ## formatting and clippy, as CI wants them
	hack/deps
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	hack/check-rooms

test: build ## install what the tests need and run them all on the embedded backend
	hack/test-deps
	hack/test embedded

test-all: test ## the same suites on every backend that this version has



bench: release ## compare with runc and crun, write the table into README.md (some minutes)
	hack/test-deps
	$(MEASURE) runtimes -- --pxrun $(RELEASE) --update README.md

bench-short: build ## the same in seconds: fails if the runtime is grossly slow
	hack/test-deps
	$(MEASURE) runtimes -- --pxrun $(FAST) --rounds 12

docs: ## generate docs/cli.md, man pages and completions
	cargo run --quiet --example docs -- target/docs

clean:
	cargo clean
