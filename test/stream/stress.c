/*
 * stress.c: many threads read, view and search one stream.  A lost wake-up shows as a
 * test that runs into its deadline, a lost pin or lock to the sanitisers and in the
 * bytes.
 */
#include "test.h"

#include <sched.h>

/* ---- Every byte once: records of several writers, taken by several readers ---- */

enum { WRITERS = 3, READERS = 3, RECORDS = 8000 * SCALE, RECORD_BYTES = 8 };

struct record {
    uint32_t writer, number;
};

struct records {
    stream *s;
    atomic_uint next_writer;
    atomic_uint next_reader;
    atomic_uchar seen[WRITERS][RECORDS];
};

static void
write_records(stream *s, const struct record *records, size_t count, uint64_t how)
{
    size_t size = count * RECORD_BYTES;
    stream_batch batch = STREAM_BATCH_INIT;
    switch (how) {
    case 0:
        CHECK(stream_append(s, records, size) == STREAM_OK);
        return;
    case 1:
        CHECK(adopt_copy(s, records, size) == STREAM_OK);
        return;
    default:
        CHECK(stream_batch_append(&batch, records, RECORD_BYTES) == STREAM_OK);
        CHECK(batch_adopt_copy(&batch, records + 1, size - RECORD_BYTES) == STREAM_OK);
        CHECK(stream_commit(s, &batch) == STREAM_OK);
    }
}

static void *
record_writer(void *arg)
{
    struct records *shared = arg;
    struct record records[200];
    uint32_t writer = shared->next_writer++, number = 0;
    struct choices choices = {.state = writer + 1};
    while (number < RECORDS) {
        size_t count = 1 + choose(&choices, choose(&choices, 4) == 0 ? 200 : 8);
        if (count > RECORDS - number) {
            count = RECORDS - number;
        }
        for (size_t i = 0; i < count; i++) {
            records[i] = (struct record){writer, number++};
        }
        write_records(shared->s, records, count, choose(&choices, 3));
        if (choose(&choices, 16) == 0) {
            sched_yield();
        }
    }
    return NULL;
}

/* A reader sees the records of each writer in their order. */
static void
check_records(struct records *shared, const struct record *records, size_t count,
              uint32_t *last)
{
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &records[i];
        CHECK(record->writer < WRITERS && record->number < RECORDS);
        CHECK(shared->seen[record->writer][record->number]++ == 0);
        CHECK(last[record->writer] == 0 || record->number + 1 > last[record->writer]);
        last[record->writer] = record->number + 1;
    }
}

static size_t
take_locked(stream *s, struct record *records, size_t count)
{
    stream_reader_lock(s);
    size_t n = (size_t)(stream_available_locked(s) / RECORD_BYTES);
    n = n < count ? n : count;
    stream_copy_locked(s, records, n * RECORD_BYTES);
    stream_drain_locked(s, n * RECORD_BYTES);
    stream_reader_unlock(s);
    return n;
}

static size_t
take_unlocked(stream *s, struct record *records, size_t count, bool by_view)
{
    uint64_t position = stream_position(s);
    size_t n = (size_t)((stream__written(s) - position) / RECORD_BYTES);
    stream_view view;
    n = n < count ? n : count;
    if (!by_view) {
        stream_status status = stream_read_at(s, position, records, n * RECORD_BYTES);
        return status == STREAM_OK ? n : 0;
    }
    if (stream_view_take_at(s, position, n * RECORD_BYTES, &view) != STREAM_OK) {
        return 0;
    }
    memcpy(records, view.data, view.size_bytes);
    stream_view_release(&view);
    return n;
}

static void *
record_reader(void *arg)
{
    struct records *shared = arg;
    struct record records[500];
    uint32_t last[WRITERS] = {0};
    struct choices choices = {.state = 100 + shared->next_reader++};
    for (;;) {
        uint64_t position = stream_position(shared->s);
        bool whole = stream_is_whole(shared->s);
        size_t most = 1 + choose(&choices, 500), n = 0;
        uint64_t how = choose(&choices, 3);
        n = how == 0 ? take_locked(shared->s, records, most)
                     : take_unlocked(shared->s, records, most, how == 1);
        check_records(shared, records, n, last);
        if (n == 0 && stream_available(shared->s) == 0) {
            if (whole) {
                return NULL;
            }
            stream_want want = {.position = position,
                                .need_offset = position + RECORD_BYTES,
                                .deadline_ns = STREAM_FOREVER,
                                .spin_ns = (uint32_t)choose(&choices, 2) * 5000};
            CHECK(stream_wait(shared->s, &want) == STREAM_OK);
        }
    }
}

void
test_stress_every_byte_once(void)
{
    static struct records shared;
    struct crew writers = {0}, readers = {0};
    shared.s = stream_unknown();
    for (int i = 0; i < READERS; i++) {
        crew_add(&readers, record_reader, &shared);
    }
    for (int i = 0; i < WRITERS; i++) {
        crew_add(&writers, record_writer, &shared);
    }
    crew_join(&writers);
    stream_end(shared.s);
    crew_join(&readers);
    for (int i = 0; i < WRITERS; i++) {
        for (int n = 0; n < RECORDS; n++) {
            CHECK(shared.seen[i][n] == 1);
        }
    }
    CHECK(stream__validate(shared.s));
    stream_release(shared.s);
}

