/*
 * line.c: the next line.
 *
 * In the cursor's link the ends of some lines are found in one pass and handed out by
 * the inlined stream_line_locked().  What that does not find (a long line, one over a
 * seam, one that is not there yet) is searched on from `line_clear`, which remembers
 * how far the search for this line has come.
 */
#include "internal.h"

#if defined(__SSE2__)
#    include <immintrin.h>
#endif

/* ---- Ends of lines ahead ---- */

/* Where the lines in [at, stop) end; how many there is room for, `most`.  Answers where
 * the next one would go. */
typedef uintptr_t *(*ends_fn)(const uint8_t *at, const uint8_t *stop, uintptr_t *ends,
                              const uintptr_t *most);

static uintptr_t *
ends_plain(const uint8_t *at, const uint8_t *stop, uintptr_t *ends,
           const uintptr_t *most)
{
    const uint8_t *newline;
    while (ends < most && at < stop &&
           (newline = memchr(at, '\n', (size_t)(stop - at))) != NULL) {
        at = newline + 1;
        *ends++ = (uintptr_t)at;
    }
    return ends;
}

#if defined(__SSE2__)
/* A bit for each newline in the 64 bytes at `at`. */
typedef uint64_t (*newlines_fn)(const uint8_t *at);

static inline uint64_t
newlines_16(const uint8_t *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i found = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
    return (uint64_t)(uint32_t)_mm_movemask_epi8(found);
}

static inline uint64_t
newlines_sse2(const uint8_t *at)
{
    return newlines_16(at) | newlines_16(at + 16) << 16 | newlines_16(at + 32) << 32 |
           newlines_16(at + 48) << 48;
}

__attribute__((target("avx2"))) static inline uint64_t
newlines_avx2(const uint8_t *at)
{
    __m256i newline = _mm256_set1_epi8('\n');
    __m256i low = _mm256_loadu_si256((const void *)at);
    __m256i high = _mm256_loadu_si256((const void *)(at + 32));
    low = _mm256_cmpeq_epi8(low, newline);
    high = _mm256_cmpeq_epi8(high, newline);
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(low) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* Inlined into the two below, and `newlines` into it. */
static inline __attribute__((always_inline)) uintptr_t *
ends_by_64(const uint8_t *at, const uint8_t *stop, uintptr_t *ends,
           const uintptr_t *most, newlines_fn newlines)
{
    for (; stop - at >= 64; at += 64) {
        for (uint64_t found = newlines(at); found != 0; found &= found - 1) {
            if (ends == most) {
                return ends;
            }
            *ends++ = (uintptr_t)at + (uintptr_t)__builtin_ctzll(found) + 1;
        }
    }
    return ends_plain(at, stop, ends, most);
}

static uintptr_t *
ends_sse2(const uint8_t *at, const uint8_t *stop, uintptr_t *ends,
          const uintptr_t *most)
{
    return ends_by_64(at, stop, ends, most, newlines_sse2);
}

__attribute__((target("avx2,bmi"))) static uintptr_t *
ends_avx2(const uint8_t *at, const uint8_t *stop, uintptr_t *ends,
          const uintptr_t *most)
{
    return ends_by_64(at, stop, ends, most, newlines_avx2);
}

static ends_fn
best_ends_fn(void)
{
    return __builtin_cpu_supports("avx2") ? ends_avx2 : ends_sse2;
}
#else
static ends_fn
best_ends_fn(void)
{
    return ends_plain;
}
#endif

/* Finds the ends of the lines in the next `size` bytes; false when there is none.  The
 * end before comes first, so that every line is one step from the one before it: the
 * processor foresees that. */
static bool
look_ahead_locked(stream *s, size_t size)
{
    struct stream_lines *lines = &s->front.lines;
    const uint8_t *at = s->front.cursor.at;
    uintptr_t *first = lines->ends + 1;
    uintptr_t *end = best_ends_fn()(at, at + size, first, first + LINES_AHEAD);
    lines->ends[0] = (uintptr_t)at;
    *end = STREAM_NO_LINE;
    lines->next = lines->ends;
    return end != first;
}

/* ---- On from there ---- */

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
    while (!found && s->line_clear < to && budget > 0) {
        link = stream__chain_locate_locked(s, s->line_clear, link);
        uint64_t end = stream__least(stream__link_end(link, written), to);
        size_t n = (size_t)stream__least(end - s->line_clear, budget);
        const uint8_t *at = link->data + (s->line_clear - link->offset);
        const uint8_t *newline = memchr(at, '\n', n);
        found = newline != NULL;
        s->line_clear += found ? (size_t)(newline - at) : n;
        budget -= n;
    }
    s->line_hint = link;
    s->line_generation = s->generation;
    return found;
}

/* The line is not in what the cursor knows: look on from there. */
static stream_status
line_further_locked(stream *s, uint64_t limit, const uint8_t **data, uint64_t *size)
{
    bool whole = stream_is_whole(s);
    uint64_t position = stream__position(s);
    uint64_t unread = stream__written(s) - position;
    uint64_t to = position + stream__least(unread, limit);
    if (s->line_clear < position) {
        s->line_clear = position;
    }
    if (search_newline_locked(s, to, STREAM_LOCKED_COPY_BYTES)) {
        return line_found_locked(s, s->line_clear + 1 - position, data, size);
    }
    if (s->line_clear < to) {
        return STREAM_CHANGED;
    }
    if (unread >= limit || (whole && unread > 0)) {
        return line_found_locked(s, to - position, data, size);
    }
    return whole ? STREAM_SHORT : STREAM_AGAIN;
}

stream_status
stream__line_search_locked(stream *s, uint64_t limit, const uint8_t **data,
                           uint64_t *size)
{
    const struct stream_cursor *cursor = &s->front.cursor;
    size_t window = (size_t)(cursor->end - cursor->at);
    uint64_t position = stream__position(s);
    if (window > 0 && s->line_clear <= position) {
        if (window > LINES_WINDOW_BYTES) {
            window = LINES_WINDOW_BYTES;
        }
        if (look_ahead_locked(s, window)) {
            return stream_line_locked(s, limit, data, size);
        }
        s->line_clear = position + window;
    }
    return line_further_locked(s, limit, data, size);
}
