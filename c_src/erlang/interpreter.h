/*
 * interpreter.h: bringing up CPython as the Python that was asked for.
 */
#ifndef ERLPY_INTERPRETER_H
#define ERLPY_INTERPRETER_H

#include "runtime.h"

/* Makes the symbols of libpython visible to the extension modules that it will load.
 * Called once at load.  NULL, or what went wrong. */
const char *interpreter_publish_symbols(void);

/* Starts the interpreter on the calling thread, which becomes Python's main thread, and
 * gives the GIL up.  NULL, or an owned text that says what went wrong. */
char *interpreter_start(const runtime_config *config);
/* Applies what may differ from start to start.  Takes the GIL. */
char *interpreter_configure(const runtime_config *config);

/* False on a free-threaded build with its GIL off. */
bool interpreter_has_gil(void);
/* Equal for libraries that can share one Python: its version, and whether it has a GIL.
 */
uint64_t interpreter_abi(void);
/* True when Python runs in this process, whoever started it. */
bool interpreter_is_there(void);
/* The version text, "3.11.7"; needs no interpreter. */
const char *interpreter_version(void);

#endif
