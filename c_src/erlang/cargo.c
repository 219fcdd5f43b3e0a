#include "cargo.h"

#include <stdlib.h>

#include "buffer.h"

static stream *
stream_at(const cargo *c, unsigned i)
{
    return i < CARGO_FEW ? c->few[i] : c->more[i - CARGO_FEW];
}

static bool
make_room(cargo *c)
{
    if (c->count < CARGO_FEW + c->capacity) {
        return true;
    }
    unsigned capacity = c->capacity == 0 ? 16 : 2 * c->capacity;
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what it holds. */
    stream **more = realloc(c->more, capacity * sizeof *more);
    if (more == NULL) {
        return false;
    }
    c->more = more;
    c->capacity = capacity;
    return true;
}

bool
cargo_add(cargo *c, ErlNifEnv *env, ERL_NIF_TERM term)
{
    stream *s = buffer_stream_of(env, term);
    if (s == NULL) {
        return true;
    }
    if (!make_room(c)) {
        return false;
    }
    if (c->count < CARGO_FEW) {
        c->few[c->count] = s;
    } else {
        c->more[c->count - CARGO_FEW] = s;
    }
    c->count++;
    return true;
}

void
cargo_send(const cargo *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        stream_expect_reader(stream_at(c, i));
    }
}

void
cargo_arrive(cargo *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        stream_drop_reader(stream_at(c, i));
    }
    cargo_clear(c);
}

void
cargo_clear(cargo *c)
{
    free(c->more);
    c->more = NULL;
    c->count = c->capacity = 0;
}
