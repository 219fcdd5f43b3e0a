# erlpy.  The two commands of the README are `make demo` and `make test`; on Debian 12
# they first install what is missing.
#
#   make             build (PYTHON=python3.12 make: against that Python)
#   make demo        stream a real file into Python (FILE=path: one of yours)
#   make serve       the upload page on http://127.0.0.1:8000/ (APP=module:app: any WSGI or
#                    ASGI application; more in examples/upload_server/run)
#   make test        every test
#   make test-matrix the suites on every CPython here, and on those of other Debians, which
#                    have another Erlang/OTP (hours; as root)
#   make first-hour  the ways to start that the README names, tried from its lines
#   make docs        the guides and references as one site, in _build/site
#   make bench       the table of ratios, and their plots (make plots: of the last table)
#   make bench-http  uploads, beside gunicorn and uvicorn (QUICK=1: a first look)
#   make bench-reactor   echoes, beside asyncio and uvloop (QUICK=1: a first look)
#   make fuzz        libFuzzer on stream, channel and terms (FUZZ_SECONDS=60 each)
#   make sanitize    the library in a real node under the sanitisers
#   make soak        mixed load for SOAK_MINUTES=60, with a plot of memory and threads
#   make io-stack    CPython's own tests of readers, over buffers
#   make dist        an archive of the source, in _build/dist
#   make clean       remove what was built
#
# Parts: `native` (the C part, into priv), `extension` (only the module for plain
# python3, into OUT), `warnings` (all C code, gcc and clang, -Werror), `format`, `static`
# (linters, types and the rooms; `tidy` and `cppcheck` are parts of it), `ct`,
# `pytest`, `io-stack-node`, `web`, `reactor`, `browser`, `dialyzer`, `xref`, `check-docs`,
# `check-examples`, `check-install`.

PYTHON ?= python3
REBAR3 ?= rebar3
OUT ?= priv
export PYTHON REBAR3

CPUS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
# One build of the C part at a time in a checkout.
LOCK := $(if $(shell command -v flock),flock _build/c/lock)
NATIVE = mkdir -p _build/c && \
    config=$$(tools/configure '$(PYTHON)') && $(LOCK) $(MAKE) --no-print-directory \
    $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(CPUS)) -f tools/native.mk \
    CONFIG="$$config" OUT='$(OUT)'
# The native part is there: rebar3's own hook need not look again.
REBAR := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL ERLPY_NATIVE=done $(REBAR3)

# Flask and the servers to compare with are Debian's, and so is their Python.
DEBIAN_PYTHON := /usr/bin/python3
DEBIAN_TREE := _build/python-usr-bin-python3/tree

.PHONY: all native extension demo serve test test-matrix docs bench plots bench-http bench-reactor soak clean \
        clean-native fuzz fuzz-stream fuzz-channel fuzz-terms \
        sanitize sanitize-address sanitize-thread \
        warnings format tidy cppcheck static ct pytest io-stack io-stack-node web reactor browser \
        dist dialyzer xref check-docs check-examples check-install first-hour

all:
	@tools/install build
	+@$(MAKE) --no-print-directory native
	@$(REBAR) compile

native:
	+@$(NATIVE) install

extension:
	+@$(NATIVE) install-extension

demo:
	@tools/install demo
	+@QUIET=1 $(MAKE) --no-print-directory all
	@examples/demo/run '$(FILE)'

# Its options come from the environment, and from the command line through make.
serve:
	@tools/install serve
	+@QUIET=1 $(MAKE) --no-print-directory all
	@examples/upload_server/run

test:
	@tools/install test
	+@$(MAKE) --no-print-directory all
	@python=$$(tools/find-python '$(PYTHON)') && \
	    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "$$python" tools/test.py

docs:
	@tools/install docs
	+@$(MAKE) --no-print-directory all
	+@$(MAKE) --no-print-directory extension PYTHON=$(DEBIAN_PYTHON) OUT=_build/docs
	@docs/site/build $(DEBIAN_PYTHON)

# PARTS="..." runs those with this in their names (PARTS=trixie).
test-matrix:
	@tools/install matrix
	+@$(MAKE) --no-print-directory all
	@python=$$(tools/find-python '$(PYTHON)') && \
	    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "$$python" tools/matrix.py $(PARTS)

FUZZ_SECONDS ?= 60

fuzz: fuzz-stream fuzz-channel fuzz-terms

fuzz-stream fuzz-channel: fuzz-%:
	@test/fuzz/run $* $(FUZZ_SECONDS)

fuzz-terms: all
	@test/fuzz/run terms $(FUZZ_SECONDS)

sanitize: sanitize-address sanitize-thread

