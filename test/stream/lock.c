/* lock.c: the lock that favours one thread. */
#include "test.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#    define ROUNDS 2000
#else
#    define ROUNDS 20000
#endif

static bool
is_favoured(bias_lock *lock)
{
    return atomic_load(&lock->favourite) != 0;
}

static void
take_turns(bias_lock *lock, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        bias_lock_take(lock);
        bias_unlock(lock);
    }
}

static void *
one_turn(void *arg)
{
    take_turns(arg, 1);
    return NULL;
}

static void *
try_a_turn(void *arg)
{
    return bias_trylock(arg) ? arg : NULL;
}

static void *
in_another_thread(void *(*work)(void *), void *arg)
{
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, work, arg) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

void
test_unit_bias_lock_favours_who_comes_often(void)
{
    bias_lock lock;
    bias_lock_init(&lock);
    unsigned needed = lock.turns_needed;
    take_turns(&lock, needed - 1);
    CHECK(!is_favoured(&lock));
    take_turns(&lock, 1);
    CHECK(is_favoured(&lock) == platform_has_fence_all_threads());
    CHECK(bias_trylock(&lock));
    CHECK(in_another_thread(try_a_turn, &lock) == NULL);
    bias_unlock(&lock);
    CHECK(!is_favoured(&lock));
    CHECK(in_another_thread(one_turn, &lock) == NULL);
    take_turns(&lock, lock.turns_needed);
    CHECK(is_favoured(&lock) == platform_has_fence_all_threads());
    bias_lock_destroy(&lock);
}

#if PLATFORM_FUTEX
static void *
wait_for_lock(void *lock)
{
    platform_lock_take(lock);
    return NULL;
}

static void *
send_to_channel(void *c)
{
    CHECK(send_item(c, CHANNEL_IN, 1) == STREAM_OK);
    return NULL;
}

/* How a child ends in which a thread waits for a lock that the parent has taken. */
static int
status_of_child(void *(*work)(void *), void *lock)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        platform_become_child();
        in_another_thread(work, lock);
        _exit(0);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}
#endif

void
test_unit_child_ends_at_a_lost_lock(void)
{
#if PLATFORM_FUTEX
    platform_lock taken;
    bias_lock favoured;
    platform_lock_init(&taken);
    platform_lock_take(&taken);
    bias_lock_init(&favoured);
    take_turns(&favoured, favoured.turns_needed);
    bias_lock_take(&favoured);
    channel *c = channel_new(1);
    CHECK(c != NULL);
    platform_lock_take(&c->lock);
    int statuses[] = {status_of_child(wait_for_lock, &taken),
                      status_of_child(one_turn, &favoured),
                      status_of_child(send_to_channel, c)};
    for (size_t i = 0; i < 3; i++) {
        CHECK(WIFEXITED(statuses[i]) && WEXITSTATUS(statuses[i]) == 1);
    }
    platform_unlock(&c->lock);
    channel_release(c);
    bias_unlock(&favoured);
    bias_lock_destroy(&favoured);
    platform_unlock(&taken);
    platform_lock_destroy(&taken);
#endif
}

struct rounds {
    bias_lock lock;
    volatile unsigned long count; /* plain: loses one when two are inside */
    atomic_uint begun, ended;
};

static void
count_up(struct rounds *rounds, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        bias_lock_take(&rounds->lock);
        rounds->count++;
        bias_unlock(&rounds->lock);
    }
}

static void
await(atomic_uint *value, unsigned wanted)
{
    for (int i = 0; *value != wanted; i++) {
        if (i > 1000) {
            sched_yield();
        }
    }
}

/* Breaks in upon the favourite at some moment of its turns, a few times. */
static void *
intrude(void *arg)
{
    struct rounds *rounds = arg;
    struct choices choices = {.state = 11};
    for (unsigned round = 1; round <= ROUNDS; round++) {
        await(&rounds->begun, round);
        for (uint64_t pause = choose(&choices, 120); pause > 0; pause--) {
            platform_relax();
        }
        count_up(rounds, 3);
        rounds->ended = round;
    }
    return NULL;
}

void
test_stress_bias_lock_excludes(void)
{
    static struct rounds rounds;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, intrude, &rounds) == 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        bias_lock_init(&rounds.lock);
        rounds.count = 0;
        unsigned turns = 2 * rounds.lock.turns_needed;
        rounds.begun = round;
        count_up(&rounds, turns + 1000);
        await(&rounds.ended, round);
        CHECK(rounds.count == turns + 1000 + 3);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}
