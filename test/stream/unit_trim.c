/* unit_trim.c: a stream that is not seekable frees what has been read. */
#include "test.h"

#define PIECE (2 * VIEW_COPY_BYTES + 10)

static uint8_t
pattern(uint64_t offset)
{
    return (uint8_t)(offset * 13 + (offset >> 8) * 5);
}

static void
write_pattern(stream *s, size_t size, bool adopted)
{
    uint64_t offset = info_of(s).written_offset;
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern(offset + i);
    }
    CHECK((adopted ? adopt_copy(s, bytes, size) : stream_append(s, bytes, size)) ==
          STREAM_OK);
    free(bytes);
}

static void
check_bytes(const uint8_t *bytes, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        CHECK(bytes[i] == pattern(offset + i));
    }
}

static void
read_pattern(stream *s, size_t size)
{
    uint64_t offset = stream_position(s);
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL && read_some(s, bytes, size) == size && stream__validate(s));
    check_bytes(bytes, offset, size);
    free(bytes);
}

static uint64_t
retained(stream *s)
{
    CHECK(stream__validate(s));
    return info_of(s).retained_bytes;
}

static stream *
three_pieces(void)
{
    stream *s = stream_not_seekable();
    for (int i = 0; i < 3; i++) {
        write_pattern(s, PIECE, true);
    }
    CHECK(retained(s) == 3 * PIECE && foreign_live_blocks() == 3);
    return s;
}

void
test_unit_read_bytes_are_freed(void)
{
    stream *s = three_pieces();
    CHECK(!stream_is_seekable(s) && !info_of(s).seekable);
    read_pattern(s, PIECE - 1);
    CHECK(retained(s) == 3 * PIECE);
    read_pattern(s, 1);
    CHECK(retained(s) == 2 * PIECE && foreign_live_blocks() == 2);
    read_pattern(s, PIECE + 1);
    CHECK(retained(s) == PIECE && foreign_live_blocks() == 1);
    read_pattern(s, PIECE - 1);
    CHECK(retained(s) == 0 && foreign_live_blocks() == 0);
    CHECK(memory_live_blocks() == 1 && stream_position(s) == 3 * PIECE);
    write_pattern(s, PIECE, true);
    write_pattern(s, 3, false);
    read_pattern(s, PIECE + 3);
    CHECK(foreign_live_blocks() == 0);
    stream_release(s);
}

/* A release callback may do with the stream what it likes. */
static void
use_stream(void *arg)
{
    stream *s = arg;
    CHECK(stream_reader_trylock(s));
    stream_reader_unlock(s);
    write_text(s, "released");
}

void
test_unit_bytes_are_freed_without_a_lock(void)
{
    stream *s = stream_not_seekable();
    static const char bytes[] = "bytes";
    for (int i = 0; i < 3; i++) {
        CHECK(stream_adopt(s, bytes, 5, use_stream, s) == STREAM_OK);
    }
    drain(s, 5);
    CHECK(stream_available(s) == 18);
    drain(s, 10);
    CHECK(reads(s, "releasedreleasedreleased") && stream__validate(s));
    stream_release(s);
}

void
test_unit_drained_bytes_are_freed(void)
{
    stream *s = three_pieces();
    uint8_t bytes[PIECE + 5];
    drain(s, 2 * PIECE + 3);
    CHECK(retained(s) == PIECE);
    drain(s, PIECE - 3);
    CHECK(retained(s) == 0);
    write_pattern(s, PIECE, true);
    write_pattern(s, 5, false);
    CHECK(stream_read_at(s, 3 * PIECE, bytes, sizeof bytes) == STREAM_OK);
    check_bytes(bytes, 3 * PIECE, sizeof bytes);
    CHECK(foreign_live_blocks() == 0 && stream__validate(s));
    stream_release(s);
}

void
test_unit_a_seekable_stream_keeps_all(void)
{
    stream *s = stream_unknown();
    uint64_t position;
    for (int i = 0; i < 3; i++) {
        write_pattern(s, PIECE, true);
    }
    read_pattern(s, 3 * PIECE);
    CHECK(retained(s) == 3 * PIECE && foreign_live_blocks() == 3);
    CHECK(stream_seek(s, 0, 0, &position) == STREAM_OK);
    read_pattern(s, 3 * PIECE);
    stream_release(s);
}

