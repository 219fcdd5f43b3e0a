/*
 * stress_flow.c: writers that park and give up, a reader that reads in every way, one
 * that only looks, cancels, watchers, and an end of any kind at any moment, on a stream
 * with watermarks that frees what was read.
 */
#include "test.h"

#include <sched.h>

enum {
    FLOW_WRITERS = 3,
    FLOW_LINES = 500,  /* of each writer */
    FLOW_WRITES = 500, /* at most, of each writer */
    FLOW_PENDING = 4,  /* parked writes of one writer at a time */
    FLOW_WATCHES = 40,
    LINES_A_WRITE = 20,
    LINE_MOST = 110,
    WRITE_MOST = LINES_A_WRITE * LINE_MOST,
    FLOW_ROUNDS = 20 * SCALE
};

struct flow_write {
    struct parked_write write; /* first */
    unsigned first, count;     /* lines */
    bool pending;
    bool given_up;
};

struct flow_writer {
    struct flow *flow;
    unsigned number;
    struct choices choices;
    struct flow_write writes[FLOW_WRITES];
    size_t write_count;
    bool accepted[FLOW_LINES];
    bool refused;
};

struct flow_watch {
    stream_watcher watcher; /* first */
    atomic_int notices;
    _Atomic(int) status;
};

struct flow {
    stream *s;
    uint64_t high;
    uint64_t seed;
    stream_token token;
    atomic_bool over;
    struct flow_writer writers[FLOW_WRITERS];
    struct flow_watch watches[FLOW_WATCHES];
    uint8_t seen[FLOW_WRITERS][FLOW_LINES];
    int last[FLOW_WRITERS];
    char line[LINE_MOST + 1]; /* what the reader has of a line */
    size_t line_size;
    uint64_t allowed; /* up to where a wait of the reader has let the writers go */
};

/* ---- Lines that tell whose they are ---- */

