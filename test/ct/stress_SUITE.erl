%% Random operations at random moments (stress_load): writers and callers are killed,
%% buffers closed and aborted, calls time out and are interrupted, contexts come and go, the
%% application stops and starts.  At the end nothing is left, and everything works.
%%
%%   STRESS_OPERATIONS   how many (default 1000000)
%%   STRESS_SEED         the seed of an earlier run, which is printed first
-module(stress_SUITE).

-compile([export_all, nowarn_export_all]).

-define(DRIVERS, 8).
%% No operation may take longer, on however busy a machine.
-define(LIMIT_MS, 60_000).

suite() ->
    [{timetrap, {minutes, 60}}].

all() ->
    [random_operations, six_calls].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}, {thread_idle_ms, 200}]),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

random_operations(_Config) ->
    Seed = number("STRESS_SEED", erlang:unique_integer([positive]) +
                                     erlang:system_time(microsecond) rem 1_000_000_000),
    Count = number("STRESS_OPERATIONS", 1_000_000),
    io:format(user, "stress: STRESS_SEED=~b STRESS_OPERATIONS=~b~n", [Seed, Count]),
    %% What a first run leaves are caches and the arenas of the allocators.
    run(Seed + 1, Count div 5),
    {Before, Processes} = {state(), processes()},
    Counts = run(Seed, Count),
    io:format(user, "stress: ~b operations: ~0p~n", [lists:sum(maps:values(Counts)), Counts]),
    ok = left_nothing(Before, Processes, Count, 20).

six_calls(_Config) ->
    erlpy_ct:still_works().

number(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> list_to_integer(Text)
    end.

run(Seed, Count) ->
    Table = stress_load:start(Seed, #{restarts => 20_000}),
    Drivers = [spawn_monitor(fun() -> stress_load:drive(Table, Id, Count div ?DRIVERS, 0) end)
               || Id <- lists:seq(1, ?DRIVERS)],
    await(Table, [Monitor || {_, Monitor} <- Drivers], Seed),
    Counts = stress_load:counts(Table),
    case stress_load:failures(Table) of
        [] -> ok;
        Failures -> ct:fail({stress_seed, Seed, Failures})
    end,
    stress_load:finish(Table),
    Counts.

await(_Table, [], _Seed) ->
    ok;
await(Table, Drivers, Seed) ->
    receive
        {'DOWN', Monitor, process, _, Why} ->
            normal = Why,
            await(Table, lists:delete(Monitor, Drivers), Seed)
    after 1000 ->
        case stress_load:overdue(Table, ?LIMIT_MS) of
            [] -> await(Table, Drivers, Seed);
            Overdue -> ct:fail({stress_seed, Seed, {overdue, Overdue}, {info, catch py:info()}})
        end
    end.

%% ---- What is left --------------------------------------------------------------------------

%% Names are the units: processes of the node, threads of ours, PyBuffers and views in
%% Python, bytes.
state() ->
    erlpy_ct:collect(),
    #{
        processes => length(processes()),
        threads => length([T || <<"erlpy", _/binary>> = T <- erlpy_ct:threads()]),
        buffers => element(2, {ok, _} = py:call(ct_stress, buffers, [])),
        blocks => element(2, {ok, _} = py:call(ct_leaks, blocks, [])),
        malloc => element(2, {ok, _} = py:call(ct_stress, malloc_bytes, [])),
        binaries => erlang:memory(binary),
        erlang => erlang:memory(total)
    }.

%% How much more of each there may be.  A segment or a buffer that is left over by one
%% operation in a hundred would be several times that.
tolerance(Count) ->
    #{processes => 0, threads => 0, buffers => 0, blocks => 1000 + Count div 1000,
      malloc => 1_000_000 + Count, binaries => 600_000, erlang => 2_000_000 + Count}.

left_nothing(Before, Processes, Count, Tries) ->
    Now = state(),
    More = maps:filter(fun(Name, Most) -> map_get(Name, Now) - map_get(Name, Before) > Most end,
                       tolerance(Count)),
    case {maps:keys(More), runtime_is_idle()} of
        {[], true} ->
            io:format(user, "stress: before ~0p~nstress: after  ~0p~n", [Before, Now]),
            ok;
        {Names, _} when Tries =:= 0 ->
            New = [{Pid, process_info(Pid, [initial_call, current_stacktrace, links, messages])}
                   || Pid <- processes() -- Processes],
            ct:fail({left_over, Names, {before, Before}, {now, Now}, {info, py:info()}, New});
        _ ->
            timer:sleep(500),
            left_nothing(Before, Processes, Count, Tries - 1)
    end.

runtime_is_idle() ->
    #{running := Running, parked := Parked, queued := Queued, stuck := Stuck} = py:info(),
    {0, 0, 0, 0} =:= {Running, Parked, Queued, Stuck}.
