%% py:call(math, sqrt, [16]) against a message to a thread in C and its answer.
-module(bench_call).

-export([rows/1]).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    Count = bench:pick(Quick, 5000, 20000),
    latency(Count, Rounds) ++ [rate(N, 4 * Count, Rounds) || N <- [1, 2, 10, 100]].

call() ->
    {ok, 4.0} = py:call(math, sqrt, [16]).

echo() ->
    4.0 = bench_echo:call().

latency(Count, Rounds) ->
    Pairs = [
        {latencies(fun call/0, Count), latencies(fun echo/0, Count)}
     || _ <- lists:seq(1, Rounds)
    ],
    [
        latency_row("p50", 50, {at_most, 2}, Pairs),
        latency_row("p99", 99, none, Pairs)
    ].

latency_row(Name, P, Goal, Pairs) ->
    Result = bench:compared([
        {bench:percentile(P, Ours) / 1000, bench:percentile(P, Anchor) / 1000}
     || {Ours, Anchor} <- Pairs
    ]),
    bench:row(Result#{
        name => ["py:call(math, sqrt, [16]), ", Name, " / C thread"],
        unit => "us",
        goal => Goal,
        note => "Time of a message to a C thread that spins as ours does and back; less is better"
    }).

latencies(Fun, Count) ->
    _ = [Fun() || _ <- lists:seq(1, Count div 10)],
    [bench:timed(Fun) || _ <- lists:seq(1, Count)].

rate(Processes, Count, Rounds) ->
    Result = bench:compare(
        Rounds,
        fun() -> a_second(fun call/0, Processes, Count) end,
        fun() -> a_second(fun echo/0, Processes, Count) end
    ),
    Row = #{
        name => io_lib:format("py:call a second, from ~w / C thread", [Processes]),
        unit => "/s",
        note => "Rate of the C thread; over 100,000 from 10 is the goal; more is better"
    },
    bench:row(maps:merge(maps:merge(Result, Row), rate_goal(Processes, Result))).

%% This goal is absolute.
rate_goal(10, #{ours := Ours}) -> #{reached => Ours > 100000};
rate_goal(_, _) -> #{}.

a_second(Fun, Processes, Count) ->
    Each = Count div Processes,
    Ns = bench:timed(fun() ->
        Workers = [
            spawn_monitor(fun() -> repeat(Fun, Each) end)
         || _ <- lists:seq(1, Processes)
        ],
        _ = [
            receive
                {'DOWN', Monitor, process, Pid, normal} -> ok
            end
         || {Pid, Monitor} <- Workers
        ]
    end),
    Each * Processes * 1.0e9 / Ns.

repeat(_Fun, 0) ->
    ok;
repeat(Fun, Count) ->
    Fun(),
    repeat(Fun, Count - 1).
