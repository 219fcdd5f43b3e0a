/*
 * scan.c: finds a needle in one run of bytes.  Knows nothing of streams.
 *
 * Vectors look for two bytes of the needle at their distance, 64 places a step, and
 * what they find is compared.  The two bytes are those that a sample of the haystack
 * shows most seldom; when candidates keep failing at one place of the needle, that
 * place becomes one of the two.  Work on failed candidates is paid from an allowance
 * that grows with the bytes scanned; when it is used up, or where there are no
 * vectors, memmem() does the rest, whose worst case is linear.
 */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "internal.h"

#if defined(__SSE2__)
#    include <immintrin.h>
#    define SCAN_VECTORS 1
#elif defined(__aarch64__) && defined(__ARM_NEON)
#    include <arm_neon.h>
#    define SCAN_VECTORS 1
#else
#    define SCAN_VECTORS 0
#endif

#if SCAN_VECTORS

/* Places examined by one step. */
#    define STEP ((size_t)64)
/* Shorter haystacks are not worth the preparation. */
#    define VECTOR_LEAST ((size_t)256)
/* A sample costs about a nanosecond a byte. */
#    define SAMPLE_BYTES       ((size_t)256)
#    define SAMPLE_WORTH_BYTES ((size_t)8192)
/* Failed candidates in a row before another pair of bytes is tried. */
#    define PAIR_FAILURES 8
/* What failed comparisons may cost: a fixed part, and one unit for so many bytes. */
#    define ALLOWANCE_FIXED ((size_t)512)
#    define ALLOWANCE_BYTES ((size_t)32)
/* The processor's own prefetching stops at each page: asking this far ahead made it
 * 28 instead of 20 GB/s.  Asking past the end of a haystack does no harm. */
#    define PREFETCH_BYTES 2048

struct pair {
    size_t first, second; /* places in the needle */
    uint8_t first_byte, second_byte;
};

/* Looks at the places [at, stop), a multiple of STEP long: returns the first step that
 * has candidates and a bit for each of them, or `stop`. */
typedef const uint8_t *(*pair_fn)(const uint8_t *at, const uint8_t *stop,
                                  const struct pair *pair, uint64_t *candidates);

#    if defined(__SSE2__)
static inline uint64_t
match_sse2(const uint8_t *at, const struct pair *pair, __m128i first, __m128i second)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(at + pair->first));
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(at + pair->second));
    __m128i both = _mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, second));
    return (uint64_t)(uint32_t)_mm_movemask_epi8(both);
}

static const uint8_t *
pair_sse2(const uint8_t *at, const uint8_t *stop, const struct pair *pair,
          uint64_t *candidates)
{
    __m128i first = _mm_set1_epi8((char)pair->first_byte);
    __m128i second = _mm_set1_epi8((char)pair->second_byte);
    for (; at < stop; at += STEP) {
        __builtin_prefetch(at + PREFETCH_BYTES);
        uint64_t found = match_sse2(at, pair, first, second) |
                         match_sse2(at + 16, pair, first, second) << 16 |
                         match_sse2(at + 32, pair, first, second) << 32 |
                         match_sse2(at + 48, pair, first, second) << 48;
        if (found != 0) {
            *candidates = found;
            return at;
        }
    }
    return stop;
}

__attribute__((target("avx2"))) static const uint8_t *
pair_avx2(const uint8_t *at, const uint8_t *stop, const struct pair *pair,
          uint64_t *candidates)
{
    __m256i first = _mm256_set1_epi8((char)pair->first_byte);
    __m256i second = _mm256_set1_epi8((char)pair->second_byte);
    const uint8_t *a = at + pair->first, *b = at + pair->second;
    for (; at < stop; at += STEP, a += STEP, b += STEP) {
        __builtin_prefetch(at + PREFETCH_BYTES);
        __m256i low = _mm256_and_si256(
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)a), first),
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)b), second));
        __m256i high = _mm256_and_si256(
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)(a + 32)), first),
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)(b + 32)), second));
        __m256i any = _mm256_or_si256(low, high);
        if (!_mm256_testz_si256(any, any)) {
            *candidates = (uint64_t)(uint32_t)_mm256_movemask_epi8(low) |
                          (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
            return at;
        }
    }
    return stop;
}

static pair_fn
best_pair_fn(void)
{
    return __builtin_cpu_supports("avx2") ? pair_avx2 : pair_sse2;
}
#    else
static inline uint8x16_t
match_neon(const uint8_t *at, const struct pair *pair)
{
    uint8x16_t a = vceqq_u8(vld1q_u8(at + pair->first), vdupq_n_u8(pair->first_byte));
    uint8x16_t b = vceqq_u8(vld1q_u8(at + pair->second), vdupq_n_u8(pair->second_byte));
    return vandq_u8(a, b);
}

