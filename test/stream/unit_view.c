/* unit_view.c: pins, merging, and what merging promises. */
#include "test.h"

/* Larger than what a view copies. */
#define PIECE (4 * VIEW_COPY_BYTES)

static uint8_t
pattern(uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) * 7);
}

static void
adopt_pattern(stream *s, size_t size)
{
    uint64_t offset = stream_position(s) + stream_available(s);
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern(offset + i);
    }
    CHECK(adopt_copy(s, bytes, size) == STREAM_OK);
    free(bytes);
}

static void
append_pattern(stream *s, size_t size)
{
    uint64_t offset = stream_position(s) + stream_available(s);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = pattern(offset + i);
        CHECK(stream_append(s, &byte, 1) == STREAM_OK);
    }
}

static void
check_view(const stream_view *view, uint64_t offset, size_t size)
{
    CHECK(view->size_bytes == size);
    for (size_t i = 0; i < size; i++) {
        CHECK(view->data[i] == pattern(offset + i));
    }
}

static stream_view
view_all(stream *s)
{
    stream_view view;
    CHECK(stream_view_all(s, &view) == STREAM_OK);
    CHECK(stream__validate(s));
    check_view(&view, stream_position(s), (size_t)stream_available(s));
    return view;
}

static uint32_t
views_of(stream *s)
{
    stream_info info;
    stream_get_info(s, &info);
    return info.views;
}

static stream_view
view_next(stream *s, uint64_t max)
{
    stream_view view;
    stream_reader_lock(s);
    CHECK(stream_view_locked(s, max, &view) == STREAM_OK);
    stream_reader_unlock(s);
    return view;
}

void
test_unit_view_is_a_pin(void)
{
    stream *s = stream_unknown();
    adopt_pattern(s, 2 * PIECE);
    adopt_pattern(s, PIECE);
    stream_view view = view_next(s, UINT64_MAX);
    check_view(&view, 0, 2 * PIECE);
    CHECK(views_of(s) == 1 && memory_live_blocks() == 3);
    drain(s, 1);
    stream_view part = view_next(s, PIECE);
    check_view(&part, 1, PIECE);
    CHECK(part.data == view.data + 1 && views_of(s) == 2);
    stream_view_release(&view);
    stream_view_release(&view);
    stream_view_release(NULL);
    CHECK(view.segment == NULL && view.size_bytes == 0 && views_of(s) == 1);
    drain(s, 3 * PIECE - 1);
    stream_view empty = view_next(s, UINT64_MAX);
    CHECK(empty.size_bytes == 0 && empty.data != NULL && views_of(s) == 1);
    stream_view_release(&empty);
    stream_release(s);
    check_view(&part, 1, PIECE);
    stream_view_release(&part);
}

void
test_unit_small_view_is_a_copy(void)
{
    stream *s = stream_unknown();
    adopt_pattern(s, PIECE);
    stream_view view = view_next(s, VIEW_COPY_BYTES - 1);
    CHECK(foreign_live_blocks() == 1);
    stream_release(s);
    CHECK(foreign_live_blocks() == 0);
    check_view(&view, 0, VIEW_COPY_BYTES - 1);
    stream_view_release(&view);
}

void
test_unit_view_outlives_stream(void)
{
    stream *s = stream_unknown();
    adopt_pattern(s, PIECE);
    append_pattern(s, PIECE);
    stream_view merged = view_all(s);
    CHECK(foreign_live_blocks() == 0);
    adopt_pattern(s, PIECE);
    drain(s, 2 * PIECE);
    stream_view adopted = view_next(s, UINT64_MAX);
    stream_release(s);
    CHECK(foreign_live_blocks() == 1);
    check_view(&merged, 0, 2 * PIECE);
    check_view(&adopted, 2 * PIECE, PIECE);
    stream_view_release(&adopted);
    CHECK(foreign_live_blocks() == 0);
    stream_view_release(&merged);
}

void
test_unit_view_shares(void)
{
    stream *s = stream_unknown();
    adopt_pattern(s, PIECE);
    stream_view view = view_next(s, UINT64_MAX), empty = {0};
    stream_view copy = stream_view_share(&view), none = stream_view_share(&empty);
    CHECK(copy.data == view.data && views_of(s) == 2);
    stream_view_release(&view);
    stream_view_release(&none);
    stream_release(s);
    check_view(&copy, 0, PIECE);
    stream_view_release(&copy);
}

void
test_unit_view_all_merges(void)
{
    stream *s = stream_unknown();
    stream_view none = view_all(s);
    CHECK(none.size_bytes == 0);
    for (int i = 0; i < 10; i++) {
        adopt_pattern(s, PIECE + (size_t)i);
        append_pattern(s, 5);
    }
    stream_view first = view_all(s), second = view_all(s);
    CHECK(first.data == second.data && stream_position(s) == 0);
    CHECK(foreign_live_blocks() == 0);
    uint8_t bytes[16];
    CHECK(stream_copy_at(s, PIECE - 4, bytes, 16) == STREAM_OK);
    CHECK(memcmp(bytes, first.data + PIECE - 4, 16) == 0);
    stream_view_release(&first);
    stream_view_release(&second);
    stream_release(s);
}

