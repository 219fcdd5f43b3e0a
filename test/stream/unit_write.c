/* unit_write.c: life, states and writing. */
#include "test.h"

void
test_unit_new_stream_is_small_and_empty(void)
{
    stream *s = stream_unknown();
    stream_info info;
    stream_get_info(s, &info);
    CHECK(sizeof *s < (PLATFORM_FUTEX ? 600 : 800));
    CHECK(memory_live_blocks() == 1);
    CHECK(info.writer == STREAM_WRITER_OPEN && info.reader == STREAM_READER_OPEN);
    CHECK(info.known_length == STREAM_LENGTH_UNKNOWN);
    CHECK(info.written_offset == 0 && info.read_offset == 0);
    CHECK(info.retained_bytes == 0 && info.views == 0 && info.waiters == 0);
    CHECK(!stream_is_whole(s) && stream_available(s) == 0);
    CHECK(stream__validate(s));
    stream_release(s);
}

void
test_unit_shared_stream_lives_until_last_release(void)
{
    stream *s = stream_unknown();
    CHECK(stream_share(s) == s);
    write_text(s, "here");
    stream_release(s);
    CHECK(stream_available(s) == 4);
    stream_release(s);
    stream_release(NULL);
    CHECK(memory_live_blocks() == 0);
}

void
test_unit_states(void)
{
    stream *s = stream_unknown();
    stream_info info;
    write_text(s, "data");
    stream_end(s);
    stream_end(s);
    CHECK(stream_is_whole(s) && !stream_reader_closed(s));
    stream_close_reader(s);
    stream_close_reader(s);
    stream_get_info(s, &info);
    CHECK(info.writer == STREAM_WRITER_ENDED && info.reader == STREAM_READER_CLOSED);
    CHECK(stream_reader_closed(s) && stream_available(s) == 4);
    stream_release(s);
}

void
test_unit_whole_by_known_length(void)
{
    stream *s = stream_new(5), *empty = stream_new(0);
    CHECK(stream_is_whole(empty));
    write_text(s, "four");
    CHECK(!stream_is_whole(s));
    write_text(s, "5");
    CHECK(stream_is_whole(s));
    write_text(s, "past it");
    CHECK(stream_available(s) == 12 && stream_is_whole(s));
    stream_release(s);
    stream_release(empty);
}

static void
check_refused(stream *s)
{
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(stream_batch_append(&batch, "batch", 5) == STREAM_OK);
    CHECK(stream_append(s, "x", 1) == STREAM_CLOSED);
    CHECK(stream_append(s, "", 0) == STREAM_CLOSED);
    CHECK(adopt_copy(s, "x", 1) == STREAM_CLOSED);
    CHECK(adopt_copy(s, "", 0) == STREAM_CLOSED);
    CHECK(stream_commit(s, &batch) == STREAM_CLOSED && batch.size_bytes == 5);
    CHECK(stream_available(s) == 3);
    stream_batch_clear(&batch);
    CHECK(stream__validate(s));
}

void
test_unit_closed_refuses_every_write(void)
{
    stream *ended = stream_unknown(), *closed = stream_unknown();
    write_text(ended, "abc");
    write_text(closed, "abc");
    stream_end(ended);
    stream_close_reader(closed);
    check_refused(ended);
    check_refused(closed);
    stream_release(ended);
    stream_release(closed);
}

void
test_unit_empty_writes(void)
{
    stream *s = stream_unknown();
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(stream_append(s, "", 0) == STREAM_OK);
    CHECK(adopt_copy(s, "", 0) == STREAM_OK);
    CHECK(foreign_live_blocks() == 0);
    CHECK(stream_batch_append(&batch, "", 0) == STREAM_OK);
    CHECK(batch_adopt_copy(&batch, "", 0) == STREAM_OK);
    CHECK(foreign_live_blocks() == 0 && batch.first == NULL);
    CHECK(stream_commit(s, &batch) == STREAM_OK);
    CHECK(memory_live_blocks() == 1 && stream_available(s) == 0);
    CHECK(stream__validate(s));
    stream_release(s);
}

void
test_unit_appends_fill_the_tail(void)
{
    stream *s = stream_unknown();
    const uint8_t *data;
    for (int i = 0; i < 4; i++) {
        write_text(s, "abcd");
        CHECK(stream__validate(s));
    }
    stream_reader_lock(s);
    CHECK(stream_peek_locked(s, &data) == 16);
    CHECK(memcmp(data, "abcdabcdabcdabcd", 16) == 0);
    stream_reader_unlock(s);
    CHECK(memory_live_blocks() == 2);
    stream_release(s);
}

void
test_unit_slabs_grow_and_fit_a_known_length(void)
{
    stream *s = stream_unknown(), *known = stream_new(9);
    size_t n = 200 * SLAB_MOST_BYTES;
    for (size_t i = 0; i < n; i += 4) {
        write_text(s, "four");
    }
    stream_info info;
    stream_get_info(s, &info);
    CHECK(info.retained_bytes <= n + n / 50 + 2 * SLAB_MOST_BYTES);
    CHECK(memory_live_blocks() < 250);
    write_text(known, "abc");
    write_text(known, "def");
    write_text(known, "ghi");
    stream_get_info(known, &info);
    CHECK(info.retained_bytes == 9);
    stream_release(s);
    stream_release(known);
}

