# The front door. `make run` and `make test` are all that a newcomer needs; both say aloud what
# they install before they install it.

TARGET  := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
FAST    := target/$(TARGET)/fast/pxrun
RELEASE := target/$(TARGET)/release/pxrun
PREFIX  ?= /usr/local
export DESTDIR
# Measurements share the tests' build: what is timed is another program.
MEASURE := cargo bench --quiet --profile dev --bench

# Measurements of another backend: make load BACKEND=lxc.
ifdef BACKEND
export PXRUN_BACKEND := $(BACKEND)
endif
# valgrind can't look into the allocator of a static program.
DYNAMIC := -L native=/usr/lib/$(shell gcc -print-multiarch 2>/dev/null)

FUZZ_SECONDS ?= 60

# The suites drive this binary.
export PXRUN_BIN ?= $(CURDIR)/$(FAST)

.PHONY: help run build release install uninstall deb test-deb picture dist lint test test-all check-oldest check-freebsd bench bench-short coverage leaks leaks-short load load-short fuzz fuzz-short deny sanitize reproducible docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: build ## build, make a small bundle, run it, show its output
	hack/run-demo $(FAST)

build: ## build the binary that the tests drive
	hack/deps
	cargo build --profile fast

release: ## build the binary to install: smallest and fastest, the same bytes anywhere
	hack/deps
	hack/release

install: release ## install it with man pages and completions below PREFIX (/usr/local)
	PREFIX=$(PREFIX) hack/install $(RELEASE)

uninstall: ## take away what `make install` has put there
	PREFIX=$(PREFIX) hack/install --remove

deb: release ## make the Debian package, in target/deb
	hack/deb $(RELEASE) target/deb

test-deb: build ## install and purge the package in Debian 12 and 13 roots (makes them once: minutes)
	hack/test-deb "$$(hack/deb $(FAST) target/deb-test)"

picture: build ## draw the README's picture from what podman prints
	cargo test --quiet --test docs picture -- --ignored

dist: ## what a release consists of, in target/dist
	hack/dist

lint: ## formatting and clippy, as CI wants them
	hack/deps
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps
	hack/check-rooms

test: build ## install what the tests need and run them all on the embedded backend
	hack/test-deps
	hack/test embedded

# Not yet on the simulated node: `hack/test proxmox` has tests that fail there. What guests do is
# shown by tests/proxmox.rs, which `test` runs.
test-all: test ## the same suites on LXC, runc and crun
	hack/test lxc
	hack/test runc --short
	hack/test crun --short

check-oldest: ## check the types with the oldest Rust that Cargo.toml promises (rustup brings it)
	hack/deps
	hack/check-oldest

check-freebsd: ## check the types of the jail backend for FreeBSD (installs Debian's rustc-web)
	hack/check-freebsd

bench: release ## compare with runc and crun, write the table into README.md (some minutes)
	hack/test-deps
	$(MEASURE) runtimes -- --pxrun $(RELEASE) --update README.md
	hack/bench-bundles $(RELEASE)

coverage: ## print the line coverage of all suites, at least 80 % (as root; long)
	hack/deps
	hack/test-deps
	hack/coverage

leaks: build ## 1,000 lives of a container: what is left of them? And valgrind (some minutes)
	hack/test-deps
	RUSTFLAGS="$(DYNAMIC)" cargo build --bin pxrun --target-dir target/dynamic
	$(MEASURE) leaks -- --watched target/dynamic/$(TARGET)/debug/pxrun

leaks-short: build ## the same with 40 lives
	hack/test-deps
	$(MEASURE) leaks -- --cycles 40

load: build ## 200 containers at once, 500 standing, 200 in turn, 6 callers (some minutes)
	hack/test-deps
	$(MEASURE) load -- --plot target/load.svg

load-short: build ## the same with fewer
	hack/test-deps
	$(MEASURE) load -- --at-once 40 --standing 60 --in-turn 20 --mixed 10 --callers 4 --plot target/load.svg

bench-short: build ## the same in seconds: fails if the runtime is grossly slow
	hack/test-deps
	$(MEASURE) runtimes -- --pxrun $(FAST) --rounds 12
	hack/bench-bundles $(FAST) 0

fuzz: ## fuzz every reader for FUZZ_SECONDS each (60)
	hack/deps
	hack/fuzz $(FUZZ_SECONDS)

fuzz-short: ## have every reader read its corpus: what was found once stays mended
	hack/deps
	FUZZ_SEED=1 hack/fuzz 0

deny: ## check licences, sources and forbidden crates of what is linked
	hack/deny

sanitize: build ## a round of commands under AddressSanitizer, where nightly Rust is
	hack/sanitize

reproducible: ## build the release twice in different places and compare
	hack/deps
	hack/reproducible

docs: ## generate docs/cli.md, man pages and completions
	cargo run --quiet --example docs -- target/docs

clean:
	cargo clean
