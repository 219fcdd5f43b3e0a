%% Flow control: writers that wait for their reader, and memory that stays bounded.
-module(flow_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [job/1, result/1]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, making}, {group, marks}, {group, order}, {group, ends}, {group, readers},
     {group, memory}, six_calls].

groups() ->
    [
        {making, [], [options_in_every_form, bad_options, bad_timeouts, info_tells_all]},
        {marks, [], [waits_from_high_to_low, same_marks, small_marks, larger_than_the_mark,
                     lists_wait_too, empty_writes_never_wait, limit_and_mark]},
        {order, [], [hundred_writers_in_order, nobody_overtakes, timeout_takes_nothing,
                     zero_never_waits, random_timeouts, killed_writers_pass_their_turn_on,
                     million_messages]},
        {ends, [], [close_answers_waiting_writers, abort_answers_waiting_writers,
                    python_close_answers_waiting_writers,
                    last_reader_answers_waiting_writers, last_reader_keeps,
                    pending_call_is_a_reader, cancelled_call_is_none,
                    large_request_is_a_reader, stopped_call_is_none]},
        {readers, [], [read_all_needs_more, exactly_needs_more, line_needs_more]},
        {memory, [], [what_was_read_is_freed, views_pin_what_was_read, parts_count_their_whole,
                      parked_write_keeps_its_buffer, long_streams_are_freed_elsewhere, large_stream_in_little_memory]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

%% Every case, whatever it did, leaves a runtime that answers and an empty mailbox.
end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

call(Function, Args) ->
    {ok, Value} = py:call(ct_flow, Function, Args),
    Value.

%% Each call of Python brings a reader of its own here, and drops it.
new(Options) ->
    {ok, Buf} = py_buffer:new(maps:merge(#{last_reader => keep}, Options)),
    Buf.

bytes(Size) ->
    binary:copy(<<"x">>, Size).

answered({_Pid, Ref} = Job) ->
    receive
        {Ref, _, _} = Message -> self() ! Message, {yes, Job}
    after 0 -> no
    end.

%% A writer that waits as the Nth.
start_waiting(Buf, Data, N) ->
    Job = job(fun() -> py_buffer:write(Buf, Data) end),
    ok = waiting(Buf, N),
    Job.

waiting(Buf, N) ->
    erlpy_ct:eventually(fun() -> maps:get(waiting_writers, py_buffer:info(Buf)) =:= N end).

kill({Pid, _}) ->
    unlink(Pid),
    exit(Pid, kill).

%% ---- Making --------------------------------------------------------------------------

options_in_every_form(_Config) ->
    Marks = fun(Options) ->
        #{high_watermark := High, low_watermark := Low} = py_buffer:info(new(Options)),
        {High, Low}
    end,
    {infinity, infinity} = Marks(#{}),
    {infinity, infinity} = Marks(#{high_watermark => infinity}),
    {100, 50} = Marks(#{high_watermark => 100}),
    {101, 50} = Marks(#{high_watermark => 101}),
    {1, 0} = Marks(#{high_watermark => 1}),
    {100, 0} = Marks(#{high_watermark => 100, low_watermark => 0}),
    {100, 99} = Marks(#{high_watermark => 100, low_watermark => 100}),
    [_ = new(Options) || Options <- [
        #{seekable => false}, #{seekable => true}, #{last_reader => close},
        #{last_reader => keep}, #{owner => self()}, #{owner => none}, #{copy => always},
        #{content_length => 5, high_watermark => 3, low_watermark => 1, seekable => false,
          max_size => 10, owner => self(), last_reader => keep, copy => always}
    ]],
    ok.

bad_options(_Config) ->
    Elsewhere = binary_to_term(<<131, 88, 119, 5, "there", 0:32/integer, 0:32, 0:32>>),
    Bad = [
        #{high_watermark => 0}, #{high_watermark => -1}, #{high_watermark => 1.0},
        #{high_watermark => 1 bsl 63}, #{high_watermark => undefined},
        #{low_watermark => 5}, #{low_watermark => 5, high_watermark => infinity},
        #{low_watermark => 6, high_watermark => 5}, #{low_watermark => -1, high_watermark => 5},
        #{low_watermark => infinity, high_watermark => 5},
        #{seekable => 1}, #{last_reader => open}, #{last_reader => true},
        #{owner => x}, #{owner => make_ref()}, #{owner => Elsewhere}, #{max_size => -1},
        #{high_water_mark => 5}
    ],
    [erlpy_ct:badarg(py_buffer, new, [Options], 1) || Options <- Bad],
    ok.

bad_timeouts(_Config) ->
    Buf = new(#{}),
    [erlpy_ct:badarg(py_buffer, write, [Buf, <<"x">>, Timeout], 3)
     || Timeout <- [-1, 1.0, never, 1 bsl 32]],
    erlpy_ct:badarg(py_buffer, write, [make_ref(), <<"x">>, 0], 1),
    erlpy_ct:badarg(py_buffer, write, [Buf, x, 0], 2),
    #{written := 0} = py_buffer:info(Buf).

info_tells_all(_Config) ->
    Buf = new(#{high_watermark => 10, low_watermark => 4}),
    Keys = lists:sort([state, reader_closed, written, read, available, retained, views,
                       waiting_readers, waiting_writers, high_watermark, low_watermark]),
    Keys = lists:sort(maps:keys(py_buffer:info(Buf))),
    ok = py_buffer:write(Buf, bytes(10)),
    Waiting = start_waiting(Buf, <<"y">>, 1),
    #{state := open, written := 10, available := 10, waiting_writers := 1,
      high_watermark := 10, low_watermark := 4} = py_buffer:info(Buf),
    ok = py_buffer:close(Buf),
    {error, closed} = result(Waiting),
    #{state := ended, written := 10, waiting_writers := 0} = py_buffer:info(Buf),
    Aborted = new(#{}),
    ok = py_buffer:abort(Aborted, {because, "of", [<<"this">>]}),
    #{state := {aborted, {because, "of", [<<"this">>]}}} = py_buffer:info(Aborted).

%% ---- Marks ---------------------------------------------------------------------------

waits_from_high_to_low(_Config) ->
    Buf = new(#{high_watermark => 1000, low_watermark => 200}),
    ok = py_buffer:write(Buf, bytes(999)),
    ok = py_buffer:write(Buf, bytes(1)),
    Waiting = start_waiting(Buf, <<"waited">>, 1),
    %% One above the low mark: not yet.
    _ = call(take, [Buf, 799]),
    {error, busy} = py_buffer:write(Buf, <<"x">>, 0),
    #{waiting_writers := 1, available := 201} = py_buffer:info(Buf),
    no = answered(Waiting),
    _ = call(take, [Buf, 1]),
    ok = result(Waiting),
    #{waiting_writers := 0, available := 206} = py_buffer:info(Buf),
    ok = py_buffer:write(Buf, bytes(793), 0),
    ok = py_buffer:write(Buf, <<"y">>, 0),
    {error, busy} = py_buffer:write(Buf, <<"z">>, 0).

same_marks(_Config) ->
    Buf = new(#{high_watermark => 10, low_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(10)),
    Waiting = start_waiting(Buf, <<"y">>, 1),
    <<"x">> = call(take, [Buf, 1]),
    ok = result(Waiting).

small_marks(_Config) ->
    Buf = new(#{high_watermark => 1}),
    Job = job(fun() ->
        [ok = py_buffer:write(Buf, <<N>>) || N <- lists:seq(1, 200)],
        py_buffer:close(Buf)
    end),
    Expected = << <<N>> || N <- lists:seq(1, 200) >>,
    Expected = iolist_to_binary(call(records, [Buf, 1])),
    ok = result(Job).

%% Accepted when the buffer is under the mark: unread data stays below it plus one write.
larger_than_the_mark(_Config) ->
    Buf = new(#{high_watermark => 1000}),
    Large = rand:bytes(1_000_000),
    ok = py_buffer:write(Buf, Large, 0),
    Waiting = start_waiting(Buf, Large, 1),
    true = call(take, [Buf, 1_000_000]) =:= Large,
    ok = result(Waiting),
    ok = py_buffer:close(Buf),
    true = call(whole, [Buf]) =:= Large.

lists_wait_too(_Config) ->
    Buf = new(#{high_watermark => 10, low_watermark => 0}),
    ok = py_buffer:write(Buf, bytes(10)),
    %% Long enough for many slices, with binaries of every kind.
    List = [[<<N:32>>, rand:bytes(3000), $x, binary:part(rand:bytes(40_000), 10, 20_000)]
            || N <- lists:seq(1, 3000)],
    Waiting = start_waiting(Buf, List, 1),
    {error, busy} = py_buffer:write(Buf, List, 0),
    {error, timeout} = py_buffer:write(Buf, List, 10),
    _ = call(take, [Buf, 10]),
    ok = result(Waiting),
    ok = py_buffer:close(Buf),
    true = call(whole, [Buf]) =:= iolist_to_binary(List).

empty_writes_never_wait(_Config) ->
    Buf = new(#{high_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(20)),
    ok = py_buffer:write(Buf, <<>>),
    ok = py_buffer:write(Buf, <<>>, 0),
    ok = py_buffer:write(Buf, [[], <<>>]),
    #{written := 20} = py_buffer:info(Buf).

limit_and_mark(_Config) ->
    Buf = new(#{high_watermark => 10, max_size => 30}),
    ok = py_buffer:write(Buf, bytes(15)),
    {error, too_large} = py_buffer:write(Buf, bytes(16)),
    First = start_waiting(Buf, bytes(10), 1),
    Second = start_waiting(Buf, bytes(10), 2),
    _ = call(take, [Buf, 15]),
    ok = result(First),
    _ = call(take, [Buf, 10]),
    {error, too_large} = result(Second),
    ok = py_buffer:write(Buf, bytes(5)),
    #{written := 30, state := open} = py_buffer:info(Buf).

%% ---- Order ---------------------------------------------------------------------------

hundred_writers_in_order(_Config) ->
    Buf = new(#{high_watermark => 100, low_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(100)),
    Writers = [start_waiting(Buf, <<N:64>>, N) || N <- lists:seq(1, 100)],
    _ = call(take, [Buf, 100]),
    Reader = py:spawn_call(ct_flow, records, [Buf, 8]),
    [ok = result(Writer) || Writer <- Writers],
    ok = py_buffer:close(Buf),
    {ok, Records} = py:await(Reader, 10_000),
    Records = [<<N:64>> || N <- lists:seq(1, 100)],
    ok.

%% Also when there is room for a moment: under the high mark, over the low one.
nobody_overtakes(_Config) ->
    Buf = new(#{high_watermark => 100, low_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(100)),
    First = start_waiting(Buf, <<"first">>, 1),
    _ = call(take, [Buf, 50]),
    {error, busy} = py_buffer:write(Buf, <<"second">>, 0),
    {error, timeout} = py_buffer:write(Buf, <<"second">>, 5),
    Third = start_waiting(Buf, <<"third">>, 2),
    _ = call(take, [Buf, 50]),
    ok = result(First),
    ok = result(Third),
    <<"firstthird">> = call(take, [Buf, 10]),
    ok.

timeout_takes_nothing(_Config) ->
    Buf = new(#{high_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(10)),
    {Ms, {error, timeout}} = erlpy_ct:timed(fun() -> py_buffer:write(Buf, <<"lost">>, 100) end),
    true = Ms >= 100 andalso Ms < 2000,
    {error, timeout} = py_buffer:write(Buf, [rand:bytes(100_000)], 1),
    #{written := 10, waiting_writers := 0, retained := Retained} = py_buffer:info(Buf),
    true = Retained < 100_000,
    ok = py_buffer:close(Buf),
    10 = byte_size(call(whole, [Buf])).

zero_never_waits(_Config) ->
    Buf = new(#{high_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(10), 0),
    [{error, busy} = py_buffer:write(Buf, Data, 0)
     || Data <- [<<"x">>, ["x"], bytes(5000), [bytes(5000)]]],
    #{written := 10, waiting_writers := 0} = py_buffer:info(Buf).

%% Writers with timeouts of every length against a slow reader: what was accepted arrives
%% whole, once, and in the order of its writer; what timed out does not.
random_timeouts(_Config) ->
    Seed = {_, _, _} = erlang:timestamp(),
    ct:pal("seed ~w", [Seed]),
    Buf = new(#{high_watermark => 64, low_watermark => 16}),
    Reader = py:spawn_call(ct_flow, records, [Buf, 16]),
    Writers = [job(fun() -> write_randomly(Buf, W, Seed) end) || W <- lists:seq(1, 20)],
    Accepted = [result(Writer) || Writer <- Writers],
    ok = py_buffer:close(Buf),
    {ok, Records} = py:await(Reader, 20_000),
    lists:foreach(
        fun({W, Mine}) -> Mine = [N || <<V:64, N:64>> <- Records, V =:= W] end,
        lists:zip(lists:seq(1, 20), Accepted)
    ).

write_randomly(Buf, W, {A, B, C}) ->
    _ = rand:seed(exsss, {A + W, B, C}),
    [N || N <- lists:seq(1, 300),
          begin
              Timeout = lists:nth(rand:uniform(6), [0, 1, 1, 2, 5, infinity]),
              Answer = py_buffer:write(Buf, <<W:64, N:64>>, Timeout),
              true = lists:member(Answer, [ok, {error, timeout}, {error, busy}]),
              Answer =:= ok
          end].

killed_writers_pass_their_turn_on(_Config) ->
    Buf = new(#{high_watermark => 10, low_watermark => 0}),
    ok = py_buffer:write(Buf, bytes(10)),
    Writers = [start_waiting(Buf, <<N>>, N) || N <- lists:seq(1, 20)],
    {Killed, Kept} = lists:partition(fun({N, _}) -> N rem 2 =:= 1 end,
                                     lists:zip(lists:seq(1, 20), Writers)),
    [kill(Writer) || {_, Writer} <- Killed],
    ok = waiting(Buf, 10),
    _ = call(take, [Buf, 10]),
    [ok = result(Writer) || {_, Writer} <- Kept],
    Expected = << <<N>> || {N, _} <- Kept >>,
    Expected = call(take, [Buf, 10]),
    #{waiting_writers := 0, available := 0} = py_buffer:info(Buf).

%% The wait does not search the mailbox.
million_messages(_Config) ->
    Empty = in_process(fun() -> write_waiting(300) end),
    Full = in_process(fun() ->
        [self() ! {some, message, N} || N <- lists:seq(1, 1_000_000)],
        Micros = write_waiting(300),
        {message_queue_len, 1_000_000} = process_info(self(), message_queue_len),
        Micros
    end),
    ct:pal("300 writes that wait: ~b us, with a million messages ~b us", [Empty, Full]),
    %% A search of a million messages takes some milliseconds each time.
    true = Full < 5 * Empty + 200_000.

write_waiting(Count) ->
    Buf = new(#{high_watermark => 1, low_watermark => 0}),
    Reader = py:spawn_call(ct_flow, count_slowly, [Buf, 1]),
    {Micros, _} = timer:tc(fun() ->
        [ok = py_buffer:write(Buf, <<"x">>) || _ <- lists:seq(1, Count)]
    end),
    ok = py_buffer:close(Buf),
    %% Answered to a reference of this process: found without a search as well.
    {ok, Count} = py:await(Reader, 20_000),
    Micros.

in_process(Fun) ->
    answer_of(spawn_monitor(fun() -> exit({answer, Fun()}) end)).

answer_of({_, Monitor}) ->
    receive {'DOWN', Monitor, process, _, Why} -> {answer, Answer} = Why, Answer end.

%% ---- Ends ----------------------------------------------------------------------------

full_with_writers(Options) ->
    Buf = new(Options#{high_watermark => 10}),
    ok = py_buffer:write(Buf, bytes(10)),
    {Buf, [start_waiting(Buf, Data, N)
           || {N, Data} <- [{1, <<"a">>}, {2, ["b", bytes(9000)]}, {3, bytes(5000)}]]}.

close_answers_waiting_writers(_Config) ->
    {Buf, Writers} = full_with_writers(#{}),
    ok = py_buffer:close(Buf),
    [{error, closed} = result(Writer) || Writer <- Writers],
    #{written := 10, waiting_writers := 0} = py_buffer:info(Buf).

abort_answers_waiting_writers(_Config) ->
    {Buf, Writers} = full_with_writers(#{}),
    ok = py_buffer:abort(Buf, {went, wrong}),
    [{error, {aborted, {went, wrong}}} = result(Writer) || Writer <- Writers],
    {error, {aborted, {went, wrong}}} = py_buffer:write(Buf, <<"x">>),
    {error, {aborted, {went, wrong}}} = py_buffer:write(Buf, ["x"], 0),
    #{written := 10, waiting_writers := 0} = py_buffer:info(Buf).

python_close_answers_waiting_writers(_Config) ->
    {Buf, Writers} = full_with_writers(#{last_reader => keep}),
    {ok, none} = py:call(ct_buffers, invoke, [Buf, close]),
    [{error, closed} = result(Writer) || Writer <- Writers],
    {error, closed} = py_buffer:write(Buf, <<"x">>, 0),
    #{written := 10, reader_closed := true, state := open} = py_buffer:info(Buf).

last_reader_answers_waiting_writers(_Config) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 10}),
    none = call(keep, [last, Buf]),
    ok = py_buffer:write(Buf, bytes(10)),
    Writer = start_waiting(Buf, <<"a">>, 1),
    none = call(let_go, [last]),
    {error, closed} = result(Writer),
    #{reader_closed := true} = py_buffer:info(Buf).

last_reader_keeps(_Config) ->
    [begin
         {ok, Buf} = py_buffer:new(Options),
         <<>> = call(take, [Buf, 0]),
         ok = py_buffer:write(Buf, <<"abc">>),
         <<"ab">> = call(take, [Buf, 2]),
         #{reader_closed := false} = py_buffer:info(Buf)
     end || Options <- [#{}, #{high_watermark => 10, last_reader => keep}]],
    ok.

%% A context that is busy until go/1.
busy_context() ->
    {ok, Context} = py_context:new(),
    {ok, Gate} = py_buffer:new(),
    Busy = py:spawn_call(Context, ct_flow, take, [Gate, 1]),
    ok = erlpy_ct:eventually(fun() ->
        maps:get(waiting_readers, py_buffer:info(Gate)) =:= 1
    end),
    {Context, Gate, Busy}.

go({_Context, Gate, Busy}) ->
    ok = py_buffer:write(Gate, <<"g">>),
    {ok, <<"g">>} = py:await(Busy, 5000),
    ok.

limited() ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 10}),
    ok = py_buffer:write(Buf, <<"abc">>),
    Buf.

is_closed(Buf) ->
    maps:get(reader_closed, py_buffer:info(Buf)).

%% Another call's reader comes and goes.
pending_call_is_a_reader(_Config) ->
    {Context, _, _} = Gate = busy_context(),
    [Buf | _] = Bufs = [limited() || _ <- lists:seq(1, 20)],
    Pending = py:spawn_call(Context, builtins, len, [[#{x => {Buf}}, Bufs]]),
    [<<"a">> = call(take, [B, 1]) || B <- Bufs],
    [false = is_closed(B) || B <- Bufs],
    ok = go(Gate),
    {ok, 2} = py:await(Pending, 5000),
    [ok = erlpy_ct:eventually(fun() -> is_closed(B) end) || B <- Bufs],
    ok.

cancelled_call_is_none(_Config) ->
    {Context, _, _} = Gate = busy_context(),
    Buf = limited(),
    Self = self(),
    %% It goes on to hold the terms of its call.
    Caller = spawn_link(fun() ->
        {error, timeout} = py:call(Context, builtins, len, [[Buf]], #{}, 2000),
        Self ! {self(), cancelled},
        receive stop -> ok end
    end),
    ok = erlpy_ct:eventually(fun() -> maps:get(queued, py:info()) =:= 1 end),
    <<"a">> = call(take, [Buf, 1]),
    false = is_closed(Buf),
    receive {Caller, cancelled} -> ok end,
    ok = erlpy_ct:eventually(fun() -> is_closed(Buf) end),
    Caller ! stop,
    ok = go(Gate).

large_request_is_a_reader(_Config) ->
    {Context, _, _} = Gate = busy_context(),
    Buf = limited(),
    Pending = py:spawn_call(Context, builtins, len, [lists:seq(1, 100_000) ++ [[Buf]]]),
    <<"a">> = call(take, [Buf, 1]),
    false = is_closed(Buf),
    ok = go(Gate),
    {ok, 100_001} = py:await(Pending, 5000),
    ok = erlpy_ct:eventually(fun() -> is_closed(Buf) end).

stopped_call_is_none(_Config) ->
    {Context, _, Busy} = busy_context(),
    Buf = limited(),
    Pending = py:spawn_call(Context, builtins, len, [[Buf]]),
    <<"a">> = call(take, [Buf, 1]),
    false = is_closed(Buf),
    ok = py_context:destroy(Context),
    {error, destroyed} = py:await(Pending, 5000),
    {error, destroyed} = py:await(Busy, 5000),
    ok = erlpy_ct:eventually(fun() -> is_closed(Buf) end).

%% ---- Readers that need more than the mark -------------------------------------------------

needs_more(Function, Args, Data) ->
    Buf = new(#{high_watermark => 1000, last_reader => keep}),
    Reader = py:spawn_call(ct_flow, Function, [Buf | Args]),
    Writer = job(fun() ->
        [ok = py_buffer:write(Buf, Piece) || Piece <- erlpy_ct:pieces(Data, 300)],
        py_buffer:close(Buf)
    end),
    {ok, Read} = py:await(Reader, 10_000),
    true = Read =:= Data,
    ok = result(Writer).

read_all_needs_more(_Config) ->
    needs_more(whole, [], rand:bytes(1_000_000)).

exactly_needs_more(_Config) ->
    needs_more(exactly, [1_000_000], rand:bytes(1_000_000)).

line_needs_more(_Config) ->
    needs_more(line, [], <<(bytes(1_000_000))/binary, $\n>>).

%% ---- Memory -----------------------------------------------------------------------------

what_was_read_is_freed(_Config) ->
    Buf = new(#{seekable => false}),
    [ok = py_buffer:write(Buf, rand:bytes(100_000)) || _ <- lists:seq(1, 10)],
    _ = call(take, [Buf, 900_000]),
    #{retained := Retained, available := 100_000} = py_buffer:info(Buf),
    true = Retained < 250_000,
    _ = call(take, [Buf, 100_000]),
    #{retained := Left} = py_buffer:info(Buf),
    true = Left < 150_000,
    {error, {<<"UnsupportedOperation">>, _, _}} = py:call(ct_buffers, invoke, [Buf, seek, 0]),
    {ok, 1_000_000} = py:call(ct_buffers, invoke, [Buf, tell]).

views_pin_what_was_read(_Config) ->
    Buf = new(#{seekable => false}),
    Data = rand:bytes(100_000),
    ok = py_buffer:write(Buf, Data),
    {ok, _} = py:call(ct_buffers, keep_view, [pinned, Buf]),
    _ = call(take, [Buf, 100_000]),
    ok = py_buffer:write(Buf, <<"more">>),
    <<"more">> = call(take, [Buf, 4]),
    {ok, Data} = py:call(ct_buffers, view_bytes, [pinned]),
    {ok, none} = py:call(ct_buffers, forget, [pinned]),
    ok.

%% A shared binary counts with all of the binary that it is a part of.
parts_count_their_whole(_Config) ->
    Whole = rand:bytes(1_000_000),
    [begin
         Buf = new(#{}),
         ok = py_buffer:write(Buf, Data),
         #{written := 100_000, retained := Retained} = py_buffer:info(Buf),
         true = Retained >= 1_000_000
     end || Data <- [binary:part(Whole, 5, 100_000), [binary:part(Whole, 5, 100_000)]]],
    Alone = new(#{}),
    ok = py_buffer:write(Alone, binary:copy(binary:part(Whole, 5, 100_000))),
    #{retained := Least} = py_buffer:info(Alone),
    true = Least < 150_000.

%% Only a write that waits refers to the buffer: nobody has abandoned it.
parked_write_keeps_its_buffer(_Config) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        {ok, Buf} = py_buffer:new(#{high_watermark => 10, last_reader => keep}),
        ok = py_buffer:write(Buf, bytes(10)),
        none = call(keep, [parked, Buf]),
        Self ! {self(), ready},
        ok = py_buffer:write(Buf, <<"last">>),
        Self ! {self(), done}
    end),
    receive {Pid, ready} -> ok end,
    timer:sleep(50),
    true = erlang:garbage_collect(Pid),
    {ok, <<"xxxxxxxxxx">>} = py:eval("__import__('ct_flow').kept['parked'].read(10)"),
    receive {Pid, done} -> ok end,
    {ok, <<"last">>} = py:eval("__import__('ct_flow').kept['parked'].read(10)"),
    none = call(let_go, [parked]).

%% The process whose term was the last one is not held up by half a million pieces.
long_streams_are_freed_elsewhere(_Config) ->
    Rounds = [in_process(fun() ->
        ok = make_and_drop(bytes(2048)),
        {Micros, true} = timer:tc(fun() -> garbage_collect() end),
        Micros
    end) || _ <- [1, 2, 3]],
    ct:pal("dropped within ~w us", [Rounds]),
    true = lists:min(Rounds) < 25_000,
    ok = erlpy_ct:eventually(fun() ->
        not lists:member(<<"erlpy_helper">>, erlpy_ct:threads())
    end).

make_and_drop(Piece) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, lists:duplicate(500_000, Piece)),
    #{written := 1_024_000_000} = py_buffer:info(Buf),
    ok.

%% FLOW_BYTES: how much (4 GiB takes its time).
large_stream_in_little_memory(Config) ->
    Bytes = list_to_integer(os:getenv("FLOW_BYTES", integer_to_list(1 bsl 32))),
    {Peer, _} = erlpy_ct:peer(flow, #{}),
    ok = peer:call(Peer, ?MODULE, prepare, [erlpy_ct:python_dir(Config)]),
    %% Once to warm up.
    _ = peer:call(Peer, ?MODULE, stream, [64 bsl 20], 60_000),
    {Before, After, Micros} = peer:call(Peer, ?MODULE, stream, [Bytes], 300_000),
    ct:pal("~b MiB in ~b ms; peak ~b KiB, after ~b KiB",
           [Bytes bsr 20, Micros div 1000, Before, After]),
    true = After - Before < 8 * 1024,
    ok = peer:stop(Peer).

prepare(PythonDir) ->
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [PythonDir]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

stream(Bytes) ->
    Piece = iolist_to_binary(lists:duplicate(656, [bytes(99), $\n])),
    Pieces = Bytes div byte_size(Piece),
    Total = Pieces * byte_size(Piece),
    {ok, Before} = py:call(ct_flow, reset_peak, []),
    Buf = new(#{high_watermark => 1 bsl 20, seekable => false}),
    Reader = py:spawn_call(ct_flow, in_every_way, [Buf, 32 bsl 20]),
    {Micros, ok} = timer:tc(fun() -> write_copies(Buf, Piece, Pieces) end),
    ok = py_buffer:close(Buf),
    {ok, Total} = py:await(Reader, 60_000),
    {ok, After} = py:call(ct_flow, resident_peak_kib, []),
    {Before, After, Micros}.

%% A binary of its own each time, as a socket or a file brings them.
write_copies(_Buf, _Piece, 0) ->
    ok;
write_copies(Buf, Piece, Left) ->
    ok = py_buffer:write(Buf, binary:copy(Piece)),
    write_copies(Buf, Piece, Left - 1).

six_calls(_Config) ->
    erlpy_ct:still_works().
