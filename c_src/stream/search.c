/*
 * search.c: a needle in a range of the stream.
 *
 * What was searched is remembered, so that what arrives in pieces is searched once.  A
 * needle may lie across any number of seams: bytes around them are gathered in a window
 * that always begins at the first place not yet ruled out.
 */
#include "internal.h"
#include "alloc.h"

/* ---- What find remembers ---- */

static bool
memory_is_of_locked(stream *s, const void *needle, size_t needle_size)
{
    return s->find != NULL && s->find->needle_bytes == needle_size &&
           memcmp(s->find->needle, needle, needle_size) == 0;
}

/* The first place in [from, ...) that is not ruled out. */
static uint64_t
recall_locked(stream *s, const void *needle, size_t needle_size, uint64_t from)
{
    if (memory_is_of_locked(s, needle, needle_size) && s->find->from <= from &&
        from < s->find->next) {
        return s->find->next;
    }
    return from;
}

/* Notes that no match starts in [from, next).  `fresh` (NULL: none) becomes the memory
 * when the old one is too small; what is to be freed is given back. */
static struct stream_find_memory *
remember_locked(stream *s, const void *needle, size_t needle_size, uint64_t from,
                uint64_t next, struct stream_find_memory *fresh)
{
    struct stream_find_memory *memory = s->find;
    if (memory_is_of_locked(s, needle, needle_size) && memory->from <= from &&
        from <= memory->next) {
        memory->next = memory->next > next ? memory->next : next;
        return fresh;
    }
    if (memory == NULL || memory->capacity_bytes < needle_size) {
        if (fresh == NULL) {
            return NULL;
        }
        struct stream_find_memory *old = memory;
        memory = s->find = fresh;
        fresh = old;
    }
    memcpy(memory->needle, needle, needle_size);
    memory->needle_bytes = needle_size;
    memory->from = from;
    memory->next = next;
    return fresh;
}

/* Without memory for it the search is as good, only the next one starts over. */
static void
remember(stream *s, const void *needle, size_t needle_size, uint64_t from,
         uint64_t next)
{
    stream_reader_lock(s);
    bool fits = s->find != NULL && s->find->capacity_bytes >= needle_size;
    struct stream_find_memory *fresh = NULL;
    if (fits) {
        remember_locked(s, needle, needle_size, from, next, NULL);
    }
    stream_reader_unlock(s);
    if (fits) {
        return;
    }
    size_t capacity = needle_size < FIND_LEAST_BYTES ? FIND_LEAST_BYTES : needle_size;
    fresh = stream__alloc(sizeof *fresh + capacity);
    if (fresh == NULL) {
        return;
    }
    fresh->capacity_bytes = capacity;
    fresh->needle_bytes = 0;
    stream_reader_lock(s);
    fresh = remember_locked(s, needle, needle_size, from, next, fresh);
    stream_reader_unlock(s);
    stream__free(fresh);
}

/* ---- Searching over seams ---- */

/* The window holds the bytes [offset, offset + size): no match starts before it, and
 * matches inside have not been looked for yet. */
struct find {
    const uint8_t *needle;
    size_t needle_size;
    uint8_t *window;
    size_t size, capacity;
    uint64_t offset;
    uint64_t found;
};

static bool
search_window(struct find *f)
{
    const uint8_t *match = stream__scan(f->window, f->size, f->needle, f->needle_size);
    if (match != NULL) {
        f->found = f->offset + (uint64_t)(match - f->window);
        return true;
    }
    return false;
}

/* Keeps what a match may still begin with. */
static void
trim_window(struct find *f)
{
    size_t keep = f->needle_size - 1;
    if (f->size > keep) {
        f->offset += f->size - keep;
        memmove(f->window, f->window + f->size - keep, keep);
        f->size = keep;
    }
}

static bool
gather(struct find *f, const uint8_t *data, size_t size)
{
    while (size > 0) {
        if (f->size == f->capacity) {
            if (search_window(f)) {
                return true;
            }
            trim_window(f);
        }
        size_t n = f->capacity - f->size;
        if (n > size) {
            n = size;
        }
        memcpy(f->window + f->size, data, n);
        f->size += n;
        data += n;
        size -= n;
    }
    return false;
}

