/* fuzz.c: the model driven by libFuzzer's bytes. */
#include "model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choices choices = {.bytes = data, .left = size};
    model_run(&choices, (unsigned)(size / 2), size > 0 && data[0] % 4 == 0);
    return 0;
}