void
test_unit_batches(void)
{
    stream *s = stream_unknown();
    stream_batch batch = STREAM_BATCH_INIT;
    char text[64] = {0};
    CHECK(stream_batch_append(&batch, "ab", 2) == STREAM_OK);
    CHECK(stream_batch_append(&batch, "cdefghijklm", 11) == STREAM_OK);
    CHECK(batch_adopt_copy(&batch, "ADOPTED", 7) == STREAM_OK);
    CHECK(stream_batch_append(&batch, "tail", 4) == STREAM_OK);
    CHECK(batch.size_bytes == 24 && stream_available(s) == 0);
    CHECK(stream_commit(s, &batch) == STREAM_OK);
    CHECK(batch.size_bytes == 0 && batch.first == NULL && stream__validate(s));
    write_text(s, "+more");
    CHECK(read_some(s, text, sizeof text) == 29);
    CHECK(strcmp(text, "abcdefghijklmADOPTEDtail+more") == 0);
    CHECK(batch_adopt_copy(&batch, "never committed", 15) == STREAM_OK);
    stream_batch_clear(&batch);
    stream_batch_clear(&batch);
    stream_release(s);
}

void
test_unit_batch_is_as_before_after_refusal(void)
{
    stream *closed = stream_unknown(), *s = stream_unknown();
    stream_batch batch = STREAM_BATCH_INIT;
    char text[64] = {0};
    write_text(closed, "some");
    stream_end(closed);
    CHECK(batch_adopt_copy(&batch, "one,", 4) == STREAM_OK);
    CHECK(batch_adopt_copy(&batch, "two,", 4) == STREAM_OK);
    CHECK(stream_commit(closed, &batch) == STREAM_CLOSED);
    CHECK(stream_batch_append(&batch, "three", 5) == STREAM_OK);
    CHECK(stream_commit(s, &batch) == STREAM_OK && stream__validate(s));
    CHECK(read_some(s, text, sizeof text) == 13);
    CHECK(strcmp(text, "one,two,three") == 0);
    stream_release(closed);
    stream_release(s);
}

void
test_unit_small_batches_share_slabs(void)
{
    stream *s = stream_unknown();
    stream_batch batch = STREAM_BATCH_INIT;
    for (int i = 0; i < 1000; i++) {
        CHECK(stream_batch_append(&batch, "ab", 2) == STREAM_OK);
        CHECK(stream_batch_append(&batch, "\n", 1) == STREAM_OK);
        CHECK(stream_commit(s, &batch) == STREAM_OK);
    }
    CHECK(memory_live_blocks() < 4 + 3000 / (long)(SLAB_MOST_BYTES / 2));
    stream_release(s);
}

void
test_unit_small_header_costs_its_size(void)
{
    enum { rounds = 100 };
    stream *s = stream_unknown();
    stream_info info;
    for (int i = 0; i < rounds; i++) {
        stream_batch batch = STREAM_BATCH_INIT;
        CHECK(stream_batch_append(&batch, "head", 4) == STREAM_OK);
        CHECK(batch_adopt_copy(&batch, "0123456789", 10) == STREAM_OK);
        CHECK(stream_commit(s, &batch) == STREAM_OK);
    }
    stream_get_info(s, &info);
    CHECK(info.retained_bytes <= rounds * (10 + SLAB_LEAST_BYTES));
    stream_release(s);
}

void
test_unit_million_small_writes(void)
{
    stream *s = stream_unknown();
    for (int i = 0; i < 1000000; i++) {
        CHECK(stream_append(s, "x", 1) == STREAM_OK);
    }
    CHECK(stream_available(s) == 1000000 && stream__validate(s));
    stream_release(s);
}

void
test_unit_adopted_bytes_are_released_once(void)
{
    stream *s = stream_unknown();
    adopt_text(s, "one");
    adopt_text(s, "two");
    CHECK(foreign_live_blocks() == 2);
    char text[8];
    CHECK(read_some(s, text, 6) == 6);
    CHECK(foreign_live_blocks() == 2);
    stream_release(s);
    CHECK(foreign_live_blocks() == 0);
}

static stream_status
adopt_bogus(stream *s, uint64_t size)
{
    static const uint8_t byte;
    return stream_adopt(s, &byte, (size_t)size, release_nothing, NULL);
}

void
test_unit_too_large(void)
{
    stream *s = stream_unknown();
    stream_batch batch = STREAM_BATCH_INIT;
    stream_batch full = STREAM_BATCH_INIT;
    static const uint8_t byte;
    CHECK(stream_batch_adopt(&batch, &byte, 9, release_nothing, NULL) == STREAM_OK);
    CHECK(adopt_bogus(s, STREAM_OFFSET_MAX - 8) == STREAM_OK);
    CHECK(adopt_bogus(s, 9) == STREAM_TOO_LARGE);
    CHECK(adopt_bogus(s, SIZE_MAX) == STREAM_TOO_LARGE);
    CHECK(stream_append(s, "123456789", 9) == STREAM_TOO_LARGE);
    CHECK(stream_commit(s, &batch) == STREAM_TOO_LARGE && batch.size_bytes == 9);
    CHECK(stream_append(s, "12345678", 8) == STREAM_OK);
    CHECK(stream_available(s) == STREAM_OFFSET_MAX && stream__validate(s));
    CHECK(stream_append(s, "1", 1) == STREAM_TOO_LARGE);
    CHECK(stream_append(s, "", 0) == STREAM_OK);
    CHECK(stream_batch_adopt(&full, &byte, (size_t)STREAM_OFFSET_MAX, release_nothing,
                             NULL) == STREAM_OK);
    CHECK(stream_batch_append(&full, "1", 1) == STREAM_TOO_LARGE);
    CHECK(stream_batch_adopt(&full, &byte, 1, release_nothing, NULL) ==
          STREAM_TOO_LARGE);
    stream_batch_clear(&full);
    stream_batch_clear(&batch);
    stream_release(s);
}
