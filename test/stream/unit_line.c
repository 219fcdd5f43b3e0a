/* unit_line.c: lines, however they arrive. */
#include "test.h"

static void
check_line(stream *s, const char *expected)
{
    static char line[1 << 20];
    CHECK(next_line(s, line, sizeof line) == STREAM_OK);
    CHECK(strcmp(line, expected) == 0);
    CHECK(stream__validate(s));
}

static void
check_no_line(stream *s, stream_status expected)
{
    char line[8];
    uint64_t before = stream_position(s);
    CHECK(next_line(s, line, sizeof line) == expected);
    CHECK(stream_position(s) == before);
}

void
test_unit_lines(void)
{
    stream *s = stream_unknown();
    check_no_line(s, STREAM_AGAIN);
    write_text(s, "one\ntwo\n\nfour");
    check_line(s, "one\n");
    check_line(s, "two\n");
    check_line(s, "\n");
    check_no_line(s, STREAM_AGAIN);
    check_no_line(s, STREAM_AGAIN);
    adopt_text(s, " and");
    check_no_line(s, STREAM_AGAIN);
    adopt_text(s, " more\nlast");
    check_line(s, "four and more\n");
    check_no_line(s, STREAM_AGAIN);
    stream_end(s);
    check_line(s, "last");
    check_no_line(s, STREAM_SHORT);
    stream_release(s);
}

static void
check_limit(stream *s, uint64_t limit, stream_status expected, uint64_t length)
{
    const uint8_t *data;
    uint64_t size = 0;
    stream_status status;
    stream_reader_lock(s);
    do {
        status = stream_line_locked(s, limit, &data, &size);
    } while (status == STREAM_CHANGED);
    stream_reader_unlock(s);
    CHECK(status == expected && (status != STREAM_OK || size == length));
}

void
test_unit_line_limit(void)
{
    stream *s = stream_unknown();
    adopt_text(s, "abc");
    adopt_text(s, "def\ngh");
    check_limit(s, 2, STREAM_OK, 2);
    check_limit(s, 3, STREAM_OK, 3);
    check_limit(s, 5, STREAM_OK, 5);
    check_limit(s, 6, STREAM_OK, 6);
    check_limit(s, 7, STREAM_OK, 7);
    check_limit(s, 8, STREAM_OK, 7);
    check_limit(s, UINT64_MAX, STREAM_OK, 7);
    check_line(s, "abcdef\n");
    check_limit(s, 2, STREAM_OK, 2);
    check_limit(s, 3, STREAM_AGAIN, 0);
    check_limit(s, 1, STREAM_OK, 1);
    stream_close_reader(s);
    check_limit(s, 3, STREAM_OK, 2);
    stream_release(s);
}

void
test_unit_line_in_pieces(void)
{
    stream *s = stream_unknown();
    char expected[301];
    for (int i = 0; i < 300; i++) {
        expected[i] = (char)('a' + i % 26);
        check_no_line(s, STREAM_AGAIN);
        if (i % 3 == 0) {
            CHECK(adopt_copy(s, &expected[i], 1) == STREAM_OK);
        } else {
            CHECK(stream_append(s, &expected[i], 1) == STREAM_OK);
        }
    }
    expected[299] = '\n';
    expected[300] = '\0';
    uint64_t position;
    CHECK(stream_seek(s, 1, 1, &position) == STREAM_OK);
    check_no_line(s, STREAM_AGAIN);
    CHECK(stream_seek(s, 0, 0, &position) == STREAM_OK);
    write_text(s, "\n");
    CHECK(stream_available(s) == 301);
    char line[400];
    CHECK(next_line(s, line, sizeof line) == STREAM_OK && strlen(line) == 301);
    CHECK(memcmp(line, expected, 299) == 0);
    stream_release(s);
}

void
test_unit_line_after_seek(void)
{
    stream *s = stream_unknown();
    uint64_t position;
    adopt_text(s, "aa\nbb");
    adopt_text(s, "bb\ncc");
    check_line(s, "aa\n");
    check_line(s, "bbbb\n");
    check_no_line(s, STREAM_AGAIN);
    CHECK(stream_seek(s, 1, 0, &position) == STREAM_OK);
    check_line(s, "a\n");
    CHECK(stream_seek(s, 9, 0, &position) == STREAM_OK);
    check_no_line(s, STREAM_AGAIN);
    CHECK(stream_seek(s, 4, 0, &position) == STREAM_OK);
    check_line(s, "bbb\n");
    stream_release(s);
}

/* However long the line, a call searches a bounded part of it. */
void
test_unit_long_line_gives_the_lock_up(void)
{
    stream *s = stream_unknown();
    size_t size = 20 * STREAM_LOCKED_COPY_BYTES;
    uint8_t *bytes = calloc(size, 1);
    CHECK(bytes != NULL);
    CHECK(stream_adopt(s, bytes, size, free, bytes) == STREAM_OK);
    stream_reader_lock(s);
    const uint8_t *data;
    uint64_t length;
    int calls = 1;
    while (stream_line_locked(s, UINT64_MAX, &data, &length) == STREAM_CHANGED) {
        calls++;
    }
    CHECK(calls >= 10 && calls <= 21);
    CHECK(stream_line_locked(s, UINT64_MAX, &data, &length) == STREAM_AGAIN);
    stream_reader_unlock(s);
    write_text(s, "\n");
    stream_reader_lock(s);
    CHECK(stream_line_locked(s, UINT64_MAX, &data, &length) == STREAM_OK);
    CHECK(length == size + 1 && data == NULL);
    stream_reader_unlock(s);
    stream_release(s);
}

static int64_t
time_of_long_line(size_t pieces)
{
    stream *s = stream_unknown();
    static uint8_t piece[8192];
    const uint8_t *data;
    uint64_t length;
    stream_status status = STREAM_AGAIN;
    int64_t begin = cpu_ns();
    for (size_t i = 0; i < pieces; i++) {
        CHECK(stream_append(s, piece, sizeof piece) == STREAM_OK);
        stream_reader_lock(s);
        do {
            status = stream_line_locked(s, UINT64_MAX, &data, &length);
        } while (status == STREAM_CHANGED);
        stream_reader_unlock(s);
        CHECK(status == STREAM_AGAIN);
    }
    int64_t took = cpu_ns() - begin;
    stream_release(s);
    return took;
}

/* Sixteen times the line in far less than 256 times the time. */
void
test_unit_long_line_in_pieces_is_linear(void)
{
    int64_t small = time_of_long_line(128), large = time_of_long_line(2048);
    CHECK(large < 80 * small + 100000000);
}
