/* unit_find.c: needles in one segment, over seams, polled; and the scan below. */
#define _GNU_SOURCE
#include "test.h"

static void
check_find(stream *s, const char *needle, uint64_t from, uint64_t to, int64_t expected)
{
    uint64_t found = 0;
    for (int again = 0; again < 2; again++) {
        stream_status status = stream_find(s, needle, strlen(needle), from, to, &found);
        CHECK(status == (expected < 0 ? STREAM_AGAIN : STREAM_OK));
        CHECK(expected < 0 || found == (uint64_t)expected);
    }
    CHECK(stream__validate(s));
}

void
test_unit_find(void)
{
    stream *s = stream_unknown();
    uint64_t found;
    check_find(s, "a", 0, 0, -1);
    adopt_text(s, "the needle in the haystack");
    check_find(s, "needle", 0, 26, 4);
    check_find(s, "needle", 4, 10, 4);
    check_find(s, "needle", 4, 9, -1);
    check_find(s, "needle", 5, 26, -1);
    check_find(s, "the", 0, 26, 0);
    check_find(s, "the", 1, 26, 14);
    check_find(s, "k", 0, 26, 25);
    check_find(s, "k", 0, 25, -1);
    check_find(s, "the needle in the haystack", 0, 26, 0);
    check_find(s, "the needle in the haystacks", 0, 26, -1);
    CHECK(stream_find(s, "", 0, 0, 26, &found) == STREAM_RANGE);
    CHECK(stream_find(s, "a", 1, 0, 27, &found) == STREAM_RANGE);
    CHECK(stream_find(s, "a", 1, 9, 8, &found) == STREAM_RANGE);
    stream_release(s);
}

void
test_unit_find_over_seams(void)
{
    const char *text = "abcabdabcabeabcabdabcabf--abcabdabcabe";
    size_t size = strlen(text);
    for (size_t piece = 1; piece <= 7; piece++) {
        stream *s = stream_unknown();
        for (size_t i = 0; i < size; i += piece) {
            size_t n = size - i < piece ? size - i : piece;
            CHECK(adopt_copy(s, text + i, n) == STREAM_OK);
        }
        for (size_t from = 0; from < size; from++) {
            for (size_t n = 1; n <= size - from; n++) {
                char needle[64] = {0};
                memcpy(needle, text + from, n);
                check_find(s, needle, 0, size, strstr(text, needle) - text);
            }
        }
        stream_release(s);
    }
}

void
test_unit_find_remembers(void)
{
    stream *s = stream_unknown();
    adopt_text(s, "one two one");
    check_find(s, "three", 0, 11, -1);
    adopt_text(s, " thr");
    check_find(s, "three", 0, 15, -1);
    check_find(s, "three", 6, 15, -1);
    adopt_text(s, "ee three");
    check_find(s, "three", 0, 23, 12);
    check_find(s, "three", 0, 16, -1);
    check_find(s, "three", 13, 23, 18);
    check_find(s, "three", 2, 23, 12);
    check_find(s, "one", 0, 23, 0);
    check_find(s, "one", 1, 23, 8);
    check_find(s, "one", 0, 23, 0);
    stream_release(s);
}

static int64_t
time_of_polling(size_t pieces)
{
    static uint8_t piece[4096];
    stream *s = stream_unknown();
    uint64_t found;
    int64_t begin = cpu_ns();
    for (size_t i = 0; i < pieces; i++) {
        CHECK(stream_adopt(s, piece, sizeof piece, release_nothing, NULL) == STREAM_OK);
        CHECK(stream_find(s, "boundary", 8, 0, stream_available(s), &found) ==
              STREAM_AGAIN);
    }
    int64_t took = cpu_ns() - begin;
    stream_release(s);
    return took;
}

void
test_unit_find_polled_is_linear(void)
{
    int64_t small = time_of_polling(256), large = time_of_polling(4096);
    CHECK(large < 80 * small + 100000000);
}

void
test_unit_find_long_needle(void)
{
    enum { needle_size = 100000, piece = 777 };
    uint8_t *hay = malloc(4 * needle_size);
    CHECK(hay != NULL);
    struct choices choices = {.state = 42};
    for (size_t i = 0; i < 4 * needle_size; i++) {
        hay[i] = (uint8_t)choose(&choices, 2);
    }
    stream *s = stream_unknown();
    for (size_t i = 0; i < 4 * needle_size; i += piece) {
        size_t n = 4 * needle_size - i < piece ? 4 * needle_size - i : piece;
        CHECK(adopt_copy(s, hay + i, n) == STREAM_OK);
    }
    uint64_t found;
    CHECK(stream_find(s, hay + 123456, needle_size, 0, 4 * needle_size, &found) ==
          STREAM_OK);
    CHECK(found == 123456);
    hay[123456 + needle_size - 1] ^= 1;
    CHECK(stream_find(s, hay + 123456, needle_size, 0, 4 * needle_size, &found) ==
          STREAM_AGAIN);
    free(hay);
    stream_release(s);
}

static void
check_scan(const uint8_t *hay, size_t hay_size, const uint8_t *needle, size_t size)
{
    CHECK(stream__scan(hay, hay_size, needle, size) ==
          memmem(hay, hay_size, needle, size));
}

/* Blocks of their exact size, so that the sanitisers see a step too far. */
void
test_unit_scan_agrees_with_memmem(void)
{
    struct choices choices = {.state = 7};
    for (int round = 0; round < 20000; round++) {
        size_t hay_size = choose(&choices, round % 20 == 0 ? 20000 : 600);
        size_t size = 1 + choose(&choices, round % 3 == 0 ? 300 : 12);
        uint64_t letters = 1 + choose(&choices, 4);
        uint8_t *hay = malloc(hay_size), *needle = malloc(size);
        CHECK((hay_size == 0 || hay != NULL) && needle != NULL);
        for (size_t i = 0; i < hay_size; i++) {
            hay[i] = (uint8_t)('a' + choose(&choices, letters));
        }
        for (size_t i = 0; i < size; i++) {
            needle[i] = (uint8_t)('a' + choose(&choices, letters));
        }
        if (size <= hay_size && round % 2 == 0) {
            memcpy(hay + choose(&choices, hay_size - size + 1), needle, size);
        }
        check_scan(hay, hay_size, needle, size);
        free(hay);
        free(needle);
    }
}

/* A needle of one letter, in runs of it that are one too short: each place is a
 * candidate, and fails late. */
void
test_unit_scan_is_never_quadratic(void)
{
    enum { hay_size = 8 << 20, needle_size = 20000 };
    uint8_t *hay = malloc(hay_size), *needle = malloc(needle_size);
    CHECK(hay != NULL && needle != NULL);
    memset(hay, 'a', hay_size);
    memset(needle, 'a', needle_size);
    for (size_t i = 0; i < hay_size; i += needle_size) {
        hay[i] = 'b';
    }
    int64_t begin = cpu_ns();
    CHECK(stream__scan(hay, hay_size, needle, needle_size) == NULL);
    CHECK(cpu_ns() - begin < INT64_C(1000000000));
    free(hay);
    free(needle);
}
