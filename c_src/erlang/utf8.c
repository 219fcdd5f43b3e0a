#include "utf8.h"

#include <string.h>

static const uint8_t *
skip_ascii(const uint8_t *at, const uint8_t *end)
{
    uint64_t eight;
    while (end - at >= 8) {
        memcpy(&eight, at, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080)) {
            break;
        }
        at += 8;
    }
    while (at < end && *at < 0x80) {
        at++;
    }
    return at;
}

/* The length of the sequence that starts here with a byte of 0x80 or more; 0: none.
 * Well-formed sequences: table 3-7 of the Unicode standard. */
static size_t
sequence_length(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0], low = 0x80, high = 0xBF;
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || left < size) {
        return 0;
    }
    if (lead == 0xE0) {
        low = 0xA0;
    } else if (lead == 0xED) {
        high = 0x9F;
    } else if (lead == 0xF0) {
        low = 0x90;
    } else if (lead == 0xF4) {
        high = 0x8F;
    }
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool
utf8_is_valid(const uint8_t *bytes, size_t size)
{
    const uint8_t *at = bytes, *end = bytes + size;
    while ((at = skip_ascii(at, end)) < end) {
        size_t length = sequence_length(at, (size_t)(end - at));
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}