static size_t
make_line(char *line, unsigned writer, unsigned number)
{
    static const char filling[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    return (size_t)snprintf(line, LINE_MOST, "%u %u %.*s\n", writer, number,
                            (int)((number * 7 + writer) % 90), filling);
}

/* Of a line that is whole. */
static void
read_line(const char *line, size_t size, unsigned *writer, unsigned *number)
{
    char text[LINE_MOST + 1], expected[LINE_MOST + 1];
    CHECK(size <= LINE_MOST);
    memcpy(text, line, size);
    text[size] = '\0';
    CHECK(sscanf(text, "%u %u", writer, number) == 2);
    CHECK(*writer < FLOW_WRITERS && *number < FLOW_LINES);
    CHECK(make_line(expected, *writer, *number) == size);
    CHECK(memcmp(expected, text, size) == 0);
}

/* What lies between the first and the last newline are lines. */
static void
check_lines(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size, *at = memchr(data, '\n', size);
    while (at != NULL && ++at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        unsigned writer, number;
        if (newline != NULL) {
            read_line((const char *)at, (size_t)(newline - at) + 1, &writer, &number);
        }
        at = newline;
    }
}

/* ---- Writers ---- */

static void
settle_write(struct flow_writer *writer, struct flow_write *write, stream_status status)
{
    write->pending = false;
    for (unsigned i = 0; i < write->count && status == STREAM_OK; i++) {
        writer->accepted[write->first + i] = true;
    }
    writer->refused =
        writer->refused || status == STREAM_CLOSED || status == STREAM_ABORTED;
    CHECK(status == STREAM_OK || status == STREAM_BUSY || status == STREAM_AGAIN ||
          writer->refused);
}

/* Waits for the notice, for ever or a little. */
static void
resolve(struct flow_writer *writer, struct flow_write *write, bool patiently)
{
    stream *s = writer->flow->s;
    uint64_t looks = choose(&writer->choices, 50);
    while (write->write.notices == 0 && (patiently || looks-- > 0)) {
        sched_yield();
    }
    if (write->write.notices == 0 && stream_unpark(s, &write->write.parked)) {
        write->given_up = true;
        CHECK(write->write.parked.batch.size_bytes > 0);
        stream_batch_clear(&write->write.parked.batch);
        settle_write(writer, write, STREAM_AGAIN);
        return;
    }
    while (write->write.notices == 0) {
        sched_yield();
    }
    CHECK(write->write.status != STREAM_OK ||
          write->write.parked.batch.size_bytes == 0);
    stream_batch_clear(&write->write.parked.batch);
    settle_write(writer, write, (stream_status)write->write.status);
}

/* At most so many are left, all of them when there are that few. */
static void
resolve_down_to(struct flow_writer *writer, size_t most, bool patiently)
{
    size_t pending = 0;
    for (size_t i = 0; i < writer->write_count; i++) {
        pending += writer->writes[i].pending;
    }
    while (pending > most) {
        struct flow_write *write =
            &writer->writes[choose(&writer->choices, writer->write_count)];
        if (write->pending) {
            resolve(writer, write, patiently || choose(&writer->choices, 3) == 0);
            pending--;
        }
    }
}

static void
park_lines(struct flow_writer *writer, struct flow_write *write, const char *text,
           size_t size)
{
    stream_batch batch = STREAM_BATCH_INIT;
    while (size > 0) {
        size_t n = 1 + (size_t)choose(&writer->choices, size);
        CHECK((choose(&writer->choices, 2) == 0
                   ? stream_batch_append(&batch, text, n)
                   : batch_adopt_copy(&batch, text, n)) == STREAM_OK);
        text += n;
        size -= n;
    }
    stream_status status = park_batch(writer->flow->s, &write->write, &batch);
    if (status == STREAM_AGAIN) {
        write->pending = true;
        return;
    }
    stream_batch_clear(&batch);
    settle_write(writer, write, status);
}

static void
write_lines(struct flow_writer *writer, struct flow_write *write)
{
    char text[WRITE_MOST];
    size_t size = 0;
    stream *s = writer->flow->s;
    for (unsigned i = 0; i < write->count; i++) {
        size += make_line(text + size, writer->number, write->first + i);
    }
    switch (choose(&writer->choices, 5)) {
    case 0:
        settle_write(writer, write, stream_append(s, text, size));
        break;
    case 1:
        settle_write(writer, write, adopt_copy(s, text, size));
        break;
    default:
        park_lines(writer, write, text, size);
    }
}

static void *
flow_writer(void *arg)
{
    struct flow_writer *writer = arg;
    unsigned next = 0;
    while (next < FLOW_LINES && !writer->refused) {
        struct flow_write *write = &writer->writes[writer->write_count++];
        unsigned most = choose(&writer->choices, 3) == 0 ? LINES_A_WRITE : 2;
        write->first = next;
        write->count = 1 + (unsigned)choose(&writer->choices, most);
        if (write->count > FLOW_LINES - next) {
            write->count = FLOW_LINES - next;
        }
        next += write->count;
        write_lines(writer, write);
        resolve_down_to(writer, FLOW_PENDING, false);
        pause_a_little(&writer->choices, 2000);
    }
    resolve_down_to(writer, 0, true);
    return NULL;
}

/* ---- The reader ---- */

static void
take_line(struct flow *flow)
{
    unsigned writer, number;
    read_line(flow->line, flow->line_size, &writer, &number);
    CHECK(flow->seen[writer][number]++ == 0);
    CHECK((int)number > flow->last[writer]);
    flow->last[writer] = (int)number;
    flow->line_size = 0;
}

static void
take_bytes(struct flow *flow, const void *data, size_t size)
{
    const char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        CHECK(flow->line_size < LINE_MOST);
        flow->line[flow->line_size++] = bytes[i];
        if (bytes[i] == '\n') {
            take_line(flow);
        }
    }
}

static void
take_view(struct flow *flow, uint64_t position, size_t size)
{
    stream_view view;
    CHECK(stream_view_take_at(flow->s, position, size, &view) == STREAM_OK);
    CHECK(view.size_bytes == size);
    take_bytes(flow, view.data, view.size_bytes);
    stream_view_release(&view);
}

static void
take_next_view(struct flow *flow)
{
    stream_view view;
    stream_reader_lock(flow->s);
    CHECK(stream_view_locked(flow->s, UINT64_MAX, &view) == STREAM_OK);
    stream_drain_locked(flow->s, view.size_bytes);
    stream_reader_unlock(flow->s);
    take_bytes(flow, view.data, view.size_bytes);
    stream_view_release(&view);
}

static void
take_all_as_view(struct flow *flow)
{
    stream_view view;
    CHECK(stream_view_all(flow->s, &view) == STREAM_OK);
    drain(flow->s, view.size_bytes);
    take_bytes(flow, view.data, view.size_bytes);
    stream_view_release(&view);
}

