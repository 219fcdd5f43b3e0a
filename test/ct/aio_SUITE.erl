%% Readers in asyncio, with live writers on the other side: in loops of asyncio.run(), on the
%% threads of calls, and in the event loop of the node.
%%
%% After every case six fresh calls succeed.
-module(aio_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, quiet/0]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, in_run}, {group, in_node}].

groups() ->
    [
        {in_run, [], [{group, reads}, {group, many}, {group, ends}, {group, cancels_of_run},
                      {group, loops}, {group, patterns}]},
        {in_node, [], [{group, reads}, {group, many}, {group, ends}, {group, cancels_of_node},
                       {group, patterns}]},
        {reads, [], [every_read_of_a_trickle, one_call_each, through_a_small_mark,
                     needs_more_than_the_mark, large]},
        {many, [], [thousand_buffers, idle_takes_no_time, readers_of_contexts,
                    no_notice_is_lost, random_reads]},
        {ends, [], [stalled_writer, abort_while_it_waits, owner_dies, abandoned,
                    writer_is_killed, reader_closes, task_is_cancelled, second_task,
                    application_stops]},
        {cancels_of_run, [], [call_times_out, call_is_interrupted, caller_dies,
                              loop_of_others_is_cancelled_later]},
        {cancels_of_node, [], [cancelled_calls_consume_nothing, ten_thousand_calls]},
        {loops, [], [uvloop, closed_loop, loop_that_is_left, no_descriptor_is_left,
                     fork_beside_readers]},
        {patterns, [], [polling, polling_a_body, with_a_channel,
                        with_a_channel_that_lags]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_group(Group, Config) when Group =:= in_run; Group =:= in_node ->
    [{loop, Group} | Config];
init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    _ = put(loop, ?config(loop, Config)),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

run(Name, Args) ->
    {ok, Value} = (call(Name, Args))(),
    Value.

%% The same in a process of its own: answer_of/1.
start(Name, Args) ->
    erlpy_ct:caller(call(Name, Args)).

%% In the loop of this group of cases.
call(Name, Args) ->
    {Function, All} = function(get(loop), Name, Args),
    fun() -> py:call(ct_aio, Function, All) end.

function(in_run, Name, Args) -> {run, [Name | Args]};
function(in_node, Name, Args) -> {Name, Args}.

answer_of(Caller) ->
    {ok, Value} = erlpy_ct:answer_of(Caller),
    Value.

waiting(Buf) ->
    erlpy_ct:eventually(fun() -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1 end).

nobody_waits(Buf) ->
    erlpy_ct:eventually(fun() -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= 0 end).

hash(Data) ->
    iolist_to_binary([io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= crypto_hash(Data)]).

crypto_hash(Data) ->
    crypto:hash(sha256, Data).

lines(Count) ->
    iolist_to_binary([["line ", integer_to_binary(N), $\n] || N <- lists:seq(1, Count)]).

%% ---- Reads -------------------------------------------------------------------------------

every_read_of_a_trickle(_Config) ->
    Data = lines(2000),
    Hash = hash(Data),
    [[Hash, _] = run(read_by, [erlpy_ct:trickle(Data, 2) | How])
     || How <- [[lines], [views], [read, 70], [read, 100000], [exactly, 333],
                [until, {bytes, <<"7\n">>}], [readview, 50], [all]]],
    ok.

one_call_each(_Config) ->
    Invoke = fun(Data, Args) ->
        run(invoke, [erlpy_ct:trickle(Data, 1) | Args])
    end,
    <<"abc">> = Invoke(<<"abcdef">>, [readexactly, 3]),
    [<<"IncompleteReadError">>, <<"abc">>, 4] = Invoke(<<"abc">>, [readexactly, 4]),
    [<<"IncompleteReadError">>, <<"abc">>, none] =
        Invoke(<<"abc">>, [readuntil, {bytes, <<"d">>}]),
    [<<"LimitOverrunError">>, Consumed] =
        Invoke(binary:copy(<<"x">>, 70000), [readuntil, {bytes, <<"d">>}]),
    true = Consumed > 65536,
    <<"ab">> = Invoke(<<"abc">>, [readuntil, {{bytes, <<"c">>}, {bytes, <<"b">>}}]),
    <<"ab\n">> = Invoke(<<"ab\nc">>, [readline]),
    <<>> = Invoke(<<>>, [readline]),
    <<"abc">> = Invoke(<<"abc">>, [read]).

%% The writer waits for the reader, the reader for the writer.
through_a_small_mark(_Config) ->
    Data = lines(20000),
    Hash = hash(Data),
    {ok, Buf} = py_buffer:new(#{high_watermark => 1000, seekable => false}),
    Reader = start(read_by, [Buf, lines]),
    ok = erlpy_ct:write_pieces(Buf, erlpy_ct:pieces(Data, 700), 1),
    [Hash, _] = answer_of(Reader).

needs_more_than_the_mark(_Config) ->
    Data = <<(binary:copy(<<"x">>, 50000))/binary, "\n">>,
    [begin
         {ok, Buf} = py_buffer:new(#{high_watermark => 1000}),
         Reader = start(invoke, [Buf | Call]),
         %% With a timeout: without the mark lifted this would wait for ever.
         [ok = py_buffer:write(Buf, Piece, 20000) || Piece <- erlpy_ct:pieces(Data, 700)],
         ok = py_buffer:close(Buf),
         Data = answer_of(Reader)
     end || Call <- [[read], [readexactly, 50001], [readline],
                     [readuntil, {bytes, <<"\n">>}],
                     [readuntil, {{bytes, <<"!!">>}, {bytes, <<"\n">>}}]]],
    ok.

large(_Config) ->
    Data = binary:copy(lines(1000), 1000),
    Hash = hash(Data),
    [begin
         Buf = erlpy_ct:trickle_by(Data, 100000),
         [Hash, Largest] = run(read_by, [Buf | How]),
         true = Largest =< Most
     end || {How, Most} <- [{[all], byte_size(Data)}, {[views], byte_size(Data)},
                            {[exactly, 3000000], 3000000}, {[read, 65536], 65536}]],
    ok.

%% ---- Many --------------------------------------------------------------------------------

thousand_buffers(_Config) ->
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, 1000)],
    Reader = start(many, [Bufs]),
    [ok = waiting(Buf) || Buf <- Bufs],
    Writers = [spawn_monitor(fun() ->
        Number = integer_to_binary(N),
        [ok = py_buffer:write(Buf, Number) || _ <- [1, 2, 3]],
        ok = py_buffer:close(Buf)
    end) || {N, Buf} <- lists:zip(lists:seq(1, 1000), Bufs)],
    [normal = erlpy_ct:down(Monitor) || {_, Monitor} <- Writers],
    %% The loop of the node may have had one already; what others left may go meanwhile.
    [More, Values] = answer_of(Reader),
    {true, More} = {More =< 1, More},
    Values = [binary:copy(integer_to_binary(N), 3) || N <- lists:seq(1, 1000)],
    ok.

idle_takes_no_time(_Config) ->
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, 1000)],
    Reader = start(idle, [self(), Bufs, 0.5]),
    none = told(idle),
    [ok = py_buffer:close(Buf) || Buf <- Bufs],
    [Seconds, 1000] = answer_of(Reader),
    true = Seconds < 0.05.

