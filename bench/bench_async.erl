%% Buffers awaited in asyncio, and calls of coroutines; against asyncio on a socketpair, on
%% futures, and on run_coroutine_threadsafe, each fed by another Python thread.
-module(bench_async).

-export([rows/1]).

-define(MESSAGE, (binary:copy(<<255, 0:56>>, 8))).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    Many = bench:pick(Quick, 1000, 10000),
    wake_ups("hot", bench:pick(Quick, 1000, 5000), 0, Rounds) ++
        wake_ups("2 ms gaps", bench:pick(Quick, 100, 400), 2, Rounds) ++
        waiters(Many, min(Rounds, 5)) ++
        [calls(Many, Delay, min(Rounds, 5)) || Delay <- [0, 1.0]].

%% ---- Waking one ------------------------------------------------------------------------

wake_ups(Name, Count, GapMs, Rounds) ->
    Pairs = [
        {echoes(Count, GapMs),
         bench:python(measure_async, socketpair_pingpong,
                      [{bytes, ?MESSAGE}, Count, GapMs / 1000])}
     || _ <- lists:seq(1, Rounds)
    ],
    [
        bench:row((bench:compared([{element(N, Ours), element(N, Theirs)}
                                   || {Ours, Theirs} <- Pairs]))#{
            name => ["write to await read() and back, ", Name, ", ", What, " / socketpair"],
            unit => "us",
            note => "Time of 64 bytes and their echo, of asyncio on a socketpair; less is better"
        })
     || {N, What} <- [{1, "p50"}, {2, "p99"}]
    ].

echoes(Count, GapMs) ->
    {ok, Buffer} = py_buffer:new(),
    Ref = py:spawn_call(measure_async, async_echo_buffer, [Buffer, self()]),
    _ = [echo(Buffer, GapMs) || _ <- lists:seq(1, Count div 10)],
    Times = [echo(Buffer, GapMs) || _ <- lists:seq(1, Count)],
    ok = py_buffer:close(Buffer),
    {ok, _} = py:await(Ref),
    {bench:median(Times) / 1000, bench:percentile(99, Times) / 1000}.

echo(Buffer, GapMs) ->
    GapMs > 0 andalso timer:sleep(GapMs),
    Message = ?MESSAGE,
    bench:timed(fun() ->
        ok = py_buffer:write(Buffer, Message),
        receive
            Message -> ok
        end
    end).

%% ---- Waking many -----------------------------------------------------------------------

waiters(Count, Rounds) ->
    Measured = [
        {wake_all(Count), bench:python(measure_async, resolve_many, [Count])}
     || _ <- lists:seq(1, Rounds)
    ],
    Woken = bench:compared([{Seconds * 1.0e6 / Count, Anchor * 1.0e6 / Count}
                            || {{_, Seconds, _}, Anchor} <- Measured]),
    Cpu = bench:median([Cpu * 1000 || {{Cpu, _, _}, _} <- Measured]),
    true = lists:all(fun({{_, _, InOrder}, _}) -> InOrder end, Measured),
    [
        bench:row(Woken#{
            name => io_lib:format("~w buffers awaited, a wake-up / future", [Count]),
            unit => "us",
            note => "Time of each, of a future resolved by call_soon_threadsafe; less is better"
        }),
        bench:row(#{
            name => io_lib:format("~w buffers awaited, CPU in a second", [Count]),
            unit => "ms", ours => Cpu, anchor => 1000.0,
            goal => {at_most, 0.005},
            note => "CPU while nothing comes, of a busy core; less is better"
        })
    ].

wake_all(Count) ->
    Buffers = [element(2, {ok, _} = py_buffer:new()) || _ <- lists:seq(1, Count)],
    Ref = py:spawn_call(measure_async, await_many, [Buffers, self(), 1.0]),
    receive
        <<"waiting">> -> ok
    end,
    _ = [ok = py_buffer:write(Buffer, <<1>>) || Buffer <- Buffers],
    {ok, {_, _, _} = Result} = py:await(Ref),
    Result.

%% ---- Calls -----------------------------------------------------------------------------

calls(Count, Delay, Rounds) ->
    Result = bench:compare(
        Rounds,
        fun() -> call_all(Count, Delay) * 1.0e6 / Count end,
        fun() ->
            bench:python(measure_async, coroutines_threadsafe, [Count, Delay]) * 1.0e6 / Count
        end
    ),
    bench:row(Result#{
        name => io_lib:format("~w calls of a coroutine at once, sleep(~p) / threadsafe",
                              [Count, Delay]),
        unit => "us",
        note => "Time of each, of run_coroutine_threadsafe from a Python thread; less is better"
    }).

call_all(Count, Delay) ->
    Ns = bench:timed(fun() ->
        Refs = [py:async_call(measure_async, nap, [Delay]) || _ <- lists:seq(1, Count)],
        [{ok, none} = py:async_await(Ref) || Ref <- Refs]
    end),
    Ns / 1.0e9.
