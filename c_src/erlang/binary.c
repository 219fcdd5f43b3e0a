#include "binary.h"

#include "fork.h"

ErlNifIOVec *
binary_keep(ErlNifEnv *env, ERL_NIF_TERM binary)
{
    ErlNifIOVec *iovec = NULL;
    ERL_NIF_TERM tail, list = enif_make_list1(env, binary);
    if (!enif_inspect_iovec(NULL, 1, list, &tail, &iovec)) {
        return NULL;
    }
    if (iovec->iovcnt == 1) {
        return iovec;
    }
    enif_free_iovec(iovec);
    return NULL;
}

void
binary_release(void *iovec)
{
    if (!nif_forked()) {
        enif_free_iovec(iovec);
    }
}