%% With asyncio.run() these are several loops in several threads.
readers_of_contexts(_Config) ->
    Data = lines(3000),
    Hash = hash(Data),
    Contexts = [begin {ok, Context} = py_context:new(), Context end || _ <- lists:seq(1, 4)],
    Readers = [begin
        {Function, Args} = function(get(loop), read_by, [erlpy_ct:trickle(Data, 1), lines]),
        erlpy_ct:caller(fun() -> py:call(Context, ct_aio, Function, Args) end)
    end || Context <- Contexts, _ <- [1, 2]],
    [{ok, [Hash, _]} = erlpy_ct:answer_of(Reader) || Reader <- Readers],
    [ok = py_context:destroy(Context) || Context <- Contexts],
    ok.

%% Each byte is written when the one before has been read, so beside a task that begins to
%% wait: were a notice lost, both would wait for ever.
no_notice_is_lost(_Config) ->
    Self = self(),
    Rounds = 5000,
    Pairs = [begin
        {ok, Buf} = py_buffer:new(),
        {spawn_link(fun() -> write_when_told(Self, Buf, Rounds) end), Buf}
    end || _ <- lists:seq(1, 4)],
    Answer = run(acknowledge, [[[Pid, Buf] || {Pid, Buf} <- Pairs]]),
    Answer = [Rounds || _ <- Pairs],
    [receive {Pid, done} -> ok after 20000 -> ct:fail(not_done) end || {Pid, _} <- Pairs],
    ok.