/* A slab stays for the room in it; nothing else does. */
void
test_unit_slabs_are_freed(void)
{
    stream *s = stream_not_seekable();
    for (uint64_t done = 0; done < 40 * SLAB_MOST_BYTES; done += SLAB_LEAST_BYTES) {
        write_pattern(s, SLAB_LEAST_BYTES, false);
        if (stream_available(s) > SLAB_MOST_BYTES) {
            read_pattern(s, (size_t)stream_available(s) - 1);
        }
        CHECK(retained(s) <= 3 * SLAB_MOST_BYTES);
    }
    read_pattern(s, (size_t)stream_available(s));
    CHECK(retained(s) <= SLAB_MOST_BYTES && memory_live_blocks() <= 2);
    write_pattern(s, PIECE, true);
    read_pattern(s, PIECE);
    CHECK(retained(s) == 0 && memory_live_blocks() == 1);
    stream_release(s);
}

void
test_unit_lines_are_freed(void)
{
    stream *s = stream_not_seekable();
    char line[80];
    adopt_text(s, "first\nsec");
    adopt_text(s, "ond\n");
    adopt_text(s, "a long one ");
    CHECK(next_line(s, line, sizeof line) == STREAM_OK && strcmp(line, "first\n") == 0);
    CHECK(foreign_live_blocks() == 3);
    CHECK(next_line(s, line, sizeof line) == STREAM_OK &&
          strcmp(line, "second\n") == 0);
    CHECK(foreign_live_blocks() == 1 && stream__validate(s));
    for (int i = 0; i < 4; i++) {
        CHECK(next_line(s, line, sizeof line) == STREAM_AGAIN);
        adopt_text(s, i < 3 ? "in pieces " : "ended\nrest");
        CHECK(stream__validate(s));
    }
    CHECK(next_line(s, line, sizeof line) == STREAM_OK);
    CHECK(strcmp(line, "a long one in pieces in pieces in pieces ended\n") == 0);
    CHECK(foreign_live_blocks() == 1);
    CHECK(next_line(s, line, sizeof line) == STREAM_AGAIN);
    stream_end(s);
    CHECK(next_line(s, line, sizeof line) == STREAM_OK && strcmp(line, "rest") == 0);
    CHECK(foreign_live_blocks() == 0 && retained(s) == 0);
    CHECK(next_line(s, line, sizeof line) == STREAM_SHORT);
    stream_release(s);
}

void
test_unit_views_outlive_trimming(void)
{
    stream *s = three_pieces();
    stream_view view, taken;
    stream_reader_lock(s);
    CHECK(stream_view_locked(s, UINT64_MAX, &view) == STREAM_OK);
    stream_reader_unlock(s);
    CHECK(stream_view_take_at(s, 0, PIECE, &taken) == STREAM_OK);
    CHECK(taken.data == view.data && retained(s) == 2 * PIECE);
    CHECK(foreign_live_blocks() == 3 && info_of(s).views == 2);
    drain(s, 2 * PIECE);
    CHECK(retained(s) == 0 && foreign_live_blocks() == 1);
    stream_view_release(&view);
    check_bytes(taken.data, 0, PIECE);
    stream_release(s);
    check_bytes(taken.data, 0, PIECE);
    stream_view_release(&taken);
}

void
test_unit_freed_bytes_are_changed(void)
{
    stream *s = three_pieces();
    uint8_t byte, needle[2] = {pattern(2 * PIECE + 4), pattern(2 * PIECE + 5)};
    uint64_t found, position = 77;
    stream_view view;
    CHECK(stream_copy_at(s, 0, &byte, 1) == STREAM_OK);
    drain(s, 2 * PIECE + 2);
    CHECK(stream_copy_at(s, 0, &byte, 1) == STREAM_CHANGED);
    CHECK(stream_copy_at(s, 2 * PIECE - 1, &byte, 1) == STREAM_CHANGED);
    CHECK(stream_copy_at(s, 2 * PIECE, &byte, 1) == STREAM_OK);
    CHECK(stream_copy_at(s, 3 * PIECE, &byte, 1) == STREAM_RANGE);
    CHECK(stream_read_at(s, 0, &byte, 1) == STREAM_CHANGED);
    CHECK(stream_view_take_at(s, 0, 1, &view) == STREAM_CHANGED);
    CHECK(stream_find(s, needle, 2, 0, 3 * PIECE, &found) == STREAM_CHANGED);
    CHECK(stream_find(s, needle, 2, 2 * PIECE - 1, 3 * PIECE, &found) ==
          STREAM_CHANGED);
    CHECK(stream_find(s, needle, 2, 2 * PIECE, 3 * PIECE, &found) == STREAM_OK);
    CHECK(found == 2 * PIECE + 4);
    for (int whence = 0; whence < 3; whence++) {
        CHECK(stream_seek(s, 0, whence, &position) == STREAM_CHANGED);
    }
    CHECK(position == 77 && stream_position(s) == 2 * PIECE + 2);
    stream_release(s);
}

