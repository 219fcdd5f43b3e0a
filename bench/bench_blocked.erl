%% A call while a thousand others are blocked in read(), against the same on an idle node;
%% and many streams at once.
-module(bench_blocked).

-export([rows/1]).

-define(READERS, 1000).

rows(Quick) ->
    Count = bench:pick(Quick, 2000, 10000),
    Rounds = bench:pick(Quick, 3, 9),
    Cpu = cpu_rows(bench:pick(Quick, 2, 5)),
    Fair = fair(bench:pick(Quick, 128, 1024) * 1048576),
    Idle = [latencies(Count) || _ <- lists:seq(1, Rounds)],
    Blocked = blocked(fun() -> [latencies(Count) || _ <- lists:seq(1, Rounds)] end),
    [
        latency_row("p50", 50, {at_most, 2}, Blocked, Idle),
        latency_row("p99", 99, none, Blocked, Idle)
        | Cpu ++ [Fair]
    ].

latency_row(Name, P, Goal, Blocked, Idle) ->
    Pairs = [
        {bench:percentile(P, B) / 1000, bench:percentile(P, I) / 1000}
     || {B, I} <- lists:zip(Blocked, Idle)
    ],
    bench:row((bench:compared(Pairs))#{
        name => ["py:call with 1,000 readers blocked, ", Name, " / idle node"],
        unit => "us",
        goal => Goal,
        note => "Time of py:call(math, sqrt, [16]) on the idle node; less is better"
    }).

latencies(Count) ->
    _ = [call() || _ <- lists:seq(1, Count div 10)],
    [bench:timed(fun call/0) || _ <- lists:seq(1, Count)].

call() ->
    {ok, 4.0} = py:call(math, sqrt, [16]).

%% Runs it while each of the readers waits for its own buffer.
blocked(Fun) ->
    Pairs = [start_reader() || _ <- lists:seq(1, ?READERS)],
    _ = [bench:await_reader(Buffer) || {Buffer, _} <- Pairs],
    Result = Fun(),
    _ = [ok = py_buffer:close(Buffer) || {Buffer, _} <- Pairs],
    _ = [{ok, 0} = py:await(Ref) || {_, Ref} <- Pairs],
    Result.

start_reader() ->
    {ok, Buffer} = py_buffer:new(),
    {Buffer, py:spawn_call(measure, size_of_all, [Buffer])}.

%% ---- CPU of a node that has little to do ---------------------------------------------------

cpu_rows(Seconds) ->
    timer:sleep(2000),
    Idle = cpu(Seconds, fun() -> timer:sleep(Seconds * 1000) end),
    Streams = [start_reader() || _ <- lists:seq(1, 100)],
    _ = [bench:await_reader(Buffer) || {Buffer, _} <- Streams],
    Waiting = cpu(Seconds, fun() -> timer:sleep(Seconds * 1000) end),
    Trickling = cpu(Seconds, fun() -> trickle([B || {B, _} <- Streams], Seconds) end),
    _ = [ok = py_buffer:close(Buffer) || {Buffer, _} <- Streams],
    _ = [{ok, _} = py:await(Ref) || {_, Ref} <- Streams],
    [
        cpu_row("an idle node", Idle),
        cpu_row("100 blocked readers", Waiting),
        cpu_row("100 streams of 1 KB/s each", Trickling)
    ].

cpu_row(Name, Ms) ->
    bench:row(#{
        name => ["CPU, ", Name],
        ours => Ms,
        anchor => 1000,
        unit => "ms/s",
        note => "Of one core; less is better"
    }).

cpu(Seconds, Fun) ->
    Before = bench:os_cpu(),
    Fun(),
    After = bench:os_cpu(),
    (After - Before) / Seconds.

trickle(_Buffers, 0) ->
    ok;
trickle(Buffers, Seconds) ->
    Part = binary:copy(<<"x">>, 1000),
    _ = [
        begin
            ok = py_buffer:write(Buffer, Part),
            timer:sleep(1000 div length(Buffers))
        end
     || Buffer <- Buffers
    ],
    trickle(Buffers, Seconds - 1).

%% ---- Eight at once -------------------------------------------------------------------------

fair(Total) ->
    Self = self(),
    Starts = erlang:monotonic_time(),
    _ = [spawn_link(fun() -> Self ! {done, one(Total) - Starts} end) || _ <- lists:seq(1, 8)],
    Times = [
        receive
            {done, Time} -> erlang:convert_time_unit(Time, native, microsecond) / 1000
        end
     || _ <- lists:seq(1, 8)
    ],
    bench:row(#{
        name => "8 streams at once, last to end / first",
        ours => lists:max(Times),
        anchor => lists:min(Times),
        unit => "ms",
        note => "Each the same bytes through a 1 MiB watermark; 1 is fair"
    }).

one(Total) ->
    {ok, Buffer} = py_buffer:new(#{high_watermark => 1048576, seekable => false}),
    Ref = py:spawn_call(measure, drain, [Buffer, read]),
    Chunk = binary:copy(<<"0123456789abcde\n">>, 4096),
    _ = [ok = py_buffer:write(Buffer, Chunk) || _ <- lists:seq(1, Total div 65536)],
    ok = py_buffer:close(Buffer),
    {ok, Total} = py:await(Ref),
    erlang:monotonic_time().
