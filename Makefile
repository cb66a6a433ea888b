# The entry for people: each target says what it does under `make help`. CMake does the work; the
# presets are in CMakePresets.json and their build trees in build/<preset>.
#
#   make CC=clang                   another compiler, in a build tree of its own
#   make CONFIGURE=-DSHARDY_...=ON  further options for CMake
#   make install PREFIX=/usr        DESTDIR is honoured

PREFIX ?= /usr/local
DESTDIR ?=
CONFIGURE ?=
TIME ?=
T ?=

# With a compiler of the user's choice the tree is build/release-<compiler>.
RELEASE := build/release
ifneq ($(filter environment command line,$(origin CC)),)
export CC
ifneq ($(filter-out cc gcc,$(notdir $(firstword $(CC)))),)
RELEASE := build/release-$(notdir $(firstword $(CC)))
endif
ifneq ($(filter clang%,$(notdir $(firstword $(CC)))),)
ifeq ($(filter environment command line,$(origin CXX)),)
CXX := $(patsubst clang%,clang++%,$(CC))
export CXX
endif
endif
endif
CONFIGURE_RELEASE = cmake --preset release -B $(RELEASE) -DCMAKE_INSTALL_PREFIX=$(PREFIX) \
	$(CONFIGURE)

.DEFAULT_GOAL := all
.PHONY: all demo demo-s3 check quick test lint format tidy install bench plots torture race fuzz \
	asan tsan coverage docs clean help

all: ## build the library and the command (build/release)
	@$(CONFIGURE_RELEASE) --log-level=WARNING >/dev/null
	@cmake --build $(RELEASE)

demo: ## set up, build, and show a snapshot being built, read and searched
	@scripts/setup build
	@$(MAKE) --no-print-directory all
	@SHARDY=$(CURDIR)/$(RELEASE)/cli/shardy scripts/demo

demo-s3: ## the same in a bucket, then with its manifests in Postgres; it starts both servers
	@scripts/setup build test
	@$(MAKE) --no-print-directory all
	@SHARDY=$(CURDIR)/$(RELEASE)/cli/shardy scripts/demo-s3 postgres

check: ## set up, build and run all tests; ends with "N passed, N failed"
	@scripts/setup test
	@scripts/check

quick: ## the tests of the dev build only (build/dev)
	@scripts/setup test
	@scripts/check quick

test: ## one test or some: make test T=unit/test_route
	@scripts/setup test
	@scripts/test "$(T)"

lint: ## rules of the house, format, static analysis
	@scripts/setup lint
	@scripts/lint

format: ## put C files into the format of the house
	@scripts/setup lint
	@scripts/format

tidy: ## clang-tidy over src/ and cli/ (slower than lint)
	@scripts/setup test
	@scripts/tidy

install: all ## install to PREFIX (default /usr/local) below DESTDIR
	@DESTDIR="$(DESTDIR)" cmake --install $(RELEASE) --prefix "$(PREFIX)"
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig 2>/dev/null || true

bench: ## against sqlite3, LMDB, sqlite-vec: make bench [BENCH="get search"] [QUICK=1] [DATA=DIR]
	@scripts/setup bench
	@scripts/fetch-sqlite-vec
	@$(CONFIGURE_RELEASE) --log-level=WARNING -DSHARDY_BUILD_BENCH=ON >/dev/null
	@cmake --build $(RELEASE) --target bench_all
	@BUILD=$(CURDIR)/$(RELEASE) bench/run

plots: ## draw docs/plots and the tables of docs/performance.md from docs/plots/figures.jsonl
	@bench/plot

torture: ## every fault at every point, and long random runs, with AddressSanitizer
	@scripts/setup test
	@scripts/check torture

race: ## the long race tests with ThreadSanitizer
	@scripts/setup test
	@scripts/check race

asan: ## the tests with AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/setup test
	@scripts/check asan

tsan: ## the short race tests with ThreadSanitizer
	@scripts/setup test
	@scripts/check tsan

fuzz: ## fuzz all parsers, 1800 s each, or one for 60 s: make fuzz [T=name] [TIME=s]
	@scripts/setup fuzz
	@if [ -n "$(T)" ]; then scripts/fuzz "$(T)" "$(or $(TIME),60)"; \
		else scripts/fuzz-all $(TIME); fi

coverage: ## lines and branches that the tests reach (build/coverage/html)
	@scripts/setup coverage
	@scripts/coverage

docs: ## reference from the public headers (build/docs/html)
	@scripts/setup docs
	@scripts/generate-docs
	@mkdir -p build/docs
	@doxygen docs/Doxyfile
	@echo "build/docs/html/index.html"

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | \
		expand -t 18
