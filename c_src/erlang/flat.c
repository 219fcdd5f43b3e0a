#include "flat_internal.h"

#include <string.h>

#include "convert.h"

_Static_assert(FLAT_MAX_BYTES <= CONVERT_VIEW_MIN_BYTES, "views share the bytes");

/* ---- Writing ---- */

bool
flat__write_raw(flat_writer *w, const void *data, size_t size)
{
    if (size > (size_t)(w->end - w->at)) {
        return false;
    }
    memcpy(w->at, data, size);
    w->at += size;
    return true;
}

bool
flat__write_tag(flat_writer *w, unsigned char tag)
{
    return flat__write_raw(w, &tag, 1);
}

bool
flat__write_count(flat_writer *w, unsigned char tag, size_t count)
{
    uint16_t narrow = (uint16_t)count;
    return count <= UINT16_MAX && flat__write_tag(w, tag) &&
           flat__write_raw(w, &narrow, sizeof narrow);
}

bool
flat__write_data(flat_writer *w, unsigned char tag, const void *data, size_t size)
{
    return flat__write_count(w, tag, size) && flat__write_raw(w, data, size);
}

bool
flat__write_atom(flat_writer *w, unsigned char tag, size_t length)
{
    w->size_bytes += weight_of_atom(length);
    return flat__write_tag(w, tag);
}

bool
flat__write_integer(flat_writer *w, int64_t value)
{
    w->size_bytes += weight_of_integer(value);
    return flat__write_tag(w, FLAT_INT) && flat__write_raw(w, &value, sizeof value);
}

bool
flat__write_float(flat_writer *w, double value)
{
    w->size_bytes += WEIGHT_FLOAT_BYTES;
    return flat__write_tag(w, FLAT_FLOAT) && flat__write_raw(w, &value, sizeof value);
}

bool
flat__write_binary(flat_writer *w, const void *data, size_t size)
{
    w->size_bytes += WEIGHT_BINARY_BYTES + size;
    return flat__write_data(w, FLAT_BINARY, data, size);
}

bool
flat__write_pid(flat_writer *w, uint64_t word)
{
    w->size_bytes += WEIGHT_PID_BYTES;
    return flat__write_tag(w, FLAT_PID) && flat__write_raw(w, &word, sizeof word);
}

bool
flat__write_reference(flat_writer *w, const void *external, size_t size)
{
    w->size_bytes += WEIGHT_REFERENCE_BYTES;
    return flat__write_data(w, FLAT_REF, external, size);
}

/* ---- Reading ---- */

unsigned char
flat__read_tag(flat_reader *r)
{
    return *r->at++;
}

uint64_t
flat__read_word(flat_reader *r)
{
    uint64_t word;
    memcpy(&word, r->at, sizeof word);
    r->at += sizeof word;
    return word;
}

double
flat__read_float(flat_reader *r)
{
    double value;
    memcpy(&value, r->at, sizeof value);
    r->at += sizeof value;
    return value;
}

uint16_t
flat__read_count(flat_reader *r)
{
    uint16_t count;
    memcpy(&count, r->at, sizeof count);
    r->at += sizeof count;
    return count;
}

const unsigned char *
flat__read_data(flat_reader *r, uint16_t *size)
{
    *size = flat__read_count(r);
    const unsigned char *data = r->at;
    r->at += *size;
    return data;
}
