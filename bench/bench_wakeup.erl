%% Erlang writes 64 bytes, a Python thread blocked in read() gets them and answers with
%% erlang.send; against two threads of Python, and of C, that pass them over pipes.
-module(bench_wakeup).

-export([rows/1]).

-define(MESSAGE, <<"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef">>).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    rows("hot", bench:pick(Quick, 3000, 10000), 0, Rounds) ++
        rows("2 ms gaps", bench:pick(Quick, 100, 400), 2, Rounds).

rows(Name, Count, GapMs, Rounds) ->
    Ours = fun() -> ours(Count, GapMs) end,
    Anchors = #{
        "Python" => fun() -> bench:python(pipe_pingpong, [Count, GapMs]) end,
        "C" => fun() -> c_pingpong(Count, GapMs) end
    },
    Measured = [
        {Who, [{Ours(), Anchor()} || _ <- lists:seq(1, Rounds)]}
     || {Who, Anchor} <- maps:to_list(Anchors)
    ],
    [
        row(Name, What, N, Who, Pairs)
     || {Who, Pairs} <- lists:reverse(Measured), {N, What} <- [{1, "p50"}, {2, "p99"}, {3, "CPU"}]
    ].

row(Name, What, N, Who, Pairs) ->
    Result = bench:compared([{element(N, Ours), element(N, Anchor)} || {Ours, Anchor} <- Pairs]),
    bench:row(Result#{
        name => ["write to read() and back, ", Name, ", ", What, " / ", Who],
        unit => "us",
        goal => goal(What, Who),
        note => ["Write to blocked read() and answer, of two ", Who, " threads with pipes; less is better"]
    }).

goal("CPU", _) -> none;
goal(_, "C") -> none;
goal(_, "Python") -> {at_most, 1}.

c_pingpong(Count, GapMs) ->
    list_to_tuple([Ns / 1000 || Ns <- bench:anchor("pipe_pingpong", [Count, GapMs * 1000])]).

%% Microseconds: p50, p99, CPU of a round trip.
ours(Count, GapMs) ->
    {ok, Buffer} = py_buffer:new(),
    Ref = py:spawn_call(measure, echo, [Buffer, self()]),
    _ = [round_trip(Buffer, GapMs) || _ <- lists:seq(1, Count div 10)],
    Cpu = bench:cpu_seconds(),
    Times = [round_trip(Buffer, GapMs) || _ <- lists:seq(1, Count)],
    CpuUs = (bench:cpu_seconds() - Cpu) * 1.0e6 / Count,
    ok = py_buffer:close(Buffer),
    {ok, _} = py:await(Ref),
    {bench:median(Times) / 1000, bench:percentile(99, Times) / 1000, CpuUs}.

round_trip(Buffer, GapMs) ->
    GapMs > 0 andalso timer:sleep(GapMs),
    Start = erlang:monotonic_time(),
    ok = py_buffer:write(Buffer, ?MESSAGE),
    receive
        ?MESSAGE -> ok
    end,
    erlang:convert_time_unit(erlang:monotonic_time() - Start, native, nanosecond).