/* One bit a place, from 64 bytes of 0 or 255: add neighbours up three times. */
static uint64_t
bits_neon(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                        1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bit = vld1q_u8(weights);
    uint8x16_t low = vpaddq_u8(vandq_u8(a, bit), vandq_u8(b, bit));
    uint8x16_t high = vpaddq_u8(vandq_u8(c, bit), vandq_u8(d, bit));
    uint8x16_t all = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

static const uint8_t *
pair_neon(const uint8_t *at, const uint8_t *stop, const struct pair *pair,
          uint64_t *candidates)
{
    for (; at < stop; at += STEP) {
        uint8x16_t a = match_neon(at, pair), b = match_neon(at + 16, pair);
        uint8x16_t c = match_neon(at + 32, pair), d = match_neon(at + 48, pair);
        if (vmaxvq_u8(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))) != 0) {
            *candidates = bits_neon(a, b, c, d);
            return at;
        }
    }
    return stop;
}

static pair_fn
best_pair_fn(void)
{
    return pair_neon;
}
#    endif

/* The two places of the needle whose bytes are rarest in the sample. */
static struct pair
choose_pair(const uint8_t *hay, size_t hay_size, const uint8_t *needle,
            size_t needle_size)
{
    struct pair pair = {0, needle_size - 1, needle[0], needle[needle_size - 1]};
    if (hay_size < SAMPLE_WORTH_BYTES) {
        return pair;
    }
    uint16_t seen[256] = {0};
    for (size_t i = 0; i < SAMPLE_BYTES; i++) {
        seen[hay[i]]++;
    }
    size_t places = needle_size < SAMPLE_BYTES ? needle_size : SAMPLE_BYTES;
    for (size_t i = 1; i < places; i++) {
        if (seen[needle[i]] < seen[needle[pair.first]]) {
            pair.first = i;
        }
    }
    pair.second = pair.first == 0 ? needle_size - 1 : 0;
    for (size_t i = 1; i < places; i++) {
        if (i != pair.first && seen[needle[i]] < seen[needle[pair.second]]) {
            pair.second = i;
        }
    }
    pair.first_byte = needle[pair.first];
    pair.second_byte = needle[pair.second];
    return pair;
}

/* The candidate failed at a place that neither byte looks at: look there. */
static void
change_pair(struct pair *pair, const uint8_t *candidate, const uint8_t *needle)
{
    size_t place = 0;
    while (candidate[place] == needle[place]) {
        place++;
    }
    pair->first = pair->second;
    pair->first_byte = pair->second_byte;
    pair->second = place;
    pair->second_byte = needle[place];
}

struct scan {
    const uint8_t *hay, *needle;
    size_t needle_size;
    struct pair pair;
    size_t failures; /* of this pair */
    size_t cost;
};

/* The first match among the candidates of a step, or NULL. */
static const uint8_t *
check_candidates(struct scan *scan, const uint8_t *step, uint64_t candidates)
{
    const uint8_t *candidate = NULL;
    for (; candidates != 0; candidates &= candidates - 1) {
        candidate = step + __builtin_ctzll(candidates);
        if (memcmp(candidate, scan->needle, scan->needle_size) == 0) {
            return candidate;
        }
        scan->failures++;
        scan->cost += 1 + scan->needle_size / 32;
    }
    if (scan->failures >= PAIR_FAILURES) {
        change_pair(&scan->pair, candidate, scan->needle);
        scan->failures = 0;
    }
    return NULL;
}

/* Scans the places [scan->hay, stop) by whole steps; *at is where it gave up, or
 * `stop`. */
static const uint8_t *
scan_steps(struct scan *scan, const uint8_t **at, const uint8_t *stop)
{
    pair_fn next = best_pair_fn();
    uint64_t candidates;
    while ((*at = next(*at, stop, &scan->pair, &candidates)) < stop) {
        const uint8_t *match = check_candidates(scan, *at, candidates);
        if (match != NULL) {
            return match;
        }
        *at += STEP;
        size_t scanned = (size_t)(*at - scan->hay);
        if (scan->cost > ALLOWANCE_FIXED + scanned / ALLOWANCE_BYTES) {
            break;
        }
    }
    return NULL;
}

static const uint8_t *
scan_vectors(const uint8_t *hay, size_t hay_size, const uint8_t *needle,
             size_t needle_size)
{
    struct scan scan = {.hay = hay, .needle = needle, .needle_size = needle_size};
    scan.pair = choose_pair(hay, hay_size, needle, needle_size);
    size_t places = hay_size - needle_size + 1;
    const uint8_t *at = hay;
    const uint8_t *match = scan_steps(&scan, &at, hay + (places - places % STEP));
    if (match != NULL) {
        return match;
    }
    return memmem(at, hay_size - (size_t)(at - hay), needle, needle_size);
}

#endif

const uint8_t *
stream__scan(const uint8_t *hay, size_t hay_size, const uint8_t *needle,
             size_t needle_size)
{
    if (hay_size < needle_size) {
        return NULL;
    }
    if (needle_size == 1) {
        return memchr(hay, needle[0], hay_size);
    }
#if SCAN_VECTORS
    if (hay_size - needle_size >= VECTOR_LEAST) {
        return scan_vectors(hay, hay_size, needle, needle_size);
    }
#endif
    return memmem(hay, hay_size, needle, needle_size);
}
