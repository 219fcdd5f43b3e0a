/*
 * bench_echo.c: the least that a call into a thread of one's own can cost.  A NIF
 * queues a message; a thread that spins for a moment and then sleeps takes it and sends
 * the answer.
 */
#include <erl_nif.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define SPIN_NS 20000

typedef struct question {
    ErlNifEnv *env;
    ERL_NIF_TERM ref;
    ErlNifPid from;
    struct question *next;
} question;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t come;
    question *first, *last;
    atomic_size_t count;
    int sleeping;
    atomic_int asker_cpu; /* the processor that ran the last one who asked */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .come = PTHREAD_COND_INITIALIZER};

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The processor of the calling thread, or -1. */
static int
this_cpu(void)
{
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Not on the processor of the one it waits for, who could not run meanwhile. */
static void
spin(void)
{
    if (queue.asker_cpu >= 0 && queue.asker_cpu == this_cpu())
        return;
    int64_t until = now_ns() + SPIN_NS;
    while (atomic_load(&queue.count) == 0 && now_ns() < until)
#if defined(__x86_64__)
        __builtin_ia32_pause();
#else
        ;
#endif
}

static question *
take(void)
{
    spin();
    pthread_mutex_lock(&queue.lock);
    while (queue.first == NULL) {
        queue.sleeping = 1;
        pthread_cond_wait(&queue.come, &queue.lock);
    }
    queue.sleeping = 0;
    question *q = queue.first;
    queue.first = q->next;
    atomic_fetch_sub(&queue.count, 1);
    pthread_mutex_unlock(&queue.lock);
    return q;
}

static void *
answer(void *arg)
{
    (void)arg;
    for (;;) {
        question *q = take();
        ERL_NIF_TERM message =
            enif_make_tuple2(q->env, q->ref, enif_make_double(q->env, 4.0));
        enif_send(NULL, &q->from, q->env, message);
        enif_free_env(q->env);
        free(q);
    }
    return NULL;
}

static ERL_NIF_TERM
ask_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    question *q = calloc(1, sizeof *q);
    if (q == NULL)
        return enif_make_badarg(env);
    q->env = enif_alloc_env();
    q->ref = enif_make_copy(q->env, argv[0]);
    enif_self(env, &q->from);
    pthread_mutex_lock(&queue.lock);
    if (queue.first != NULL)
        queue.last->next = q;
    else
        queue.first = q;
    queue.last = q;
    queue.asker_cpu = this_cpu();
    atomic_fetch_add(&queue.count, 1);
    int sleeping = queue.sleeping;
    queue.sleeping = 0;
    pthread_mutex_unlock(&queue.lock);
    if (sleeping)
        pthread_cond_signal(&queue.come);
    return enif_make_atom(env, "ok");
}

static int
load(ErlNifEnv *env, void **data, ERL_NIF_TERM info)
{
    pthread_t thread;
    (void)env, (void)data, (void)info;
    return pthread_create(&thread, NULL, answer, NULL);
}

static ErlNifFunc functions[] = {{"ask", 1, ask_nif, 0}};

ERL_NIF_INIT(bench_echo, functions, load, NULL, NULL, NULL)