/* Long spans are searched where they are; only their edges go through the window. */
static bool
search_span(struct find *f, const uint8_t *data, size_t size)
{
    size_t edge = f->needle_size - 1;
    if (size < 2 * f->needle_size) {
        return gather(f, data, size);
    }
    uint64_t offset = f->offset + f->size;
    if (f->size > 0 && (gather(f, data, edge) || search_window(f))) {
        return true;
    }
    const uint8_t *match = stream__scan(data, size, f->needle, f->needle_size);
    if (match != NULL) {
        f->found = offset + (uint64_t)(match - data);
        return true;
    }
    memcpy(f->window, data + size - edge, edge);
    f->offset = offset + size - edge;
    f->size = edge;
    return false;
}

static stream_status
search_run(stream *s, struct find *f, uint64_t to)
{
    struct stream_run run;
    stream__run_begin(&run, f->offset, to);
    stream_status status;
    bool found = false;
    while (!found && (status = stream__run_next(s, &run)) == STREAM_OK &&
           run.count > 0) {
        for (size_t i = 0; i < run.count && !found; i++) {
            found = search_span(f, run.spans[i].data, run.spans[i].size_bytes);
        }
    }
    stream__run_end(&run);
    if (found || (status == STREAM_OK && search_window(f))) {
        return STREAM_OK;
    }
    return status == STREAM_OK ? STREAM_AGAIN : status;
}

static stream_status
search_range(stream *s, struct find *f, uint64_t to)
{
    uint8_t stack[FIND_STACK_BYTES];
    if (f->needle_size > SIZE_MAX / 4) {
        return STREAM_NOMEM;
    }
    f->window = stack;
    f->capacity = sizeof stack;
    if (f->needle_size > sizeof stack / 4) {
        f->capacity = 4 * f->needle_size;
        f->window = stream__alloc(f->capacity);
    }
    if (f->window == NULL) {
        return STREAM_NOMEM;
    }
    stream_status status = search_run(s, f, to);
    if (f->window != stack) {
        stream__free(f->window);
    }
    return status;
}

/* ---- Find ---- */

/* A short search in one link is over before a pin would pay.  STREAM_CHANGED: it is
 * not that. */
static stream_status
find_near_locked(stream *s, struct find *f, uint64_t to)
{
    uint64_t size = to - f->offset;
    struct stream_link *link = stream__chain_locate_locked(s, f->offset, NULL);
    if (size > STREAM_LOCKED_COPY_BYTES || stream__link_end(link, to) < to) {
        return STREAM_CHANGED;
    }
    const uint8_t *data = link->data + (f->offset - link->offset);
    const uint8_t *match = stream__scan(data, (size_t)size, f->needle, f->needle_size);
    if (match == NULL) {
        return STREAM_AGAIN;
    }
    f->found = f->offset + (uint64_t)(match - data);
    return STREAM_OK;
}

/* Under the reader lock: STREAM_CHANGED when the search is a longer one. */
static stream_status
find_first_locked(stream *s, struct find *f, uint64_t from, uint64_t to)
{
    if (to > stream__written(s)) {
        return STREAM_RANGE;
    }
    f->offset = recall_locked(s, f->needle, f->needle_size, from);
    if (f->offset < s->anchor.offset) {
        return STREAM_CHANGED;
    }
    if (f->offset >= to || to - f->offset < f->needle_size) {
        return STREAM_AGAIN;
    }
    return find_near_locked(s, f, to);
}

stream_status
stream_find(stream *s, const void *needle, size_t needle_size, uint64_t from,
            uint64_t to, uint64_t *found)
{
    struct find f = {.needle = needle, .needle_size = needle_size};
    if (needle_size == 0 || from > to) {
        return STREAM_RANGE;
    }
    stream_reader_lock(s);
    stream_status status = find_first_locked(s, &f, from, to);
    stream_reader_unlock(s);
    if (status == STREAM_CHANGED) {
        status = search_range(s, &f, to);
    }
    if (status == STREAM_OK) {
        remember(s, needle, needle_size, from, f.found);
        *found = f.found;
    } else if (status == STREAM_AGAIN && to - from >= needle_size) {
        remember(s, needle, needle_size, from, to - needle_size + 1);
    }
    return status;
}