/* True when something was taken. */
static bool
read_flow(struct flow *flow, struct choices *choices)
{
    char bytes[4000];
    uint64_t position = stream_position(flow->s), found;
    size_t there = (size_t)stream_available(flow->s);
    size_t size = 1 + (size_t)choose(choices, there < sizeof bytes ? there + 1 : 4000);
    size = size < there ? size : there;
    switch (there == 0 ? 9 : choose(choices, 6)) {
    case 0:
        take_bytes(flow, bytes, read_some(flow->s, bytes, size));
        return true;
    case 1:
        if (next_line(flow->s, bytes, sizeof bytes) != STREAM_OK) {
            return false;
        }
        take_bytes(flow, bytes, strlen(bytes));
        return true;
    case 2:
        CHECK(stream_find(flow->s, "\n", 1, position, position + there, &found) !=
              STREAM_CHANGED);
        CHECK(stream_read_at(flow->s, position, bytes, size) == STREAM_OK);
        take_bytes(flow, bytes, size);
        return true;
    case 3:
        take_view(flow, position, size);
        return true;
    case 4:
        take_next_view(flow);
        return true;
    case 5:
        take_all_as_view(flow);
        return true;
    default:
        return false;
    }
}

/* Unread bytes stay under the high mark plus one write, but for what a wait for more
 * has let in. */
static void
check_marks(struct flow *flow)
{
    uint64_t most = stream_position(flow->s) + flow->high;
    most = most > flow->allowed ? most : flow->allowed;
    CHECK(stream__written(flow->s) < most + WRITE_MOST);
}

static void
wait_for_more(struct flow *flow, struct choices *choices)
{
    uint64_t position = stream_position(flow->s);
    uint64_t there = stream_available(flow->s);
    stream_want want = {.position = position,
                        .need_offset = position + there + 1,
                        .deadline_ns = STREAM_FOREVER,
                        .spin_ns = (uint32_t)choose(choices, 2) * 2000,
                        .token = &flow->token};
    if (choose(choices, 3) == 0) {
        want.need_offset += choose(choices, 3 * flow->high);
    }
    if (choose(choices, 3) == 0) {
        want.deadline_ns = platform_now_ns() + (int64_t)choose(choices, 100000);
    }
    flow->allowed = flow->allowed > want.need_offset ? flow->allowed : want.need_offset;
    stream_status status = stream_wait(flow->s, &want);
    if (status == STREAM_CANCELLED) {
        CHECK(stream_token_is_raised(&flow->token));
        stream_token_clear(&flow->token);
    }
    CHECK(status == STREAM_OK || status == STREAM_CANCELLED ||
          (status == STREAM_TIMEDOUT && want.deadline_ns != STREAM_FOREVER));
}

static void *
flow_reader(void *arg)
{
    struct flow *flow = arg;
    struct choices choices = {.state = flow->seed | 1};
    for (;;) {
        bool whole = stream_is_whole(flow->s);
        if (!read_flow(flow, &choices)) {
            if (whole && stream_available(flow->s) == 0) {
                return NULL;
            }
            wait_for_more(flow, &choices);
        }
        check_marks(flow);
        pause_a_little(&choices, 2000);
    }
}

/* ---- The others ---- */

static void *
flow_looker(void *arg)
{
    struct flow *flow = arg;
    struct choices choices = {.state = (flow->seed * 3) | 1};
    while (!flow->over) {
        uint64_t position = stream_position(flow->s), found;
        uint64_t to = stream__written(flow->s);
        char bytes[200];
        stream_view view;
        stream_status status;
        switch (choose(&choices, 3)) {
        case 0:
            CHECK(stream_view_all(flow->s, &view) == STREAM_OK);
            check_lines(view.data, view.size_bytes);
            stream_view_release(&view);
            break;
        case 1:
            status = stream_find(flow->s, "no such thing", 13, position, to, &found);
            CHECK(status == STREAM_AGAIN || status == STREAM_CHANGED);
            break;
        default:
            status = stream_copy_at(flow->s, position, bytes, sizeof bytes);
            if (status == STREAM_OK) {
                check_lines((const uint8_t *)bytes, sizeof bytes);
            }
            CHECK(status == STREAM_OK || status == STREAM_CHANGED ||
                  status == STREAM_RANGE);
        }
        pause_a_little(&choices, 2000);
        sched_yield();
    }
    return NULL;
}

static void *
flow_canceller(void *arg)
{
    struct flow *flow = arg;
    struct choices choices = {.state = (flow->seed * 5) | 1};
    while (!flow->over) {
        stream_token_raise(&flow->token);
        for (uint64_t n = choose(&choices, 20); n > 0; n--) {
            pause_a_little(&choices, 2000);
            sched_yield();
        }
    }
    return NULL;
}

