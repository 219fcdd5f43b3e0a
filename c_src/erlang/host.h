/*
 * host.h: what the node does for the Python module (see pyb_host).
 */
#ifndef ERLPY_HOST_H
#define ERLPY_HOST_H

#include "../python/pyb.h"

const pyb_host *host_table(void);

#endif
