%% Interpreters with a GIL of their own: code that computes in two, and streams into two.
-module(bench_interpreters).

-export([rows/1]).

rows(Quick) ->
    case py_context:new(#{mode => owngil}) of
        {ok, Context} ->
            ok = py_context:destroy(Context),
            measured(Quick);
        {error, {not_supported, Text}} ->
            io:format("interpreters: skipped, ~ts~n", [Text]),
            []
    end.

measured(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    Turns = bench:pick(Quick, 1000000, 4000000),
    Size = bench:pick(Quick, 64, 512) bsl 20,
    [
        compute_row("2 contexts", contexts(2), contexts(1), Turns, Rounds),
        compute_row("pool over 2", pool(2), pool(1), Turns, Rounds),
        stream_row("read by line", count_lines, Size div 4, Rounds),
        stream_row("read by 64 KiB", consume, Size, Rounds)
    ].

%% ---- Computing ---------------------------------------------------------------------------

%% Eight calls, over as many targets as there are.
compute_row(Name, Two, One, Turns, Rounds) ->
    Pairs = [{timed(Two, Turns), timed(One, Turns)} || _ <- lists:seq(0, Rounds)],
    Result = bench:compared(tl(Pairs)),
    bench:row(Result#{
        name => ["8 calls that compute, ", Name, " / 1"],
        unit => "s",
        goal => {at_most, 0.6},
        note => "Of the time with one interpreter; less is better"
    }).

timed({Begin, Targets, End}, Turns) ->
    Begin(),
    Calls = Targets(),
    _ = [{ok, _} = Call(1000) || Call <- Calls],
    Nanoseconds = bench:timed(fun() -> all([fun() -> Call(Turns) end || Call <- Calls]) end),
    End(),
    Nanoseconds / 1.0e9.

all(Calls) ->
    Processes = [spawn_monitor(fun() -> {ok, _} = Call() end) || Call <- Calls],
    _ = [receive {'DOWN', Ref, process, _, normal} -> ok end || {_, Ref} <- Processes],
    ok.

contexts(Count) ->
    {
        fun() -> {ok, _} = py:start_contexts(#{count => Count, mode => owngil}) end,
        fun() ->
            [begin
                 Context = py:context(N rem Count + 1),
                 fun(Turns) -> py:call(Context, measure_interpreters, compute, [Turns]) end
             end || N <- lists:seq(1, 8)]
        end,
        fun py:stop_contexts/0
    }.

pool(Count) ->
    {
        fun() -> restart([{pool, {owngil, Count}}]) end,
        fun() ->
            [fun(Turns) -> py:call(measure_interpreters, compute, [Turns]) end || _ <- lists:seq(1, 8)]
        end,
        fun() -> restart([{pool, shared}]) end
    }.

restart(Settings) ->
    ok = application:stop(erlpy),
    [ok = application:set_env(erlpy, Name, Value) || {Name, Value} <- Settings],
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

%% ---- Streams -----------------------------------------------------------------------------

%% Bytes a second into each of two that are read at once, against one that is alone.  One
%% that is read by 64 KiB keeps two cores busy by itself: its writer and its reader.
stream_row(How, Function, Size, Rounds) ->
    {ok, [One, Two]} = py:start_contexts(#{count => 2, mode => owngil}),
    Result = bench:compare(
        Rounds,
        fun() -> rate([One, Two], Function, Size) end,
        fun() -> rate([One], Function, Size) end
    ),
    ok = py:stop_contexts(),
    bench:row(Result#{
        name => ["stream into each of 2 interpreters, ", How, " / 1"],
        unit => "GB/s",
        goal => {at_least, 1},
        note => "Of the rate of one stream alone, per stream; more is better"
    }).

%% In GB/s, of the slowest.
rate(Contexts, Function, Size) ->
    Piece = binary:copy(<<(binary:copy(<<"x">>, 63))/binary, $\n>>, 1024),
    Nanoseconds = bench:timed(fun() ->
        all([fun() -> stream(Context, Function, Piece, Size) end || Context <- Contexts])
    end),
    Size / Nanoseconds.

stream(Context, Function, Piece, Size) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 1 bsl 20, seekable => false}),
    Ref = py:spawn_call(Context, measure_interpreters, Function, [Buf]),
    _ = [ok = py_buffer:write(Buf, Piece) || _ <- lists:seq(1, Size div byte_size(Piece))],
    ok = py_buffer:close(Buf),
    {ok, Size} = py:await(Ref),
    {ok, Size}.
