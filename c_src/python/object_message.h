/* object_message.h: messages that are Python objects; see object_message.c. */
#ifndef ERLPY_PYB_OBJECT_MESSAGE_H
#define ERLPY_PYB_OBJECT_MESSAGE_H

#include "pyb.h"

#include "../stream/platform.h"

/* Those of one channel; all zero at first. */
typedef struct pyb__object_list {
    platform_lock lock; /* a leaf */
    struct object_message *first;
} pyb__object_list;

int pyb__object_list_traverse(pyb__object_list *list, visitproc visit, void *arg);
/* The list goes away; messages that are left hold their objects all the same. */
void pyb__object_list_forget(pyb__object_list *list);
/* Returns owned (base.release), or NULL with an exception. */
pyb_message *pyb__object_message(pyb_state *state, PyObject *object,
                                 pyb__object_list *list);
/* What an object measures as an Erlang term, as erlang:external_size/1 would say (names
 * of nodes are guessed).  0, or -1 with NotConvertibleError or MemoryError. */
int pyb__external_size(pyb_state *state, PyObject *object, uint64_t *size);

#endif
