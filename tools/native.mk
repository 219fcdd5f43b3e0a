# The C part for one Python.  Run by the Makefile beside the root, from the root, with
#   CONFIG   the folder of that Python under _build/c/
#   OUT      where the result goes (priv, or a folder of your own)
# Goals: install (both libraries and the package), install-extension, objects (and those
# of tests that are built with them), tidy (clang-tidy with the flags of the compiler).

include $(CONFIG)/config.mk

OUT ?= priv
OBJ ?= $(CONFIG)
V ?= 0
quiet_0 := @
quiet := $(quiet_$(V))

# The one place that has it.
VERSION := $(shell sed -n 's/.*{vsn, "\(.*\)"}.*/\1/p' src/erlpy.app.src)

WARNINGS := -Wall -Wextra -Wshadow -Wundef -Wvla -Wstrict-prototypes \
            -Wmissing-prototypes -Wconversion -Wcast-qual
OPTIMIZE ?= -O2 -g
BUILD_CFLAGS := -std=c11 $(OPTIMIZE) -fPIC -fno-plt -pthread -fvisibility=hidden $(WARNINGS) \
                $(if $(WERROR),-Werror) -D_GNU_SOURCE \
                -DERLPY_VERSION='"$(VERSION)"' $(CFLAGS)

ifeq ($(shell uname -s),Darwin)
SHARED := -bundle -undefined dynamic_lookup
PINNED :=
else
SHARED := -shared
# Python cannot be unloaded, and threads of ours run in this library for good.
PINNED := -Wl,-z,nodelete
endif

STREAM := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard c_src/stream/*.c)))
MODULE := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard c_src/python/*.c)))
LOADER := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard c_src/python/extension/*.c)))
NODE := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard c_src/erlang/*.c)))
TESTS := $(OBJ)/test/fuzz/terms.o

tidied = $(patsubst $(OBJ)/%.o,tidy/%,$(1))
TIDY := $(call tidied,$(STREAM) $(MODULE) $(LOADER) $(NODE))

# A room sees no more headers than it may use.
$(STREAM) $(call tidied,$(STREAM)): ROOM :=
$(MODULE) $(LOADER) $(call tidied,$(MODULE) $(LOADER)): ROOM := $(PYTHON_CFLAGS)
$(NODE) $(TESTS) $(call tidied,$(NODE)): ROOM := -I$(CONFIG) $(PYTHON_CFLAGS) -isystem '$(ERLANG_INCLUDE)'

NIF := $(OBJ)/erlpy.so
EXTENSION := $(OBJ)/_erlang$(EXT_SUFFIX)
PACKAGE := $(patsubst python/%,$(OUT)/python/%,$(shell \
    find python/erlang -name __pycache__ -prune -o -type f -print 2>/dev/null))

.PHONY: install install-extension objects tidy $(TIDY) FORCE
.DELETE_ON_ERROR:

objects: $(STREAM) $(MODULE) $(LOADER) $(NODE) $(TESTS)

install: $(NIF) install-extension
	@tools/install-file $(NIF) $(OUT)/erlpy.so
	@echo 'erlpy: $(OUT) is built for Python $(PYTHON_VERSION), $(PYTHON_EXECUTABLE)'

install-extension: $(EXTENSION) $(PACKAGE)
	@for old in $(OUT)/python/_erlang*; do \
	    case $$old in *'*'|*/'$(notdir $(EXTENSION))') ;; *) rm -f "$$old" ;; esac; \
	done
	@tools/install-file $(EXTENSION) $(OUT)/python/$(notdir $(EXTENSION))
	@find $(OUT)/python/erlang -type f ! -name '*.pyc' 2>/dev/null | \
	while read -r file; do \
	    [ -e "python/$${file#$(OUT)/python/}" ] || rm -f "$$file"; \
	done

$(NIF): $(STREAM) $(MODULE) $(NODE)
	@echo '  LD  $@'
	$(quiet)$(CC) $(SHARED) $(PINNED) -pthread $(LDFLAGS) -o $@ $^ \
	    '$(PYTHON_LIBRARY)' -Wl,-rpath,'$(PYTHON_LIBDIR)' -ldl -lm

$(EXTENSION): $(STREAM) $(MODULE) $(LOADER)
	@echo '  LD  $@'
	$(quiet)$(CC) $(SHARED) -pthread $(LDFLAGS) -o $@ $^ -lm

$(OBJ)/%.o: %.c $(OBJ)/flags $(CONFIG)/config.mk
	@mkdir -p $(@D)
	@echo '  CC  $<'
	$(quiet)$(CC) $(BUILD_CFLAGS) $(ROOM) -MMD -MP -c -o $@ $<

tidy: $(TIDY)

$(TIDY): tidy/%: %.c
	$(quiet)clang-tidy --quiet $< -- $(BUILD_CFLAGS) $(ROOM)

$(OUT)/python/%: python/%
	@mkdir -p $(@D)
	@cp $< $@

# Another compiler, other flags or another Python: everything is compiled again.
$(OBJ)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' "$(CC) $(BUILD_CFLAGS) $(CONFIG)" | cmp -s - $@ || \
	    printf '%s\n' "$(CC) $(BUILD_CFLAGS) $(CONFIG)" > $@

-include $(patsubst %.o,%.d,$(STREAM) $(MODULE) $(LOADER) $(NODE) $(TESTS))