/* ---- Every line once ---- */

enum { LINES = 10000 * SCALE };

struct lines {
    stream *s;
    atomic_uchar seen[LINES];
};

/* Line i has i % 150 letters more, and arrives in pieces. */
static void *
line_writer(void *arg)
{
    struct lines *shared = arg;
    struct choices choices = {.state = 5};
    char line[256];
    for (int i = 0; i < LINES; i++) {
        int size = snprintf(line, sizeof line, "%d %.*s\n", i, i % 150,
                            "llllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
                            "llllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
                            "llllllllllllllllllllllllllllllllll");
        for (int done = 0; done < size;) {
            size_t n = 1 + choose(&choices, (uint64_t)(size - done));
            if (choose(&choices, 8) == 0) {
                CHECK(adopt_copy(shared->s, line + done, n) == STREAM_OK);
            } else {
                CHECK(stream_append(shared->s, line + done, n) == STREAM_OK);
            }
            done += (int)n;
        }
    }
    stream_end(shared->s);
    return NULL;
}

static void *
line_reader(void *arg)
{
    struct lines *shared = arg;
    char line[256];
    for (;;) {
        uint64_t position = stream_position(shared->s);
        uint64_t seen = position + stream_available(shared->s);
        stream_status status = next_line(shared->s, line, sizeof line);
        if (status == STREAM_SHORT) {
            return NULL;
        }
        if (status == STREAM_OK) {
            char *rest;
            long number = strtol(line, &rest, 10);
            CHECK(number >= 0 && number < LINES && shared->seen[number]++ == 0);
            CHECK(strlen(rest) ==
                  (size_t)(2 + (number % 150 < 150 ? number % 150 : 0)));
        } else {
            CHECK(wait_for(shared->s, position, seen + 1, STREAM_FOREVER) == STREAM_OK);
        }
    }
}

void
test_stress_every_line_once(void)
{
    static struct lines shared;
    struct crew crew = {0};
    shared.s = stream_unknown();
    for (int i = 0; i < 3; i++) {
        crew_add(&crew, line_reader, &shared);
    }
    crew_add(&crew, line_writer, &shared);
    crew_join(&crew);
    for (int i = 0; i < LINES; i++) {
        CHECK(shared.seen[i] == 1);
    }
    CHECK(stream__validate(shared.s));
    stream_release(shared.s);
}

/* ---- Views, merging, searching, seeking: words that count up ---- */

enum { WORDS = 100000 * SCALE };

struct words {
    stream *s;
    atomic_bool done;
    atomic_uint next;
};

static void *
word_writer(void *arg)
{
    struct words *shared = arg;
    struct choices choices = {.state = 77};
    uint64_t words[300], next = 0;
    while (next < WORDS) {
        size_t count = 1 + choose(&choices, choose(&choices, 3) == 0 ? 300 : 5);
        for (size_t i = 0; i < count; i++) {
            words[i] = next++;
        }
        if (choose(&choices, 2) == 0) {
            CHECK(stream_append(shared->s, words, count * 8) == STREAM_OK);
        } else {
            CHECK(adopt_copy(shared->s, words, count * 8) == STREAM_OK);
        }
        if (choose(&choices, 8) == 0) {
            sched_yield();
        }
    }
    shared->done = true;
    return NULL;
}

static uint64_t
word_at(const uint8_t *data, size_t index)
{
    uint64_t word;
    memcpy(&word, data + index * 8, 8);
    return word;
}

static void
check_words(const stream_view *view)
{
    size_t count = view->size_bytes / 8;
    uint64_t first = count > 0 ? word_at(view->data, 0) : 0;
    for (size_t i = 0; i < count; i += 1 + i / 16) {
        CHECK(word_at(view->data, i) == first + i);
    }
    CHECK(count == 0 || word_at(view->data, count - 1) == first + count - 1);
}

static void
look_at_words(struct words *shared, struct choices *choices, stream_view *kept)
{
    stream_view view;
    uint64_t words = stream__written(shared->s) / 8, found;
    uint64_t word = words == 0 ? 0 : choose(choices, words);
    switch (choose(choices, 4)) {
    case 0:
        CHECK(stream_view_all(shared->s, &view) == STREAM_OK);
        check_words(&view);
        check_words(kept);
        stream_view_release(kept);
        *kept = view;
        break;
    case 1:
        stream_reader_lock(shared->s);
        CHECK(stream_view_locked(shared->s, 8000, &view) == STREAM_OK);
        stream_reader_unlock(shared->s);
        check_words(&view);
        stream_view_release(&view);
        break;
    case 2:
        if (words > 0) {
            CHECK(stream_copy_at(shared->s, word * 8, &found, 8) == STREAM_OK);
            CHECK(found == word);
        }
        break;
    default:
        if (words > 0) {
            uint64_t from = word * 8 > 20000 ? word * 8 - 20000 : 0;
            CHECK(stream_find(shared->s, &word, 8, from, words * 8, &found) ==
                  STREAM_OK);
            CHECK(found <= word * 8);
        }
    }
}

