/* unit_read.c: peeking, copying, draining, seeking. */
#include "test.h"

void
test_unit_reads_across_segments(void)
{
    stream *s = stream_unknown();
    char text[32] = {0};
    adopt_text(s, "abc");
    adopt_text(s, "de");
    write_text(s, "fgh");
    CHECK(read_some(s, text, 1) == 1 && strcmp(text, "a") == 0);
    CHECK(read_some(s, text, 4) == 4 && strcmp(text, "bcde") == 0);
    CHECK(stream_position(s) == 5);
    CHECK(read_some(s, text, 10) == 3 && memcmp(text, "fgh", 3) == 0);
    CHECK(read_some(s, text, 10) == 0);
    CHECK(stream__validate(s));
    stream_release(s);
}

void
test_unit_peek_sees_what_arrived_last(void)
{
    stream *s = stream_unknown();
    const uint8_t *data;
    write_text(s, "ab");
    stream_reader_lock(s);
    CHECK(stream_peek_locked(s, &data) == 2);
    stream_reader_unlock(s);
    write_text(s, "cd");
    CHECK(stream_reader_trylock(s) && !stream_reader_trylock(s));
    CHECK(stream_peek_locked(s, &data) == 4 && memcmp(data, "abcd", 4) == 0);
    CHECK(stream_available_locked(s) == 4);
    stream_drain_locked(s, 4);
    CHECK(stream_peek_locked(s, &data) == 0);
    stream_reader_unlock(s);
    adopt_text(s, "efg");
    stream_reader_lock(s);
    CHECK(stream_peek_locked(s, &data) == 3 && memcmp(data, "efg", 3) == 0);
    stream_reader_unlock(s);
    stream_release(s);
}

void
test_unit_drain_across_segments(void)
{
    stream *s = stream_unknown();
    char text[8] = {0};
    for (int i = 0; i < 10; i++) {
        adopt_text(s, "xyz");
    }
    stream_reader_lock(s);
    stream_drain_locked(s, 0);
    stream_drain_locked(s, 28);
    stream_reader_unlock(s);
    CHECK(stream__validate(s) && stream_available(s) == 2);
    CHECK(read_some(s, text, 8) == 2 && strcmp(text, "yz") == 0);
    stream_release(s);
}

void
test_unit_read_at_and_copy_at(void)
{
    stream *s = stream_unknown();
    char text[32] = {0};
    adopt_text(s, "abc");
    adopt_text(s, "def");
    write_text(s, "ghi");
    CHECK(stream_copy_at(s, 2, text, 5) == STREAM_OK && strcmp(text, "cdefg") == 0);
    CHECK(stream_position(s) == 0);
    CHECK(stream_read_at(s, 0, text, 4) == STREAM_OK && memcmp(text, "abcd", 4) == 0);
    CHECK(stream_position(s) == 4);
    CHECK(stream_read_at(s, 0, text, 4) == STREAM_CHANGED);
    CHECK(stream_read_at(s, 4, text, 6) == STREAM_RANGE);
    CHECK(stream_copy_at(s, 9, text, 0) == STREAM_OK);
    CHECK(stream_copy_at(s, UINT64_MAX, text, 2) == STREAM_RANGE);
    CHECK(stream_position(s) == 4 && stream__validate(s));
    stream_release(s);
}

static void
check_seek(stream *s, int64_t offset, int whence, uint64_t expected)
{
    uint64_t position = UINT64_MAX;
    CHECK(stream_seek(s, offset, whence, &position) == STREAM_OK);
    CHECK(position == expected && stream_position(s) == expected);
    CHECK(stream__validate(s));
}

static void
check_no_seek(stream *s, int64_t offset, int whence, stream_status expected)
{
    uint64_t before = stream_position(s), position = 77;
    CHECK(stream_seek(s, offset, whence, &position) == expected);
    CHECK(position == 77 && stream_position(s) == before);
}

void
test_unit_seek(void)
{
    stream *s = stream_unknown();
    char text[8] = {0};
    check_seek(s, 0, 0, 0);
    check_no_seek(s, 1, 0, STREAM_RANGE);
    adopt_text(s, "abc");
    adopt_text(s, "def");
    write_text(s, "ghi");
    check_seek(s, 9, 0, 9);
    check_seek(s, -5, 1, 4);
    check_seek(s, 3, 1, 7);
    CHECK(read_some(s, text, 8) == 2 && strcmp(text, "hi") == 0);
    check_seek(s, 3, 0, 3);
    CHECK(read_some(s, text, 2) == 2 && strcmp(text, "de") == 0);
    check_no_seek(s, -1, 0, STREAM_RANGE);
    check_no_seek(s, 10, 0, STREAM_RANGE);
    check_no_seek(s, -6, 1, STREAM_RANGE);
    check_no_seek(s, 5, 1, STREAM_RANGE);
    check_no_seek(s, INT64_MIN, 1, STREAM_RANGE);
    check_no_seek(s, INT64_MAX, 1, STREAM_RANGE);
    check_no_seek(s, 0, 2, STREAM_NOT_ENDED);
    check_no_seek(s, 0, 3, STREAM_RANGE);
    stream_end(s);
    check_seek(s, 0, 2, 9);
    check_seek(s, -2, 2, 7);
    check_no_seek(s, 1, 2, STREAM_RANGE);
    check_no_seek(s, INT64_MIN, 2, STREAM_RANGE);
    stream_release(s);
}

/* One static block adopted again and again: 5 GiB of stream in little memory. */
void
test_unit_offsets_past_4_gib(void)
{
    static char block[1 << 20];
    const uint64_t blocks = 5 << 10, size = blocks << 20;
    stream *s = stream_unknown();
    memset(block, '.', sizeof block);
    block[0] = '<';
    block[sizeof block - 1] = '\n';
    for (uint64_t i = 0; i < blocks; i++) {
        CHECK(stream_adopt(s, block, sizeof block, release_nothing, NULL) == STREAM_OK);
    }
    CHECK(stream_available(s) == size && stream__validate(s));
    write_text(s, "END\n");

    char text[8] = {0};
    uint64_t found, gib4 = (uint64_t)1 << 32;
    CHECK(stream_copy_at(s, gib4 - 1, text, 3) == STREAM_OK);
    CHECK(strcmp(text, "\n<.") == 0);
    check_seek(s, (int64_t)gib4 - 1, 0, gib4 - 1);
    CHECK(next_line(s, text, sizeof text) == STREAM_OK && strcmp(text, "\n") == 0);
    CHECK(stream_position(s) == gib4);
    check_seek(s, (int64_t)(size - gib4), 1, size);
    CHECK(next_line(s, text, sizeof text) == STREAM_OK && strcmp(text, "END\n") == 0);
    check_seek(s, 0, 0, 0);
    stream_reader_lock(s);
    stream_drain_locked(s, size - 2);
    stream_reader_unlock(s);
    CHECK(read_some(s, text, 4) == 4 && memcmp(text, ".\nEN", 4) == 0);
    CHECK(stream_find(s, "\n<", 2, gib4, size, &found) == STREAM_OK);
    CHECK(found == gib4 + sizeof block - 1);
    CHECK(stream_find(s, "\nEND", 4, gib4, size + 4, &found) == STREAM_OK);
    CHECK(found == size - 1);
    stream_release(s);
}
