/* fuzz.c: a model driven by libFuzzer's bytes: of the stream, or (STREAM_FUZZ_CHANNEL)
 * of the channel. */
#include "model.h"

#if defined(STREAM_FUZZ_CHANNEL)
#    define RUN model_run_channel
#else
#    define RUN model_run
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices choices = {.bytes = data, .left = size};
    RUN(&choices, (unsigned)(size / 2), size > 0 && data[0] % 4 == 0);
    return 0;
}
