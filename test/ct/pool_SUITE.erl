%% The pool grows with handlers that block, within its limit, and shrinks again.
%%
%% After every case six fresh calls succeed.
-module(pool_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, info/1]).

-define(WITHIN, 20000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        info_names_everything,
        info_counts_calls,
        info_of_contexts,
        info_when_stopped,
        thousand_blocked_readers,
        spare_outlives_the_idle_time,
        surplus_threads_end,
        idle_time_zero,
        fifty_sleepers,
        fifty_sleepers_beside_a_computing_one,
        blocked_in_sockets,
        computing_handlers_get_few_threads,
        short_calls_beside_computing_ones,
        over_the_limit_calls_queue,
        limit_of_one,
        limit_below_contexts,
        blocked_erlang_calls_make_room,
        stuck_worker_is_replaced,
        stuck_does_not_count_against_the_limit,
        contexts_do_not_take_from_the_pool,
        idle_after_growth_uses_no_cpu
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = start(Config, []),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

start(Config, Settings) ->
    erlpy_ct:start(Config, [{contexts, 2}, {thread_idle_ms, 200} | Settings]).

%% ---- Helpers ---------------------------------------------------------------------------

%% The threads of the pool that the system knows.
pool_threads() ->
    length([T || T <- erlpy_ct:threads(), T =:= <<"erlpy_pool">>]).

%% Count readers that are blocked, and counted as such.
block(Count) ->
    {ok, Buf} = py_buffer:new(),
    Before = info(parked),
    Refs = [py:spawn_call(ct_buffers, invoke, [Buf, read]) || _ <- lists:seq(1, Count)],
    ok = erlpy_ct:eventually(fun() -> info(parked) =:= Before + Count end, ?WITHIN),
    {Buf, Refs}.

release({Buf, Refs}) ->
    ok = py_buffer:write(Buf, <<"x">>),
    ok = py_buffer:close(Buf),
    Answers = [py:await(Ref, ?WITHIN) || Ref <- Refs],
    %% One of them has the byte, the others the end.
    [{ok, <<"x">>}] = [A || A <- Answers, A =/= {ok, <<>>}],
    ok.

settled() ->
    erlpy_ct:eventually(fun() ->
        Info = maps:with([threads, idle, queued, stuck], py:info()),
        Info =:= #{threads => 2, idle => 2, queued => 0, stuck => 0} andalso
            pool_threads() =:= 2
    end, ?WITHIN).

%% ---- py:info/0 -----------------------------------------------------------------------------

info_names_everything(_Config) ->
    Info = py:info(),
    [calls, contexts, erlpy, event_loops, idle, idle_interpreters, interpreters, max_threads, parked,
     python, queued, running, started, stuck, tasks, threads] = lists:sort(maps:keys(Info)),
    {ok, Version} = py:version(),
    #{started := true, python := Version, max_threads := 1024, erlpy := Library} = Info,
    {ok, Library} = py:eval(<<"__import__('erlang').__version__">>),
    {ok, Told} = application:get_key(erlpy, vsn),
    Told = binary_to_list(Library),
    adds_up(Info),
    Held = block(10),
    adds_up(py:info()),
    ok = release(Held),
    ok = settled().

adds_up(#{threads := Threads, running := Running, parked := Parked, idle := Idle}) ->
    Threads = Running + Parked + Idle.

info_counts_calls(_Config) ->
    Before = info(calls),
    [{ok, N} = py:eval("n", #{n => N}) || N <- lists:seq(1, 100)],
    100 = info(calls) - Before,
    %% Those of contexts too, also when they are gone.
    {ok, Context} = py_context:new(),
    [{ok, N} = py:eval(Context, "n", #{n => N}) || N <- lists:seq(1, 50)],
    150 = info(calls) - Before,
    ok = py_context:destroy(Context),
    ok = erlpy_ct:eventually(fun() ->
        erlpy_ct:collect(),
        info(contexts) =:= 0
    end),
    150 = info(calls) - Before.

info_of_contexts(_Config) ->
    Contexts = [element(2, py_context:new()) || _ <- lists:seq(1, 5)],
    #{contexts := 5} = py:info(),
    ok = erlpy_ct:eventually(fun() -> info(idle) =:= 7 end),
    Sleeping = py:spawn_call(hd(Contexts), time, sleep, [0.3]),
    Queued = py:spawn_call(hd(Contexts), time, sleep, [0]),
    ok = erlpy_ct:eventually(fun() ->
        maps:with([running, queued, idle], py:info()) =:=
            #{running => 1, queued => 1, idle => 6}
    end),
    [{ok, none} = py:await(Ref) || Ref <- [Sleeping, Queued]],
    [ok = py_context:destroy(Context) || Context <- Contexts],
    #{contexts := 0} = py:info(),
    ok = settled().

info_when_stopped(_Config) ->
    ok = application:stop(erlpy),
    #{started := false, threads := 0, running := 0, parked := 0, idle := 0, queued := 0,
      stuck := 0, contexts := 0} = Info = py:info(),
    {ok, Version} = py:version(),
    #{python := Version} = Info,
    ok = application:start(erlpy),
    #{started := true} = py:info().

%% ---- Growing ---------------------------------------------------------------------------------

thousand_blocked_readers(_Config) ->
    Idle = best_of(50),
    Held = block(1000),
    ok = erlpy_ct:eventually(fun() -> info(idle) =:= 1 end),
    #{parked := 1000, running := 0, queued := 0, threads := 1001} = py:info(),
    Before = pool_threads(),
    %% A thread that is there already serves the next call.
    {First, {ok, 4.0}} = erlpy_ct:timed(fun() -> py:call(math, sqrt, [16]) end),
    true = First < 1000,
    Before = pool_threads(),
    Busy = best_of(50),
    ct:pal("a call: ~b us when idle, ~b us beside 1000 blocked readers", [Idle, Busy]),
    Before = pool_threads(),
    {Took, ok} = erlpy_ct:timed(fun() -> release(Held) end),
    ct:pal("answered within ~b ms", [Took]),
    ok = settled().

best_of(Count) ->
    lists:min([element(1, timer:tc(fun() -> {ok, 4.0} = py:call(math, sqrt, [16]) end))
               || _ <- lists:seq(1, Count)]).

spare_outlives_the_idle_time(_Config) ->
    Held = block(20),
    %% Longer than the idle time: what went beyond the one spare is gone.
    timer:sleep(600),
    #{parked := 20, idle := 1, threads := 21} = py:info(),
    Before = pool_threads(),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    Before = pool_threads(),
    ok = release(Held),
    ok = settled().

surplus_threads_end(_Config) ->
    lists:foreach(
        fun(_) ->
            Held = block(100),
            true = pool_threads() >= 101,
            ok = release(Held),
            ok = settled()
        end,
        lists:seq(1, 3)
    ).

idle_time_zero(Config) ->
    ok = start(Config, [{thread_idle_ms, 0}]),
    lists:foreach(
        fun(_) ->
            Held = block(50),
            {ok, 4.0} = py:call(math, sqrt, [16]),
            ok = release(Held)
        end,
        lists:seq(1, 5)
    ),
    ok = settled().

fifty_sleepers(_Config) ->
    {Took, ok} = erlpy_ct:timed(fun sleep_fifty/0),
    ct:pal("~b ms", [Took]),
    true = Took >= 1000,
    true = Took < 3000,
    ok = settled().

sleep_fifty() ->
    Refs = [py:spawn_call(time, sleep, [1]) || _ <- lists:seq(1, 50)],
    [{ok, none} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    ok.

fifty_sleepers_beside_a_computing_one(_Config) ->
    Self = self(),
    Computing = spawn(fun() -> py:call(ct_cancel, run_spin, [Self]) end),
    told(running),
    {Took, ok} = erlpy_ct:timed(fun sleep_fifty/0),
    ct:pal("~b ms", [Took]),
    true = Took < 8000,
    exit(Computing, kill),
    <<"Cancelled">> = told(ended),
    ok = settled().

blocked_in_sockets(_Config) ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {active, false}, {backlog, 50}]),
    {ok, Port} = inet:port(Listen),
    ok = py:exec("import socket\ndef ct_receive(port):\n"
                 "    with socket.create_connection(('127.0.0.1', port)) as s:\n"
                 "        return s.recv(100)\n"),
    Refs = [py:spawn_call('__main__', ct_receive, [Port]) || _ <- lists:seq(1, 30)],
    Sockets = [element(2, gen_tcp:accept(Listen, ?WITHIN)) || _ <- Refs],
    {ok, 4.0} = py:call(math, sqrt, [16], #{}, ?WITHIN),
    [{error, timeout} = py:await(Ref, 0) || Ref <- Refs],
    [ok = gen_tcp:send(Socket, <<"hello">>) || Socket <- Sockets],
    [{ok, <<"hello">>} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    [ok = gen_tcp:close(Socket) || Socket <- [Listen | Sockets]],
    ok = settled().

%% More threads would only fight for the GIL.
computing_handlers_get_few_threads(_Config) ->
    few_threads(5, []).

%% On a busy machine they stand still, as those do that wait: then again.
few_threads(0, Before) ->
    ct:fail({threads, Before});
few_threads(Left, Before) ->
    Refs = [py:spawn_call(ct_cancel, burn, [0.02]) || _ <- lists:seq(1, 100)],
    Most = most_threads(Refs, 0),
    ok = settled(),
    case Most =< 30 of
        true -> ok;
        false -> few_threads(Left - 1, [Most | Before])
    end.

most_threads([], Most) ->
    Most;
most_threads([Ref | Refs], Most) ->
    case py:await(Ref, 10) of
        {ok, _} -> most_threads(Refs, Most);
        {error, timeout} -> most_threads([Ref | Refs], max(Most, info(threads)))
    end.

short_calls_beside_computing_ones(_Config) ->
    Self = self(),
    Computing = [spawn(fun() -> py:call(ct_cancel, run_spin, [Self]) end) || _ <- [1, 2, 3]],
    [told(running) || _ <- Computing],
    {Took, _} = erlpy_ct:timed(fun() ->
        [{ok, 4.0} = py:call(math, sqrt, [16], #{}, ?WITHIN) || _ <- lists:seq(1, 20)]
    end),
    ct:pal("20 calls in ~b ms", [Took]),
    true = Took < 10000,
    [exit(Pid, kill) || Pid <- Computing],
    [<<"Cancelled">> = told(ended) || _ <- Computing],
    ok = settled().

%% ---- The limit -----------------------------------------------------------------------------------

over_the_limit_calls_queue(Config) ->
    ok = start(Config, [{max_threads, 8}]),
    Held = block(8),
    #{max_threads := 8, threads := 8, parked := 8} = py:info(),
    Refs = [py:spawn_call(ct_calls, arguments, [N]) || N <- lists:seq(1, 5)],
    [{error, timeout} = py:await(Ref, 100) || Ref <- Refs],
    #{threads := 8, queued := 5} = py:info(),
    8 = pool_threads(),
    {error, timeout} = py:call(math, sqrt, [16], #{}, 50),
    5 = info(queued),
    %% They run as soon as one thread is free again.
    ok = release(Held),
    [{ok, [[N], #{}]} = py:await(Ref, ?WITHIN) || {N, Ref} <- lists:zip(lists:seq(1, 5), Refs)],
    0 = info(queued),
    ok = settled().

limit_of_one(Config) ->
    ok = start(Config, [{contexts, 1}, {max_threads, 1}]),
    Held = block(1),
    Ref = py:spawn_call(math, sqrt, [16]),
    {error, timeout} = py:await(Ref, 100),
    #{threads := 1, queued := 1} = py:info(),
    ok = release(Held),
    {ok, 4.0} = py:await(Ref, ?WITHIN),
    1 = pool_threads().

limit_below_contexts(Config) ->
    ok = start(Config, [{contexts, 8}, {max_threads, 3}]),
    Held = block(3),
    #{threads := 3, parked := 3, max_threads := 3} = py:info(),
    ok = release(Held),
    {ok, Contexts} = py:start_contexts(),
    8 = length(Contexts),
    ok = py:stop_contexts().

blocked_erlang_calls_make_room(_Config) ->
    Self = self(),
    ok = py:register_function(ct_wait, fun() ->
        Self ! {inside, self()},
        receive go -> ok end
    end),
    Refs = [py:spawn_call(ct_callbacks, call, [ct_wait, []]) || _ <- lists:seq(1, 50)],
    Inside = [told(inside) || _ <- Refs],
    ok = erlpy_ct:eventually(fun() -> info(parked) =:= 50 end),
    {ok, 4.0} = py:call(math, sqrt, [16], #{}, ?WITHIN),
    [Pid ! go || Pid <- Inside],
    [{ok, <<"ok">>} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    ok = py:unregister_function(ct_wait),
    ok = settled().

%% By a thread that is there before the next call.
stuck_worker_is_replaced(Config) ->
    ok = start(Config, [{contexts, 1}]),
    {error, timeout} = py:call(ct_cancel, sleep_marked, [self(), 3, 1], #{}, 500),
    told(running),
    #{threads := 1, idle := 0, stuck := 0} = py:info(),
    ok = erlpy_ct:eventually(fun() ->
        maps:with([threads, idle, stuck], py:info()) =:= #{threads => 2, idle => 1, stuck => 1}
    end),
    Before = pool_threads(),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    Before = pool_threads(),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 0 andalso pool_threads() =:= 1 end).

stuck_does_not_count_against_the_limit(Config) ->
    ok = start(Config, [{contexts, 1}, {max_threads, 1}]),
    {error, timeout} = py:call(ct_cancel, sleep_marked, [self(), 3, 1], #{}, 300),
    told(running),
    Next = py:spawn_call(ct_calls, arguments, [next]),
    {Took, {ok, [[<<"next">>], #{}]}} = erlpy_ct:timed(fun() -> py:await(Next, ?WITHIN) end),
    ct:pal("~b ms", [Took]),
    true = Took < 2500,
    1 = info(stuck),
    2 = pool_threads(),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 0 andalso pool_threads() =:= 1 end).

contexts_do_not_take_from_the_pool(Config) ->
    ok = start(Config, [{max_threads, 2}]),
    {ok, Buf} = py_buffer:new(),
    Contexts = [element(2, py_context:new()) || _ <- lists:seq(1, 10)],
    Refs = [py:spawn_call(Context, ct_buffers, invoke, [Buf, read]) || Context <- Contexts],
    ok = erlpy_ct:eventually(fun() -> info(parked) =:= 10 end),
    2 = pool_threads(),
    {ok, 4.0} = py:call(math, sqrt, [16], #{}, ?WITHIN),
    2 = pool_threads(),
    ok = py_buffer:close(Buf),
    [{ok, <<>>} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    [ok = py_context:destroy(Context) || Context <- Contexts].

%% Also with readers that are blocked: nobody looks after them.
idle_after_growth_uses_no_cpu(_Config) ->
    Held = block(200),
    ok = sleep_fifty(),
    timer:sleep(2000),
    Before = runtime_SUITE:python_ticks(),
    timer:sleep(1500),
    Used = runtime_SUITE:python_ticks() - Before,
    ct:pal("~b ticks of 10 ms", [Used]),
    true = Used =< 2,
    ok = release(Held),
    ok = settled().