write_when_told(To, Buf, 0) ->
    ok = py_buffer:close(Buf),
    To ! {self(), done};
write_when_told(To, Buf, Left) ->
    ok = py_buffer:write(Buf, <<"x">>),
    receive
        taken -> write_when_told(To, Buf, Left - 1)
    after 20000 ->
        exit({lost, Left, py_buffer:info(Buf)})
    end.

%% Writers that end, abort and die beside readers that are cancelled again and again: each
%% byte is read once, and each end is the right one.
random_reads(_Config) ->
    Seed = rand:uniform(1 bsl 30),
    ct:pal("seed ~w", [Seed]),
    _ = rand:seed(exsss, Seed),
    Streams = [random_stream() || _ <- lists:seq(1, 100)],
    Bufs = [Buf || {Buf, _, _} <- Streams],
    Results = case get(loop) of
        in_run -> run(all_random_reads, [Bufs, Seed]);
        in_node ->
            Calls = [{ct_aio, random_reads, [Buf, Seed + N]}
                     || {N, Buf} <- lists:enumerate(Bufs)],
            {ok, Values} = py:async_gather(Calls),
            Values
    end,
    Expected = [[hash(Data), End] || {_, Data, End} <- Streams],
    Expected = Results,
    ok = erlpy_ct:eventually(fun() ->
        [] =:= [B || B <- Bufs, maps:get(waiting_readers, py_buffer:info(B)) =/= 0]
    end).

random_stream() ->
    Data = lists:sublist(binary_to_list(lines(rand:uniform(500))), rand:uniform(4000)),
    Pieces = random_pieces(Data),
    End = lists:nth(rand:uniform(3), [ended, aborted, owner_down]),
    Mark = lists:nth(rand:uniform(3), [infinity, 100, 2000]),
    {ok, Buf} = py_buffer:new(#{high_watermark => Mark, seekable => rand:uniform(2) =:= 1,
                                last_reader => keep}),
    _ = spawn(fun() -> random_writer(Buf, Pieces, End) end),
    {Buf, list_to_binary(Data), atom_to_binary(End)}.

random_writer(Buf, Pieces, End) ->
    [ok = py_buffer:set_owner(Buf, self()) || End =:= owner_down],
    [begin
         ok = py_buffer:write(Buf, Piece),
         rand:uniform(4) =:= 1 andalso timer:sleep(rand:uniform(3))
     end || Piece <- Pieces],
    case End of
        ended -> ok = py_buffer:close(Buf);
        aborted -> ok = py_buffer:abort(Buf, aborted);
        owner_down -> exit(kill)
    end.

random_pieces([]) ->
    [];
random_pieces(Data) ->
    {Piece, Rest} = lists:split(min(length(Data), rand:uniform(300)), Data),
    [Piece | random_pieces(Rest)].

%% ---- What ends a wait -----------------------------------------------------------------------

stalled_writer(_Config) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"12345">>),
    Reader = start(times_out, [self(), Buf, 0.05]),
    none = told(timed_out),
    #{read := 0} = py_buffer:info(Buf),
    ok = waiting(Buf),
    ok = py_buffer:write(Buf, <<"67890abc">>),
    <<"1234567890">> = answer_of(Reader),
    #{read := 10, waiting_readers := 0} = py_buffer:info(Buf).

%% Calls that promise completeness consume nothing, the others what had come.
abort_while_it_waits(_Config) ->
    [begin
         {ok, Buf} = py_buffer:new(),
         ok = py_buffer:write(Buf, <<"some">>),
         Reader = start(invoke, [Buf | Call]),
         ok = waiting(Buf),
         ok = py_buffer:abort(Buf, {went, away}),
         [<<"BufferAborted">>, {<<"went">>, <<"away">>}, 0] = answer_of(Reader),
         <<"some">> = run(invoke, [Buf, read, 10]),
         [<<"BufferAborted">>, _, 4] = run(invoke, [Buf, read, 10])
     end || Call <- [[read], [readexactly, 5], [readuntil, {bytes, <<"!">>}],
                     [readuntil, {{bytes, <<"!!">>}, {bytes, <<"\n">>}}]]],
    {ok, Lines} = py_buffer:new(),
    ok = py_buffer:write(Lines, <<"some">>),
    Line = start(invoke, [Lines, readline]),
    ok = waiting(Lines),
    ok = py_buffer:abort(Lines, why),
    <<"some">> = answer_of(Line).

