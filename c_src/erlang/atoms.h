/*
 * atoms.h: the atoms of the library, made once at load.
 */
#ifndef ERLPY_ATOMS_H
#define ERLPY_ATOMS_H

#include <erl_nif.h>

#define NIF_ATOMS(X)                                                                   \
    X(ok)                                                                              \
    X(error)                                                                           \
    X(true)                                                                            \
    X(false)                                                                           \
    X(none)                                                                            \
    X(nil)                                                                             \
    X(undefined)                                                                       \
    X(bytes)                                                                           \
    X(str)                                                                             \
    X(call)                                                                            \
    X(exec)                                                                            \
    X(pool)                                                                            \
    X(closed)                                                                          \
    X(enomem)                                                                          \
    X(too_large)                                                                       \
    X(always)                                                                          \
    X(cancelled)                                                                       \
    X(replied)                                                                         \
    X(destroyed)                                                                       \
    X(stopped)                                                                         \
    X(not_started)                                                                     \
    X(not_convertible)                                                                 \
    X(system_limit)                                                                    \
    X(py_response)                                                                     \
    X(erlpy)                                                                           \
    X(erlpy_callbacks)                                                                 \
    X(abandon)                                                                         \
    X(too_deep)                                                                        \
    X(gone)                                                                            \
    X(erlpy_refused)                                                                   \
    X(erlpy_runtime)                                                                   \
    X(started)                                                                         \
    X(relay)                                                                           \
    X(cast_failed)                                                                     \
    X(loop_error)                                                                      \
    X(tasks)                                                                           \
    X(event_loops)                                                                     \
    X(state)                                                                           \
    X(open)                                                                            \
    X(ended)                                                                           \
    X(reader_closed)                                                                   \
    X(written)                                                                         \
    X(read)                                                                            \
    X(available)                                                                       \
    X(retained)                                                                        \
    X(views)                                                                           \
    X(waiting_readers)                                                                 \
    X(interrupted)                                                                     \
    X(threads)                                                                         \
    X(running)                                                                         \
    X(parked)                                                                          \
    X(idle)                                                                            \
    X(queued)                                                                          \
    X(stuck)                                                                           \
    X(calls)                                                                           \
    X(contexts)                                                                        \
    X(max_threads)                                                                     \
    X(python)                                                                          \
    X(waiting_writers)                                                                 \
    X(high_watermark)                                                                  \
    X(low_watermark)                                                                   \
    X(infinity)                                                                        \
    X(busy)                                                                            \
    X(aborted)                                                                         \
    X(abandoned)                                                                       \
    X(owner_down)                                                                      \
    X(drained)                                                                         \
    X(py_buffer)                                                                       \
    X(py_written)                                                                      \
    X(size)                                                                            \
    X(messages)                                                                        \
    X(max_size)                                                                        \
    X(waiting_senders)                                                                 \
    X(waiting_receivers)                                                               \
    X(outbox)                                                                          \
    X(large)                                                                           \
    X(empty)                                                                           \
    X(py_channel)                                                                      \
    X(emfile)                                                                          \
    X(enfile)                                                                          \
    X(badfd)                                                                           \
    X(too_many_connections)                                                            \
    X(ready_input)                                                                     \
    X(active_connections)                                                              \
    X(total_connections)                                                               \
    X(max_connections)                                                                 \
    X(bytes_in)                                                                        \
    X(bytes_out)                                                                       \
    X(py_sent)                                                                         \
    X(owngil)                                                                          \
    X(not_supported)                                                                   \
    X(interpreters)                                                                    \
    X(idle_interpreters)

#define NIF_DECLARE_ATOM(name) ERL_NIF_TERM am_##name;
typedef struct nif_atoms {
    NIF_ATOMS(NIF_DECLARE_ATOM)
} nif_atoms;
#undef NIF_DECLARE_ATOM

/* Atoms are valid in every environment and for the life of the node. */
extern nif_atoms nif_am;

void nif_atoms_init(ErlNifEnv *env);

#endif