/* What find and readline remember is of bytes that are gone. */
void
test_unit_memories_of_freed_bytes(void)
{
    stream *s = stream_not_seekable();
    char line[400];
    uint64_t found;
    for (int i = 0; i < 30; i++) {
        adopt_text(s, "abcdefgh");
        uint64_t from = stream_position(s), to = info_of(s).written_offset;
        CHECK(stream_find(s, "hX", 2, from, to, &found) == STREAM_AGAIN);
        CHECK(next_line(s, line, sizeof line) == STREAM_AGAIN);
        if (i % 3 == 2) {
            CHECK(reads(s, "abcdefghabcdefghabcdefgh"));
            CHECK(next_line(s, line, sizeof line) == STREAM_AGAIN);
        }
        CHECK(stream__validate(s));
    }
    adopt_text(s, "abc");
    adopt_text(s, "h");
    adopt_text(s, "X\n");
    CHECK(stream_find(s, "hX", 2, 240, 246, &found) == STREAM_OK && found == 243);
    CHECK(next_line(s, line, sizeof line) == STREAM_OK && strcmp(line, "abchX\n") == 0);
    CHECK(foreign_live_blocks() == 0);
    stream_release(s);
}

/* ---- Merging ---- */

static void
view_pattern(stream *s, stream_view *view)
{
    CHECK(stream_view_all(s, view) == STREAM_OK && stream__validate(s));
    CHECK(view->size_bytes == stream_available(s));
    check_bytes(view->data, stream_position(s), view->size_bytes);
}

void
test_unit_merged_bytes_are_freed(void)
{
    stream *s = three_pieces();
    stream_view view;
    drain(s, 5);
    view_pattern(s, &view);
    CHECK(foreign_live_blocks() == 0);
    uint64_t merged = 3 * PIECE - 5;
    CHECK(retained(s) == 2 * merged);
    write_pattern(s, PIECE, true);
    read_pattern(s, (size_t)merged);
    CHECK(retained(s) == PIECE && foreign_live_blocks() == 1);
    check_bytes(view.data, 5, (size_t)merged);
    stream_view_release(&view);
    read_pattern(s, PIECE);
    CHECK(retained(s) == 0 && memory_live_blocks() == 1);
    stream_release(s);
}

/* A merged block may be large, and its room is not kept for small writes. */
void
test_unit_merged_tail_is_freed(void)
{
    stream *s = stream_not_seekable();
    stream_view view;
    write_pattern(s, SLAB_MOST_BYTES, true);
    write_pattern(s, SLAB_MOST_BYTES, true);
    view_pattern(s, &view);
    stream_view_release(&view);
    CHECK(retained(s) == 4 * SLAB_MOST_BYTES);
    read_pattern(s, 2 * SLAB_MOST_BYTES);
    CHECK(retained(s) == 0 && memory_live_blocks() == 1);
    stream_release(s);
}

void
test_unit_view_after_each_write_and_read(void)
{
    stream *s = stream_not_seekable();
    struct choices choices = {.state = 21};
    stream_view kept = {0};
    uint64_t kept_offset = 0;
    for (int i = 0; i < 600; i++) {
        stream_view view;
        write_pattern(s, 1 + (size_t)choose(&choices, PIECE), choose(&choices, 2) == 0);
        uint64_t offset = stream_position(s);
        view_pattern(s, &view);
        if (choose(&choices, 5) == 0) {
            check_bytes(kept.data, kept_offset, kept.size_bytes);
            stream_view_release(&kept);
            kept = view;
            kept_offset = offset;
        } else {
            stream_view_release(&view);
        }
        read_pattern(s, (size_t)choose(&choices, stream_available(s) + 1));
        CHECK(retained(s) <= 4 * stream_available(s) + 4 * PIECE + SLAB_MOST_BYTES);
    }
    check_bytes(kept.data, kept_offset, kept.size_bytes);
    stream_view_release(&kept);
    stream_release(s);
}
