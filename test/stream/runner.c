/*
 * runner.c: runs the tests of list.h: those of the groups, or of the names, that are
 * given; all without arguments.  Each runs in a process of its own under a deadline.
 */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_SECONDS 120

static const struct {
    const char *group, *name;
    void (*run)(void);
} tests[] = {
#define TEST(group, name) {#group, #group "_" #name, test_##group##_##name},
#include "list.h"
#undef TEST
};

static void
run_here(void (*run)(void))
{
    alarm(DEADLINE_SECONDS);
    run();
    CHECK(memory_live_blocks() == 0);
    CHECK(foreign_live_blocks() == 0);
    exit(0);
}

static bool
passes(const char *name, void (*run)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_here(run);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status == 0) {
        return true;
    }
    const char *why = "failed";
    if (WIFSIGNALED(status)) {
        why = WTERMSIG(status) == SIGALRM ? "ran into its deadline" : "crashed";
    }
    printf("%s: %s\n", name, why);
    return false;
}

static bool
is_asked_for(size_t test, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], tests[test].group) == 0 ||
            strcmp(argv[i], tests[test].name) == 0) {
            return true;
        }
    }
    return argc == 1;
}

int
main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    stream_prepare();
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (is_asked_for(i, argc, argv)) {
            if (passes(tests[i].name, tests[i].run)) {
                passed++;
            } else {
                failed++;
            }
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
