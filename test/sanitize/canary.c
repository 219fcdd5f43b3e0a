/*
 * canary.c: faults planted in a NIF, to see that the sanitisers report what goes wrong
 * in one.  Each is what its name says and nothing else.
 */
#include <erl_nif.h>
#include <pthread.h>
#include <stdlib.h>

static volatile int sink;

static ERL_NIF_TERM
use_after_free_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    volatile char *block = malloc(16);
    (void)argc;
    (void)argv;
    free((void *)block);
    sink = block[3];
    return enif_make_int(env, sink);
}

static ERL_NIF_TERM
overrun_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    volatile char *block = malloc(16);
    (void)argc;
    (void)argv;
    sink = block[16];
    free((void *)block);
    return enif_make_int(env, sink);
}

static ERL_NIF_TERM
undefined_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    volatile int most = 0x7fffffff;
    (void)argc;
    (void)argv;
    sink = most + 1;
    return enif_make_int(env, sink);
}

static int shared;

static void *
add(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100000; i++) {
        shared++;
    }
    return NULL;
}

/* Between a thread of ours and a scheduler, as in the library. */
static ERL_NIF_TERM
race_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    pthread_t thread;
    (void)argc;
    (void)argv;
    if (pthread_create(&thread, NULL, add, NULL) != 0) {
        return enif_make_badarg(env);
    }
    add(NULL);
    pthread_join(thread, NULL);
    return enif_make_int(env, shared);
}

static ErlNifFunc functions[] = {
    {"use_after_free", 0, use_after_free_nif, 0},
    {"overrun", 0, overrun_nif, 0},
    {"undefined", 0, undefined_nif, 0},
    {"race", 0, race_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
};

ERL_NIF_INIT(canary, functions, NULL, NULL, NULL, NULL)