void
test_unit_view_all_starts_inside_a_segment(void)
{
    stream *s = stream_unknown();
    uint64_t position;
    for (int i = 0; i < 4; i++) {
        adopt_pattern(s, PIECE);
    }
    drain(s, PIECE + 3);
    stream_view view = view_all(s);
    CHECK(foreign_live_blocks() == 2);
    CHECK(stream_seek(s, 0, 0, &position) == STREAM_OK && stream__validate(s));
    stream_view all = view_all(s);
    adopt_pattern(s, PIECE);
    CHECK(stream_seek(s, 1, 0, &position) == STREAM_OK && stream__validate(s));
    stream_view again = view_all(s);
    check_view(&view, PIECE + 3, 3 * PIECE - 3);
    check_view(&all, 0, 4 * PIECE);
    stream_view_release(&again);
    stream_view_release(&all);
    stream_view_release(&view);
    stream_release(s);
}

/* Counts the blocks that are made: each is twice as large as the one before. */
void
test_unit_view_all_on_growing_stream_is_linear(void)
{
    stream *s = stream_unknown();
    const uint8_t *last = NULL;
    int blocks = 0;
    for (int i = 0; i < 500; i++) {
        adopt_pattern(s, PIECE);
        stream_view view;
        CHECK(stream_view_all(s, &view) == STREAM_OK);
        blocks += view.data != last;
        last = view.data;
        stream_view_release(&view);
    }
    CHECK(blocks <= 12 && foreign_live_blocks() == 0);
    stream_view view = view_all(s);
    stream_view_release(&view);
    stream_release(s);
}

void
test_unit_view_all_is_at_most_twice_unread(void)
{
    stream *growing = stream_unknown(), *known = stream_new(9 * PIECE);
    stream *ended = stream_unknown();
    stream *all[] = {growing, known, ended};
    const uint64_t expected[] = {16 * PIECE, 9 * PIECE, 8 * PIECE};
    for (int i = 0; i < 3; i++) {
        for (int piece = 0; piece < 8; piece++) {
            adopt_pattern(all[i], PIECE);
        }
        if (all[i] == ended) {
            stream_end(ended);
        }
        stream_view view = view_all(all[i]);
        stream_info info;
        stream_get_info(all[i], &info);
        CHECK(info.retained_bytes == expected[i]);
        stream_view_release(&view);
        stream_release(all[i]);
    }
}

void
test_unit_merged_tail_takes_appends_under_views(void)
{
    stream *s = stream_unknown();
    stream_view views[40];
    adopt_pattern(s, PIECE);
    adopt_pattern(s, PIECE);
    stream_view first = view_all(s);
    for (int i = 0; i < 40; i++) {
        if (i % 3 == 0) {
            adopt_pattern(s, 7);
        } else {
            append_pattern(s, 3);
        }
        CHECK(stream__validate(s));
        views[i] = view_all(s);
    }
    for (int i = 39; i >= 0; i--) {
        check_view(&views[i], 0, views[i].size_bytes);
        stream_view_release(&views[i]);
    }
    check_view(&first, 0, 2 * PIECE);
    stream_view_release(&first);
    stream_release(s);
}

/* A slab that a merge cut short has published bytes behind its new end, on which views
 * may look: later merges must not take them for room. */
void
test_unit_truncated_segment_is_never_filled(void)
{
    stream *s = stream_unknown();
    uint64_t position;
    append_pattern(s, 6);
    stream_view whole_slab = view_next(s, UINT64_MAX);
    adopt_pattern(s, SLAB_FIRST_BYTES);
    drain(s, 2);
    stream_view merged = view_all(s);
    CHECK(stream_seek(s, 0, 0, &position) == STREAM_OK);
    const uint8_t *data;
    stream_reader_lock(s);
    CHECK(stream_peek_locked(s, &data) == 2);
    stream_segment *slab = stream__segment_of(s->front.cursor.link);
    CHECK(slab->limit == data + 2);
    stream_reader_unlock(s);
    stream_view all = view_all(s);
    check_view(&whole_slab, 0, 6);
    check_view(&merged, 2, SLAB_FIRST_BYTES + 4);
    stream_view_release(&all);
    stream_view_release(&merged);
    stream_view_release(&whole_slab);
    stream_release(s);
}

void
test_unit_view_take_at(void)
{
    stream *s = stream_unknown();
    stream_view view, untouched = {.size_bytes = 99};
    for (int i = 0; i < 4; i++) {
        adopt_pattern(s, PIECE);
    }
    CHECK(stream_view_take_at(s, 0, PIECE, &view) == STREAM_OK);
    check_view(&view, 0, PIECE);
    stream_view_release(&view);
    CHECK(stream_view_take_at(s, PIECE, PIECE + 1, &view) == STREAM_OK);
    check_view(&view, PIECE, PIECE + 1);
    CHECK(stream_position(s) == 2 * PIECE + 1 && views_of(s) == 1);
    stream_view_release(&view);
    CHECK(stream_view_take_at(s, 0, 1, &untouched) == STREAM_CHANGED);
    CHECK(stream_view_take_at(s, 2 * PIECE + 1, 2 * PIECE, &untouched) == STREAM_RANGE);
    CHECK(untouched.size_bytes == 99);
    CHECK(stream_view_take_at(s, 2 * PIECE + 1, 0, &view) == STREAM_OK);
    CHECK(view.size_bytes == 0 && stream_position(s) == 2 * PIECE + 1);
    CHECK(stream_view_take_at(s, 2 * PIECE + 1, 1, &view) == STREAM_OK);
    check_view(&view, 2 * PIECE + 1, 1);
    stream_view_release(&view);
    CHECK(stream__validate(s));
    stream_release(s);
}
