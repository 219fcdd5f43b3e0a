/* Loaded before a node: its first event loop gets no thread state of Python. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

void *
PyThreadState_New(void *interpreter)
{
    static atomic_int refused;
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    if (strcmp(name, "erlpy_loop") == 0 && atomic_fetch_add(&refused, 1) == 0) {
        return NULL;
    }
    void *(*real)(void *);
    *(void **)&real = dlsym(RTLD_NEXT, "PyThreadState_New");
    return real(interpreter);
}
