/* model.h: the stream against a flat array, driven by choices. */
#ifndef ERLPY_STREAM_MODEL_H
#define ERLPY_STREAM_MODEL_H

#include "test.h"

/* One stream from birth to death, `steps` random operations long. */
void model_run(struct choices *choices, unsigned steps, bool without_memory);

#endif
