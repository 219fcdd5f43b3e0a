%% Mixed load for a long time, and what the node weighs meanwhile, as a CSV.
%%
%% The drivers of the stress suite (test/ct/stress_load.erl) at a walking pace: they make and
%% drop buffers and contexts, kill writers and callers, let calls time out.  Beside them,
%% streams of 64 MiB through a mark of 1 MiB to readers that are slow now and then.
-module(soak).

-export([run/2]).

-define(DRIVERS, 4).
-define(PAUSE_MS, 30).
-define(STREAMS, 6).
-define(STREAM_BYTES, (64 bsl 20)).
-define(PIECE, 65536).
-define(MARK, (1 bsl 20)).
-define(SAMPLES, 600).
-define(LIMIT_MS, 60_000).

%% Halts the node: 0 when all went well.  The CSV goes to this file.
run(Seconds, File) ->
    {ok, _} = application:ensure_all_started(erlpy),
    Seed = erlang:system_time(),
    io:format("soak: ~b s, seed ~b~n", [Seconds, Seed]),
    Table = stress_load:start(Seed, #{restarts => 0}),
    Until = now_ms() + Seconds * 1000,
    Streams = [spawn_monitor(fun() -> stream_for_ever(Table, Id) end)
               || Id <- lists:seq(1, ?STREAMS)],
    Drivers = [spawn_monitor(fun() ->
        stress_load:drive(Table, Id, 1 bsl 60, ?PAUSE_MS)
    end) || Id <- lists:seq(1, ?DRIVERS)],
    {ok, Csv} = file:open(File, [write]),
    ok = io:format(Csv, "seconds,rss,erlang,binaries,retained,threads,erlpy_threads,"
                        "processes,operations,streamed~n", []),
    Interval = max(1000, Seconds * 1000 div ?SAMPLES),
    Result = sample_until(Until, Interval, Table, Csv, now_ms()),
    ok = file:close(Csv),
    [exit(Pid, kill) || {Pid, _} <- Streams ++ Drivers],
    report(Result, stress_load:failures(Table), stress_load:counts(Table)).

report(ok, [], Counts) ->
    io:format("soak: ~0p~n1 passed, 0 failed~n", [Counts]),
    halt(0);
report(Result, Failures, _Counts) ->
    io:format("soak: ~p~n~p~n0 passed, 1 failed~n", [Result, Failures]),
    halt(1).

%% ---- Streams -------------------------------------------------------------------------

stream_for_ever(Table, Id) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => ?MARK, seekable => false}),
    true = ets:insert(Table, {{stream, Id}, Buf}),
    Piece = binary:copy(<<"abcdefg\n">>, ?PIECE div 8),
    {ok, _} = py_buffer:spawn_writer(Buf, fun(B) ->
        [ok = py_buffer:write(B, Piece) || _ <- lists:seq(1, ?STREAM_BYTES div ?PIECE)]
    end),
    {ok, ?STREAM_BYTES} = py:call(ct_stress, read_slowly, [Buf, Id]),
    _ = ets:update_counter(Table, streamed, ?STREAM_BYTES, {streamed, 0}),
    stream_for_ever(Table, Id).

%% ---- Samples -------------------------------------------------------------------------

sample_until(Until, Interval, Table, Csv, Started) ->
    Now = now_ms(),
    sample(Table, Csv, Now - Started),
    case stress_load:overdue(Table, ?LIMIT_MS) of
        [] when Now < Until ->
            receive
                {'DOWN', _, process, _, Why} -> {died, Why}
            after Interval -> sample_until(Until, Interval, Table, Csv, Started)
            end;
        [] ->
            ok;
        Overdue ->
            {overdue, Overdue, py:info()}
    end.

sample(Table, Csv, Ms) ->
    Threads = threads(),
    Values = [Ms div 1000, resident(), erlang:memory(total), erlang:memory(binary),
              retained(Table), length(Threads),
              length([Name || <<"erlpy", _/binary>> = Name <- Threads]),
              erlang:system_info(process_count),
              lists:sum(maps:values(stress_load:counts(Table))), streamed(Table)],
    ok = io:format(Csv, "~s~n", [lists:join(",", [integer_to_list(V) || V <- Values])]).

streamed(Table) ->
    case ets:lookup(Table, streamed) of
        [{_, Bytes}] -> Bytes;
        [] -> 0
    end.

retained(Table) ->
    Buffers = [Buf || {{Kind, _}, Buf} <- ets:tab2list(Table),
                      Kind =:= buffer orelse Kind =:= stream],
    lists:sum([map_get(retained, py_buffer:info(Buf)) || Buf <- Buffers]).

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

threads() ->
    {ok, Ids} = file:list_dir("/proc/self/task"),
    Names = [file:read_file(["/proc/self/task/", Id, "/comm"]) || Id <- Ids],
    [string:trim(Name) || {ok, Name} <- Names].

now_ms() ->
    erlang:monotonic_time(millisecond).