static void
note_flow_watch(stream_watcher *watcher, stream_status status)
{
    struct flow_watch *watch = (struct flow_watch *)(void *)watcher;
    watch->status = status;
    watch->notices++;
}

static void *
flow_watcher(void *arg)
{
    struct flow *flow = arg;
    struct choices choices = {.state = (flow->seed * 7) | 1};
    for (int i = 0; i < FLOW_WATCHES; i++) {
        flow->watches[i].watcher.notify = note_flow_watch;
        stream_watch(flow->s, &flow->watches[i].watcher);
        pause_a_little(&choices, 2000);
        sched_yield();
    }
    return NULL;
}

static struct test_reason flow_reason;

/* At any moment, or when all is written. */
static void *
flow_ender(void *arg)
{
    struct flow *flow = arg;
    struct choices choices = {.state = (flow->seed * 11) | 1};
    for (uint64_t n = choose(&choices, 3000); n > 0; n--) {
        pause_a_little(&choices, 2000);
    }
    switch (choose(&choices, 4)) {
    case 0:
        stream_end(flow->s);
        break;
    case 1:
        CHECK(stream_abort(flow->s, make_reason(&flow_reason)));
        break;
    case 2:
        stream_close_reader(flow->s);
        break;
    default:
        break;
    }
    return NULL;
}

/* ---- A round ---- */

static void
check_flow(struct flow *flow)
{
    CHECK(flow->line_size == 0 && stream_available(flow->s) == 0);
    CHECK(stream__validate(flow->s) && info_of(flow->s).parked == 0);
    for (int w = 0; w < FLOW_WRITERS; w++) {
        struct flow_writer *writer = &flow->writers[w];
        for (int i = 0; i < FLOW_LINES; i++) {
            CHECK(flow->seen[w][i] == writer->accepted[i]);
        }
        for (size_t i = 0; i < writer->write_count; i++) {
            struct flow_write *write = &writer->writes[i];
            CHECK(!write->pending && write->write.notices <= 1);
            CHECK(!write->given_up || write->write.notices == 0);
        }
    }
}

static void
check_watches(struct flow *flow, bool failed)
{
    for (int i = 0; i < FLOW_WATCHES; i++) {
        CHECK(flow->watches[i].notices == 1);
        CHECK(flow->watches[i].status == STREAM_CLOSED
                  ? failed
                  : flow->watches[i].status == STREAM_OK);
    }
}

static void
start_flow(struct flow *flow, uint64_t seed)
{
    static const uint64_t highs[] = {1, 60, 700, 6000};
    struct choices choices = {.state = seed * 0x9e3779b97f4a7c15u | 1};
    memset(flow, 0, sizeof *flow);
    flow->seed = choices.state;
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.high_bytes = flow->high = highs[choose(&choices, 4)];
    options.low_bytes = choose(&choices, flow->high + 1);
    options.seekable = choose(&choices, 4) == 0;
    flow->s = stream_new_with(&options);
    CHECK(flow->s != NULL);
    stream_token_init(&flow->token);
    for (unsigned i = 0; i < FLOW_WRITERS; i++) {
        flow->last[i] = -1;
        flow->writers[i].flow = flow;
        flow->writers[i].number = i;
        flow->writers[i].choices.state = (flow->seed * (13 + 2 * i)) | 1;
    }
}

static void
run_flow(struct flow *flow, uint64_t seed)
{
    struct crew writers = {0}, others = {0}, reader = {0};
    start_flow(flow, seed);
    crew_add(&reader, flow_reader, flow);
    crew_add(&others, flow_looker, flow);
    crew_add(&others, flow_canceller, flow);
    for (int i = 0; i < FLOW_WRITERS; i++) {
        crew_add(&writers, flow_writer, &flow->writers[i]);
    }
    crew_add(&writers, flow_watcher, flow);
    crew_add(&writers, flow_ender, flow);
    crew_join(&writers);
    stream_end(flow->s);
    crew_join(&reader);
    flow->over = true;
    crew_join(&others);
    check_flow(flow);
    check_watches(flow, stream_is_aborted(flow->s) || stream_reader_closed(flow->s));
    bool aborted = stream_is_aborted(flow->s);
    stream_release(flow->s);
    CHECK(!aborted || flow_reason.released == 1);
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
    stream_token_destroy(&flow->token);
}

void
test_stress_flow(void)
{
    static struct flow flow;
    int64_t until = platform_now_ns() + 10000 * MS;
    for (uint64_t seed = 1; seed <= FLOW_ROUNDS && platform_now_ns() < until; seed++) {
        run_flow(&flow, seed);
    }
}
