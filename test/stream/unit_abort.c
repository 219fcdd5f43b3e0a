/* unit_abort.c: a stream that failed is never taken for a whole one. */
#include "test.h"

static stream *
aborted_stream(uint64_t known_length, struct test_reason *reason)
{
    stream *s = stream_new(known_length);
    CHECK(s != NULL);
    write_text(s, "half a li");
    CHECK(stream_abort(s, make_reason(reason)));
    CHECK(stream__validate(s));
    return s;
}

void
test_unit_abort(void)
{
    struct test_reason reason, late;
    stream *s = aborted_stream(STREAM_LENGTH_UNKNOWN, &reason);
    stream_info info = info_of(s);
    CHECK(info.writer == STREAM_WRITER_ABORTED && info.reader == STREAM_READER_OPEN);
    CHECK(stream_is_aborted(s) && stream_is_whole(s) && !stream_reader_closed(s));
    CHECK(stream_abort_reason(s) == &reason.base && reason.released == 0);
    CHECK(!stream_abort(s, make_reason(&late)) && late.released == 1);
    stream_end(s);
    CHECK(stream_is_aborted(s) && stream_abort_reason(s) == &reason.base);
    stream_close_reader(s);
    CHECK(stream_is_aborted(s) && stream_reader_closed(s) && stream__validate(s));
    CHECK(stream_is_truncated(s));
    stream_release(s);
    CHECK(reason.released == 1);
}

void
test_unit_abort_refuses_every_write(void)
{
    struct test_reason reason;
    stream *s = aborted_stream(STREAM_LENGTH_UNKNOWN, &reason);
    struct parked_write write;
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(stream_append(s, "x", 1) == STREAM_ABORTED);
    CHECK(stream_append(s, "", 0) == STREAM_ABORTED);
    CHECK(adopt_copy(s, "x", 1) == STREAM_ABORTED);
    CHECK(adopt_copy(s, "", 0) == STREAM_ABORTED && foreign_live_blocks() == 0);
    CHECK(stream_commit(s, &batch) == STREAM_ABORTED);
    CHECK(park_text(s, &write, "x", true) == STREAM_ABORTED && write.notices == 0);
    stream_close_reader(s);
    CHECK(stream_append(s, "x", 1) == STREAM_ABORTED);
    CHECK(info_of(s).written_offset == 9);
    stream_release(s);
}

void
test_unit_abort_leaves_what_arrived(void)
{
    struct test_reason reason;
    stream *s = aborted_stream(100, &reason);
    uint64_t position = 5;
    char line[20];
    CHECK(stream_seek(s, 0, 2, &position) == STREAM_NOT_ENDED && position == 5);
    CHECK(stream_seek(s, 1, 0, &position) == STREAM_OK && position == 1);
    CHECK(next_line(s, line, sizeof line) == STREAM_OK);
    CHECK(strcmp(line, "alf a li") == 0);
    CHECK(next_line(s, line, sizeof line) == STREAM_SHORT);
    CHECK(wait_for(s, 9, 10, STREAM_FOREVER) == STREAM_OK);
    stream_release(s);
    CHECK(reason.released == 1);
}

/* Nothing fails any more once all of it is there. */
void
test_unit_abort_of_a_complete_stream(void)
{
    struct test_reason reason;
    stream *ended = stream_unknown(), *known = stream_new(4), *empty = stream_new(0);
    stream *closed = stream_unknown();
    write_text(ended, "data");
    stream_end(ended);
    write_text(known, "dat");
    CHECK(!stream_abort(ended, make_reason(&reason)) && reason.released == 1);
    CHECK(!stream_is_aborted(ended) && stream_abort_reason(ended) == NULL);
    write_text(known, "a");
    CHECK(!stream_abort(known, make_reason(&reason)) && reason.released == 1);
    CHECK(info_of(known).writer == STREAM_WRITER_OPEN);
    write_text(known, "more");
    CHECK(!stream_abort(known, make_reason(&reason)) && reads(known, "datamore"));
    CHECK(!stream_abort(empty, make_reason(&reason)) && reason.released == 1);
    stream_close_reader(closed);
    CHECK(stream_abort(closed, make_reason(&reason)) && reason.released == 0);
    CHECK(stream_is_aborted(closed) && !stream_is_truncated(closed));
    CHECK(stream__validate(ended) && stream__validate(known));
    stream_release(ended);
    stream_release(known);
    stream_release(empty);
    stream_release(closed);
    CHECK(reason.released == 1);
}

/* A reader that wanted no more sees an end; one that read on sees the failure. */
void
test_unit_abort_truncates_what_was_being_read(void)
{
    struct test_reason reason, late;
    uint64_t position;
    stream *read = aborted_stream(100, &reason), *closed = stream_unknown();
    write_text(closed, "abc");
    CHECK(!stream_is_truncated(closed));
    stream_close_reader(read);
    CHECK(stream_is_truncated(read));
    stream_close_reader(closed);
    CHECK(stream_abort(closed, make_reason(&late)) && stream_is_aborted(closed));
    CHECK(!stream_is_truncated(closed));
    CHECK(stream_seek(read, 0, 2, &position) == STREAM_NOT_ENDED);
    CHECK(stream_seek(closed, 0, 2, &position) == STREAM_OK && position == 3);
    stream_release(read);
    stream_release(closed);
}

void
test_unit_abort_short_of_the_known_length(void)
{
    struct test_reason reason;
    stream *s = stream_new(10);
    write_text(s, "short");
    stream_end(s);
    CHECK(!stream_abort(s, make_reason(&reason)) && !stream_is_aborted(s));
    stream_release(s);
    s = aborted_stream(10, &reason);
    CHECK(stream_is_aborted(s) && stream_is_whole(s));
    stream_release(s);
}

void
test_unit_abort_wakes_readers(void)
{
    struct test_reason reason;
    stream *s = stream_unknown();
    struct sleeper sleepers[2];
    start_sleeper(&sleepers[0], s, 1, NULL);
    start_sleeper(&sleepers[1], s, UINT64_MAX, NULL);
    await_waiters(s, 2);
    CHECK(stream_abort(s, make_reason(&reason)));
    join_sleeper(&sleepers[0], STREAM_OK);
    join_sleeper(&sleepers[1], STREAM_OK);
    CHECK(info_of(s).waiters == 0);
    stream_release(s);
}

/* ---- One end only ---- */

static struct test_reason racing_reason;

static void *
abort_it(void *arg)
{
    bool first = stream_abort(arg, make_reason(&racing_reason));
    CHECK(racing_reason.released == (first ? 0 : 1));
    return first ? &racing_reason : NULL;
}

static void *
end_it(void *arg)
{
    stream_end(arg);
    return NULL;
}

static void
check_one_end(void)
{
    stream *s = stream_unknown();
    pthread_t threads[2];
    void *aborted;
    CHECK(pthread_create(&threads[0], NULL, abort_it, s) == 0);
    CHECK(pthread_create(&threads[1], NULL, end_it, s) == 0);
    CHECK(pthread_join(threads[0], &aborted) == 0);
    CHECK(pthread_join(threads[1], NULL) == 0);
    CHECK(stream_is_aborted(s) == (aborted != NULL) && stream__validate(s));
    CHECK(info_of(s).writer ==
          (aborted != NULL ? STREAM_WRITER_ABORTED : STREAM_WRITER_ENDED));
    stream_release(s);
    CHECK(racing_reason.released == 1);
}

void
test_unit_abort_beside_end(void)
{
    for (int i = 0; i < 100 * SCALE; i++) {
        check_one_end();
    }
}
