%% How soon what is cancelled has stopped, and how long others wait for a handler that
%% computes.
-module(bench_cancel).

-export([rows/1]).

rows(Quick) ->
    Count = bench:pick(Quick, 20, 100),
    Interval = 1000 * bench:python(switch_interval_ms, []),
    [
        stop_row("blocked in read()", Interval, [interrupted(block) || _ <- lists:seq(1, Count)]),
        stop_row("running bytecode", Interval, [interrupted(spin) || _ <- lists:seq(1, Count)]),
        late_row([late() || _ <- lists:seq(1, Count)]),
        busy_row(Interval, Quick)
    ].

stop_row(Name, Interval, Times) ->
    bench:row(#{
        name => ["py:interrupt to the next call's answer, ", Name, ", p50"],
        ours => bench:median(Times) / 1000,
        anchor => Interval,
        unit => "us",
        note => "Of CPython's switch interval; less is better"
    }).

%% Nanoseconds from the interrupt to the answer of the next call on the context.
interrupted(How) ->
    {ok, Context} = py_context:new(),
    {ok, Buffer} = py_buffer:new(),
    Ref = py:spawn_call(Context, measure, How, [Buffer, self()]),
    receive
        started -> ok
    end,
    How =:= block andalso bench:await_reader(Buffer),
    Time = bench:timed(fun() ->
        ok = py:interrupt(Context),
        {ok, 4.0} = py:call(Context, math, sqrt, [16])
    end),
    {error, interrupted} = py:await(Ref),
    ok = py_context:destroy(Context),
    Time.

late_row(Times) ->
    bench:row(#{
        name => "{error, timeout} after the deadline, p99",
        ours => bench:percentile(99, Times) / 1.0e6,
        anchor => 10,
        unit => "ms",
        goal => {at_most, 1},
        note => "Of 10 ms, a call blocked in read() with a timeout of 20 ms; less is better"
    }).

late() ->
    {ok, Buffer} = py_buffer:new(),
    Time = bench:timed(fun() ->
        {error, timeout} = py:call(measure, size_of_all, [Buffer], #{}, 20)
    end),
    %% Held until here: one that nobody holds is aborted.
    ok = py_buffer:close(Buffer),
    Time - 20000000.

%% While one handler computes, each other call has to wait for the interpreter.
busy_row(Interval, Quick) ->
    {ok, Context} = py_context:new(),
    {ok, Buffer} = py_buffer:new(),
    Ref = py:spawn_call(Context, measure, spin, [Buffer, self()]),
    receive
        started -> ok
    end,
    Times = [
        bench:timed(fun() -> {ok, 4.0} = py:call(math, sqrt, [16]) end)
     || _ <- lists:seq(1, bench:pick(Quick, 100, 500))
    ],
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(Ref),
    ok = py_context:destroy(Context),
    bench:row(#{
        name => "py:call while a handler computes, p99 / switch interval",
        ours => bench:percentile(99, Times) / 1000,
        anchor => Interval,
        unit => "us",
        goal => {at_most, 2},
        note => "Of CPython's switch interval; less is better"
    }).