sanitize-address sanitize-thread: sanitize-%: all
	@tools/sanitize $* build
	@tools/sanitize $* canaries
	@tools/sanitize $* suites $(SUITE)
	@[ "$*" = address ] || [ -n '$(SUITE)' ] || tools/sanitize $* python

SOAK_MINUTES ?= 60

soak: all
	@test/soak/run $(SOAK_MINUTES)

bench:
	@tools/install bench
	+@$(MAKE) --no-print-directory all
	@bench/run
	@$(DEBIAN_PYTHON) bench/plot.py

plots:
	@tools/install bench
	@$(DEBIAN_PYTHON) bench/plot.py

bench-http bench-reactor: bench-%:
	@PYTHON=$(DEBIAN_PYTHON) tools/install $@
	+@tools/in-copy $(DEBIAN_TREE) $(MAKE) --no-print-directory PYTHON=$(DEBIAN_PYTHON)
	+@$(MAKE) --no-print-directory -s -C bench/$*
	@$(DEBIAN_PYTHON) bench/$*/run.py --client _build/bench/$*/load \
	    --erlpy $(DEBIAN_TREE) $(if $(QUICK),--quick,--out bench/$*/results.json)
	@$(if $(QUICK),,$(DEBIAN_PYTHON) bench/$*/report.py)

tidy:
	+@$(NATIVE) -k tidy

cppcheck:
	@cppcheck -q -j$(CPUS) --std=c11 --enable=warning,performance,portability \
	    --library=python --library=posix --library=gnu --inline-suppr \
	    -DPy_BEGIN_ALLOW_THREADS= -DPy_END_ALLOW_THREADS= --error-exitcode=1 c_src

# The checks that run nothing of ours: make static ARGS="rooms stubs" runs some of them.
static: all
	@python=$$(tools/find-python '$(PYTHON)') && \
	    "$$python" test/static/run.py --extension '$(OUT)/python' $(ARGS)

warnings:
	+@status=0; for cc in gcc clang; do \
	    echo "warnings: $$cc"; \
	    $(NATIVE) -k objects CC=$$cc WERROR=1 OBJ="$$config/warnings-$$cc" || status=1; \
	done; exit $$status
	+@$(MAKE) --no-print-directory -C test/stream warnings

format:
	@find c_src test bench -name '*.[ch]' | xargs clang-format --dry-run -Werror

ct: all
	@$(REBAR) ct $(if $(SUITE),--suite $(SUITE)) $(if $(CASE),--case $(CASE))

# For another Python: make pytest PYTHON=python3.13 OUT=_build/python3.13
pytest: extension
	@tools/pytest '$(PYTHON)' '$(OUT)' $(ARGS)

# CPython's own tests of input and output, over buffers.  Python and OUT as for pytest.
io-stack: extension
	@test/io_stack/run plain '$(PYTHON)' '$(OUT)' $(ARGS)

io-stack-node: all
	@test/io_stack/run node $(ARGS)

# Flask, Django and Starlette behind the upload server, beside gunicorn and uvicorn.  Where
# python3 lacks them: make web PYTHON=/usr/bin/python3
web: all
	@tools/pytest '$(PYTHON)' '$(OUT)' $(or $(ARGS),test/web)

# The examples of the reactor with curl, wrk and the clients of Redis.  h11 is of Debian's
# Python: make reactor PYTHON=/usr/bin/python3
reactor: all
	@tools/pytest '$(PYTHON)' '$(OUT)' $(or $(ARGS),test/reactor)

# The upload page in Chromium, and what `make serve` prints.  Selenium is of Debian's Python.
browser: all
	@tools/pytest /usr/bin/python3 '$(OUT)' $(or $(ARGS),test/browser)

dialyzer: all
	@$(REBAR) dialyzer

xref: all
	@$(REBAR) xref

check-docs: all
	@python=$$(tools/find-python '$(PYTHON)') && status=0; \
	    "$$python" test/docs/run.py || status=1; \
	    "$$python" test/docs/shell.py || status=1; \
	    "$$python" test/docs/plots.py || status=1; \
	    "$$python" test/docs/examples.py || status=1; \
	    "$$python" test/docs/cases.py || status=1; exit $$status

# Those of check-docs that run the programs in examples/.
check-examples: all
	@python=$$(tools/find-python '$(PYTHON)') && "$$python" test/docs/examples.py

# The source, for others: _build/dist/erlpy-VERSION.tar.gz.
dist:
	@tools/dist

# These build the tree in other folders, and take from here what is compiled already.
check-install: all
	@test/install/run $(ARGS)

first-hour: all
	@test/first_hour/run $(ARGS)

clean-native:
	@rm -rf _build/c priv

clean: clean-native
	@rm -rf _build
	+@[ ! -f test/stream/Makefile ] || $(MAKE) --no-print-directory -C test/stream clean
