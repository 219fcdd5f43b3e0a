/*
 * line.c: the next line, where the inlined stream_line_locked() does not find it: a
 * long line, one over a seam, one that is not there yet.  It is searched on from
 * `line_clear`, which remembers how far the search for this line has come.
 */
#include "internal.h"

static stream_status
line_found_locked(stream *s, uint64_t length, const uint8_t **data, uint64_t *size)
{
    const uint8_t *at;
    size_t contiguous = stream_peek_locked(s, &at);
    *data = length <= contiguous ? at : NULL;
    *size = length;
    return STREAM_OK;
}

/* Looks for a newline in [line_clear, to), at most `budget` bytes; true when line_clear
 * has stopped at one. */
static bool
search_newline_locked(stream *s, uint64_t to, size_t budget)
{
    uint64_t written = stream__written(s);
    struct stream_link *link =
        s->line_generation == s->generation ? s->line_hint : NULL;
    bool found = false;
    while (!found && s->front.line_clear < to && budget > 0) {
        link = stream__chain_locate_locked(s, s->front.line_clear, link);
        uint64_t end = stream__least(stream__link_end(link, written), to);
        size_t n = (size_t)stream__least(end - s->front.line_clear, budget);
        const uint8_t *at = link->data + (s->front.line_clear - link->offset);
        const uint8_t *newline = memchr(at, '\n', n);
        found = newline != NULL;
        s->front.line_clear += found ? (size_t)(newline - at) : n;
        budget -= n;
    }
    s->line_hint = link;
    s->line_generation = s->generation;
    return found;
}

/* The line is not in what the cursor knows: look on from there. */
stream_status
stream__line_further_locked(stream *s, uint64_t limit, const uint8_t **data,
                            uint64_t *size)
{
    bool whole = stream_is_whole(s);
    uint64_t position = stream__position(s);
    uint64_t unread = stream__written(s) - position;
    uint64_t to = position + stream__least(unread, limit);
    if (s->front.line_clear < position) {
        s->front.line_clear = position;
    }
    if (search_newline_locked(s, to, STREAM_LOCKED_COPY_BYTES)) {
        return line_found_locked(s, s->front.line_clear + 1 - position, data, size);
    }
    if (s->front.line_clear < to) {
        return STREAM_CHANGED;
    }
    if (unread >= limit || (whole && unread > 0)) {
        return line_found_locked(s, to - position, data, size);
    }
    return whole ? STREAM_SHORT : STREAM_AGAIN;
}
