/* flat_internal.h: the form of flat terms, which flat_term.c and flat_object.c share.
 */
#ifndef ERLPY_FLAT_INTERNAL_H
#define ERLPY_FLAT_INTERNAL_H

#include "flat.h"
#include "weight.h"

#include <stdbool.h>

/* Recursion is on a scheduler's stack, which is small. */
#define FLAT_MAX_DEPTH 8

enum {
    FLAT_NONE,
    FLAT_TRUE,
    FLAT_FALSE,
    FLAT_NAME,   /* size, ASCII: an atom to Python */
    FLAT_INT,    /* int64_t */
    FLAT_FLOAT,  /* double */
    FLAT_BINARY, /* size, data: to Python str or bytes */
    FLAT_BYTES,  /* size, data: {bytes, B} to Python */
    FLAT_TEXT,   /* size, UTF-8: {str, B} to Python */
    FLAT_LIST,   /* count */
    FLAT_TUPLE,  /* count */
    FLAT_MAP,    /* count; key, value, key, ... */
    FLAT_PID,    /* uint64_t */
    FLAT_REF     /* size, external format */
};

typedef struct flat_writer {
    unsigned char *at, *end;
    uint64_t size_bytes; /* of the message (weight.h) */
    int depth;
} flat_writer;

static inline flat_writer
flat__begin(unsigned char *to)
{
    return (flat_writer){to, to + FLAT_MAX_BYTES, WEIGHT_VERSION_BYTES, 0};
}

/* False: there is no room. */
bool flat__write_raw(flat_writer *w, const void *data, size_t size);
bool flat__write_tag(flat_writer *w, unsigned char tag);
bool flat__write_count(flat_writer *w, unsigned char tag, size_t count);
bool flat__write_data(flat_writer *w, unsigned char tag, const void *data, size_t size);
/* These add their size as well. */
bool flat__write_atom(flat_writer *w, unsigned char tag, size_t length);
bool flat__write_integer(flat_writer *w, int64_t value);
bool flat__write_float(flat_writer *w, double value);
bool flat__write_binary(flat_writer *w, const void *data, size_t size);
bool flat__write_pid(flat_writer *w, uint64_t word);
bool flat__write_reference(flat_writer *w, const void *external, size_t size);

typedef struct flat_reader {
    const unsigned char *at;
} flat_reader;

unsigned char flat__read_tag(flat_reader *r);
uint64_t flat__read_word(flat_reader *r);
double flat__read_float(flat_reader *r);
uint16_t flat__read_count(flat_reader *r);
/* Borrowed from what is read. */
const unsigned char *flat__read_data(flat_reader *r, uint16_t *size);

#endif