owner_dies(_Config) ->
    Owner = spawn(fun() -> receive stop -> ok end end),
    {ok, Buf} = py_buffer:new(#{owner => Owner}),
    Reader = start(invoke, [Buf, read]),
    ok = waiting(Buf),
    exit(Owner, kill),
    [<<"BufferAborted">>, <<"owner_down">>, 0] = answer_of(Reader).

%% The call holds the term until its arguments are converted, and then nobody does.
abandoned(_Config) ->
    Self = self(),
    Loop = get(loop),
    Reader = spawn(fun() ->
        {ok, Buf} = py_buffer:new(),
        {Function, Args} = function(Loop, invoke, [Buf, read]),
        Ref = py:spawn_call(ct_aio, Function, Args),
        ok = waiting(Buf),
        Self ! {self(), ready, Ref},
        receive go -> ok end,
        erlang:garbage_collect(),
        Self ! {self(), py:await(Ref, 20000)}
    end),
    receive {Reader, ready, _} -> ok after 20000 -> ct:fail(not_ready) end,
    Reader ! go,
    {ok, [<<"BufferAborted">>, <<"abandoned">>, 0]} = erlpy_ct:answer_of(Reader).

%% The one that writes dies; the buffer has another owner and is ended by it.
writer_is_killed(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Reader = start(read_by, [Buf, lines]),
    Self = self(),
    Writer = spawn(fun() -> write_for_ever(Self, Buf, 0) end),
    Count = receive {Writer, N} when N >= 50 -> N after 20000 -> ct:fail(no_writer) end,
    Monitor = monitor(process, Writer),
    exit(Writer, kill),
    killed = erlpy_ct:down(Monitor),
    #{state := open, written := Written} = py_buffer:info(Buf),
    true = Written >= Count * 5,
    ok = py_buffer:close(Buf),
    [Hash, 5] = answer_of(Reader),
    Hash = hash(binary:copy(<<"line\n">>, Written div 5)),
    flush(Writer).

write_for_ever(To, Buf, N) ->
    ok = py_buffer:write(Buf, <<"line\n">>),
    N rem 10 =:= 0 andalso (To ! {self(), N}),
    timer:sleep(1),
    write_for_ever(To, Buf, N + 1).

flush(From) ->
    receive {From, _} -> flush(From) after 0 -> ok end.

reader_closes(_Config) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 20}),
    Reader = start(close_early, [Buf]),
    ok = waiting(Buf),
    ok = py_buffer:write(Buf, <<"line\nand much that nobody reads">>),
    {error, closed} = py_buffer:write(Buf, <<"more">>, 20000),
    <<"line\n">> = answer_of(Reader).

task_is_cancelled(_Config) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"abc">>),
    Reader = start(cancelled, [self(), Buf]),
    none = told(cancelled),
    ok = waiting(Buf),
    ok = py_buffer:write(Buf, <<"def">>),
    ok = py_buffer:close(Buf),
    <<"abcdef">> = answer_of(Reader).