static void *
word_viewer(void *arg)
{
    struct words *shared = arg;
    struct choices choices = {.state = 1000 + shared->next++};
    stream_view kept = {0};
    do {
        look_at_words(shared, &choices, &kept);
    } while (!shared->done);
    check_words(&kept);
    stream_view_release(&kept);
    return NULL;
}

/* Moves by whole words, so that every view starts at one. */
static void *
word_seeker(void *arg)
{
    struct words *shared = arg;
    struct choices choices = {.state = 3};
    uint64_t position;
    while (!shared->done) {
        uint64_t words = stream__written(shared->s) / 8;
        if (choose(&choices, 4) == 0) {
            uint64_t target = words == 0 ? 0 : choose(&choices, words);
            CHECK(stream_seek(shared->s, (int64_t)target * 8, 0, &position) ==
                  STREAM_OK);
        }
        uint64_t bytes[64];
        size_t n = read_some(shared->s, bytes, sizeof bytes) / 8;
        for (size_t i = 1; i < n; i++) {
            CHECK(bytes[i] == bytes[0] + i);
        }
        sched_yield();
    }
    return NULL;
}

static void
run_words(int viewers, int seekers)
{
    struct words shared = {.s = stream_unknown()};
    struct crew crew = {0};
    for (int i = 0; i < viewers; i++) {
        crew_add(&crew, word_viewer, &shared);
    }
    for (int i = 0; i < seekers; i++) {
        crew_add(&crew, word_seeker, &shared);
    }
    crew_add(&crew, word_writer, &shared);
    crew_join(&crew);
    CHECK(stream__validate(shared.s));
    stream_view view;
    uint64_t position;
    CHECK(stream_seek(shared.s, 0, 0, &position) == STREAM_OK);
    CHECK(stream_view_all(shared.s, &view) == STREAM_OK);
    CHECK(view.size_bytes >= (size_t)WORDS * 8 && word_at(view.data, 0) == 0);
    check_words(&view);
    stream_view_release(&view);
    stream_release(shared.s);
}

void
test_stress_views_merging_and_search(void)
{
    run_words(2, 1);
}

/* ---- Merging while the tail is being filled ---- */

static void *
tail_writer(void *arg)
{
    struct words *shared = arg;
    for (uint64_t word = 0; word < WORDS; word++) {
        CHECK(stream_append(shared->s, &word, 8) == STREAM_OK);
    }
    shared->done = true;
    return NULL;
}

static void *
tail_viewer(void *arg)
{
    struct words *shared = arg;
    stream_view view;
    do {
        CHECK(stream_view_all(shared->s, &view) == STREAM_OK);
        check_words(&view);
        stream_view_release(&view);
    } while (!shared->done);
    return NULL;
}

void
test_stress_growing_tail_while_merging(void)
{
    struct words shared = {.s = stream_unknown()};
    struct crew crew = {0};
    crew_add(&crew, tail_viewer, &shared);
    crew_add(&crew, tail_viewer, &shared);
    crew_add(&crew, tail_writer, &shared);
    crew_join(&crew);
    CHECK(stream__validate(shared.s));
    CHECK(stream_available(shared.s) == (uint64_t)WORDS * 8);
    stream_release(shared.s);
}

/* ---- One memory of the last search, many searchers ---- */

struct search {
    stream *s;
    atomic_uint next;
};

static void *
searcher(void *arg)
{
    struct search *shared = arg;
    unsigned self = shared->next++;
    char needle[200];
    memset(needle, 'a', sizeof needle);
    needle[20 * (self + 1)] = 'b';
    for (int i = 0; i < 100 * SCALE; i++) {
        size_t size = (size_t)20 * (self + 1) + 1 + (size_t)(i % 2);
        uint64_t found, to = stream_available(shared->s);
        stream_status status = stream_find(shared->s, needle, size, 0, to, &found);
        CHECK(status == (i % 2 == 0 ? STREAM_OK : STREAM_AGAIN));
        CHECK(i % 2 != 0 || found == 3000 - 20 * ((uint64_t)self + 1));
    }
    return NULL;
}

void
test_stress_find_from_many_threads(void)
{
    struct search shared = {.s = stream_unknown()};
    struct crew crew = {0};
    static char text[3002];
    memset(text, 'a', 3000);
    text[3000] = 'b';
    text[3001] = 'c';
    for (int i = 0; i < 158; i++) {
        CHECK(adopt_copy(shared.s, text + 19 * i, 19) == STREAM_OK);
    }
    for (int i = 0; i < 4; i++) {
        crew_add(&crew, searcher, &shared);
    }
    crew_join(&crew);
    stream_release(shared.s);
}
