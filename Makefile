# erlpy.  The two commands of the README are `make demo` and `make test`.
#
#   make             build (PYTHON=python3.12 make: against that Python)
#   make demo        stream a real file into Python (FILE=path for one of yours)
#   make test        every test
#   make bench       the table of ratios
#   make clean       remove what was built
#
# Parts: native (the C part into priv/), extension (the module for plain python3
# alone, into OUT), warnings (both compilers, -Werror).

PYTHON ?= python3
OUT ?= priv
REBAR3 ?= rebar3
export PYTHON

CPUS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
# One build of the C part at a time in a checkout.
LOCK := $(if $(shell command -v flock),flock _build/c/lock)
NATIVE = mkdir -p _build/c && \
    config=$$(tools/configure '$(PYTHON)') && $(LOCK) $(MAKE) --no-print-directory \
    $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(CPUS)) -f tools/native.mk \
    CONFIG="$$config" OUT='$(OUT)'

.PHONY: all native extension warnings clean

all: native

native:
	+@$(NATIVE) install

extension:
	+@$(NATIVE) install-extension

warnings:
	+@for cc in gcc clang; do \
	    echo "warnings: $$cc"; \
	    $(NATIVE) objects CC=$$cc WERROR=1 OBJ="$$config/warnings-$$cc" || exit 1; \
	done

clean:
	rm -rf _build priv