second_task(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Reader = start(two_tasks, [Buf, Buf]),
    ok = waiting(Buf),
    ok = py_buffer:write(Buf, <<"abc">>),
    ok = py_buffer:close(Buf),
    [Text, <<"abc">>] = answer_of(Reader),
    true = string:find(Text, "already waiting") =/= nomatch.

%% The thread of the call is in the selector: it is woken, and Cancelled goes through
%% asyncio.run(), which cancels the task.
call_times_out(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {Ms, {error, timeout}} =
        erlpy_ct:timed(fun() -> py:call(ct_aio, waits_in_loop, [self(), Buf], #{}, 1000) end),
    true = Ms < 5000,
    has_been_cancelled(Buf).

call_is_interrupted(_Config) ->
    {ok, Context} = py_context:new(),
    Self = self(),
    [begin
         {ok, Buf} = py_buffer:new(),
         Reader = erlpy_ct:caller(fun() ->
             py:call(Context, ct_aio, waits_in_loop, [Self, Buf])
         end),
         ok = waiting(Buf),
         ok = py:interrupt(Context),
         {error, interrupted} = erlpy_ct:answer_of(Reader),
         has_been_cancelled(Buf),
         {ok, 1} = py:eval(Context, "1")
     end || _ <- lists:seq(1, 20)],
    ok = py_context:destroy(Context).

caller_dies(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Self = self(),
    Caller = erlpy_ct:caller(fun() -> py:call(ct_aio, waits_in_loop, [Self, Buf]) end),
    ok = waiting(Buf),
    exit(Caller, kill),
    has_been_cancelled(Buf).

%% With the bytes still to come.
has_been_cancelled(Buf) ->
    none = told(waits),
    <<"Cancelled">> = told(ended),
    ok = quiet(),
    ok = nobody_waits(Buf),
    #{state := open, read := 0} = py_buffer:info(Buf).

%% A loop that waits for nothing of ours has the exception when it turns next; the caller
%% has its answer in time.
loop_of_others_is_cancelled_later(_Config) ->
    {Ms, {error, timeout}} =
        erlpy_ct:timed(fun() -> py:call(ct_aio, sleeps_in_loop, [self(), 3], #{}, 500) end),
    true = Ms < 2500,
    none = told(waits),
    ok = erlpy_ct:eventually(fun() -> erlpy_ct:info(stuck) =:= 1 end),
    <<"Cancelled">> = told(ended),
    ok = quiet().

%% The task has CancelledError, and the bytes are there for the next.
cancelled_calls_consume_nothing(_Config) ->
    Self = self(),
    {ok, Context} = py_context:new(),
    Calls = [
        {fun(Buf) -> {error, timeout} = py:call(ct_aio, watched, [Self, Buf], #{}, 2000) end,
         fun(_) -> ok end},
        {fun(Buf) -> py:call(Context, ct_aio, watched, [Self, Buf]) end,
         fun(_) -> ok = py:interrupt(Context) end},
        {fun(Buf) -> py:call(ct_aio, watched, [Self, Buf]) end,
         fun(Caller) -> exit(Caller, kill) end}
    ],
    [begin
         {ok, Buf} = py_buffer:new(),
         ok = py_buffer:write(Buf, <<"abc">>),
         Caller = spawn(fun() -> Call(Buf) end),
         none = told(waits),
         ok = waiting(Buf),
         _ = End(Caller),
         <<"CancelledError">> = told(ended),
         ok = nobody_waits(Buf),
         #{read := 0} = py_buffer:info(Buf),
         ok = py_buffer:write(Buf, <<"def">>),
         ok = py_buffer:close(Buf),
         <<"abcdef">> = run(invoke, [Buf, read])
     end || {Call, End} <- Calls],
    ok = py_context:destroy(Context).

ten_thousand_calls(_Config) ->
    Count = 10000,
    Before = descriptors(),
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, Count)],
    Calls = [py:async_call(ct_aio, invoke, [Buf, read]) || Buf <- Bufs],
    [ok = waiting(Buf) || Buf <- Bufs],
    #{tasks := Count} = py:info(),
    true = descriptors() =< Before + 10,
    [begin
         ok = py_buffer:write(Buf, integer_to_binary(N)),
         ok = py_buffer:close(Buf)
     end || {N, Buf} <- lists:zip(lists:seq(1, Count), Bufs)],
    [begin
         Value = integer_to_binary(N),
         {ok, Value} = py:async_await(Call)
     end || {N, Call} <- lists:zip(lists:seq(1, Count), Calls)],
    ok.

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

%% It is left behind, and its loop serves on when the application is there again.
application_stops(Config) ->
    {ok, Buf} = py_buffer:new(),
    Reader = start(invoke, [Buf, read]),
    ok = waiting(Buf),
    {Ms, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Ms < 8000,
    {error, _} = erlpy_ct:answer_of(Reader),
    ok = erlpy_ct:start(Config),
    ok = erlpy_ct:still_works(),
    Data = lines(100),
    Hash = hash(Data),
    [Hash, _] = run(read_by, [erlpy_ct:trickle(Data, 1), lines]),
    ok = py_buffer:close(Buf),
    ok = nobody_waits(Buf).

%% ---- Loops ---------------------------------------------------------------------------------

uvloop(_Config) ->
    case erlpy_ct:skip_without(uvloop) of
        ok ->
            Data = lines(2000),
            Hash = hash(Data),
            [{ok, [Hash, _]} = py:call(ct_aio, run_on,
                                       [uvloop, read_by, erlpy_ct:trickle(Data, 2) | How])
             || How <- [[lines], [views], [exactly, 333], [all]]],
            ok;
        Skip ->
            Skip
    end.

closed_loop(_Config) ->
    {ok, Before} = py:call(ct_aio, descriptors, []),
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, 50)],
    [{ok, none} = py:call(ct_aio, abandon_loop, [Buf]) || Buf <- Bufs],
    {ok, After} = py:call(ct_aio, descriptors, []),
    true = After =< Before + 2,
    [#{waiting_readers := 0} = py_buffer:info(Buf) || Buf <- Bufs],
    [begin
         ok = py_buffer:write(Buf, <<"abc">>),
         ok = py_buffer:close(Buf)
     end || Buf <- Bufs],
    [<<"abc">> = run(invoke, [Buf, read]) || Buf <- Bufs],
    ok.

%% One that nobody runs at the moment holds up no writer.
loop_that_is_left(_Config) ->
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, 20)],
    {ok, Context} = py_context:new(),
    [{ok, none} = py:call(Context, ct_aio, keep_loop, [Buf]) || Buf <- Bufs],
    [begin
         #{waiting_readers := 1} = py_buffer:info(Buf),
         [ok = py_buffer:write(Buf, <<"abc">>) || _ <- lists:seq(1, 100)],
         ok = py_buffer:close(Buf)
     end || Buf <- Bufs],
    Data = binary:copy(<<"abc">>, 100),
    {ok, Values} = py:call(Context, ct_aio, finish_loops, []),
    Values = [Data || _ <- Bufs],
    ok = py_context:destroy(Context).

no_descriptor_is_left(_Config) ->
    Once = fun() -> <<"line\n">> = run(invoke, [erlpy_ct:trickle(<<"line\n">>, 0), readline]) end,
    [Once() || _ <- lists:seq(1, 5)],
    {ok, Before} = py:call(ct_aio, descriptors, []),
    [Once() || _ <- lists:seq(1, 200)],
    {ok, After} = py:call(ct_aio, descriptors, []),
    true = After =< Before + 2.

fork_beside_readers(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Other} = py_buffer:new(),
    Reader = start(forks, [Buf, Other]),
    ok = waiting(Buf),
    timer:sleep(100),
    ok = py_buffer:write(Buf, <<"line\n">>),
    [0, <<"line\n">>] = answer_of(Reader),
    #{state := open} = py_buffer:info(Other),
    ok.

%% ---- Patterns of programs --------------------------------------------------------------------

polling(_Config) ->
    Data = lines(2000),
    Data = run(read_buffer_async, [erlpy_ct:trickle(Data, 2)]).

polling_a_body(_Config) ->
    Body = ["{\"numbers\": [", lists:join(",", [integer_to_list(N) || N <- lists:seq(1, 3000)]),
            "]}"],
    Environ = #{<<"method">> => <<"POST">>,
                <<"body">> => erlpy_ct:trickle(iolist_to_binary(Body), 2)},
    #{<<"numbers">> := Numbers} = run(process_body_async, [Environ]),
    Numbers = lists:seq(1, 3000).

with_a_channel(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Channel} = py_channel:new(),
    Reader = start(read_with_notification, [Buf, Channel]),
    Data = lines(2000),
    [begin
         ok = py_buffer:write(Buf, Piece),
         ok = py_channel:send(Channel, data_ready),
         N rem 10 =:= 0 andalso timer:sleep(1)
     end || {N, Piece} <- lists:enumerate(erlpy_ct:pieces(Data, 100))],
    ok = py_buffer:close(Buf),
    ok = py_channel:send(Channel, data_ready),
    Data = answer_of(Reader).

%% All is there before it is told.
with_a_channel_that_lags(_Config) ->
    Buf = erlpy_ct:reader(lines(100)),
    {ok, Channel} = py_channel:new(),
    Data = lines(100),
    Data = run(read_with_notification, [Buf, Channel]),
    {ok, Empty} = py_buffer:new(),
    Reader = start(read_with_notification, [Empty, Channel]),
    ok = erlpy_ct:eventually(fun() ->
        erlpy_ct:info(running) + erlpy_ct:info(tasks) >= 1
    end),
    ok = py_buffer:write(Empty, <<"late">>),
    ok = py_buffer:close(Empty),
    ok = py_channel:send(Channel, data_ready),
    <<"late">> = answer_of(Reader).
