%% Cancelling what runs on event loops: by a timeout, the caller's death, an interrupt, the
%% end of a context and of the application; once, with its cleanup, and nobody else.
%%
%% After every case fresh calls succeed and no message is left over.
-module(async_cancel_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, nothing_told/1, caller/1, answer_of/1, info/1, eventually/1]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, cancels}, {group, stuck}, {group, waits}, {group, stop}].

groups() ->
    [
        {cancels, [], [
            timeout_cancels,
            timeout_is_prompt,
            timeout_needs_no_gil,
            cleanup_runs_on_the_loop,
            each_cancel_once,
            cancelled_before_it_has_begun,
            cancelled_while_its_function_runs,
            death_of_the_caller,
            deaths_of_a_thousand_callers,
            death_leaves_casts_alone,
            interrupt_cancels_those_of_the_context,
            interrupt_again,
            interrupt_many,
            interrupts_without_end,
            destroy_cancels,
            dropped_context_goes_on,
            race_of_answers_and_timeouts,
            random_faults
        ]},
        {stuck, [], [
            one_that_goes_on_is_stuck,
            stuck_on_a_context
        ]},
        {waits, [], [
            blocking_read_in_a_coroutine,
            blocking_read_in_a_child_task,
            other_calls_of_a_blocked_loop,
            erlang_call_in_a_coroutine,
            erlang_call_in_a_thread,
            awaited_erlang_call,
            awaited_erlang_calls_at_a_stop
        ]},
        {stop, [], [
            stop_with_a_thousand_tasks,
            stop_with_one_that_refuses,
            stop_with_blocked_loops,
            stop_cancels_background_tasks,
            stop_closes_generators,
            stop_with_a_task_factory_that_fails,
            stop_and_start_leaves_nothing,
            stop_while_calls_come
        ]}
    ].

init_per_suite(Config) ->
    rand:seed(exsss),
    ct:pal("seed ~w", [rand:export_seed()]),
    %% Importing asyncio may take longer than the timeouts of the cases.
    ok = erlpy_ct:start(Config),
    {ok, none} = py:call(asyncio, sleep, [0]),
    [{seed, rand:export_seed()} | Config].

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    _ = rand:seed(?config(seed, Config)),
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

loop_threads() ->
    info(event_loops).

%% A thread is gone a little after it has said so.
no_loops() ->
    eventually(fun() -> loop_threads() =:= 0 end).

no_tasks() ->
    eventually(fun() -> {info(tasks), info(stuck)} =:= {0, 0} end).

%% ---- Cancels -----------------------------------------------------------------------------

timeout_cancels(_Config) ->
    {ok, Context} = py_context:new(),
    [
        begin
            {error, timeout} = Call(),
            none = told(running),
            <<"CancelledError">> = told(ended)
        end
     || Call <- [
            fun() -> py:call(ct_async, wait_watched, [self()], #{}, 500) end,
            fun() -> py:call(Context, ct_async, wait_watched, [self()], #{}, 500) end,
            fun() -> py:eval("__import__('ct_async').wait_watched(p)", #{p => self()}, 500) end
        ]
    ],
    ok = no_tasks(),
    ok = py_context:destroy(Context).

%% Now and then the machine itself is late.
timeout_is_prompt(_Config) ->
    is_prompt(100, []).

is_prompt(0, Late) ->
    ct:fail({late_by_ms, Late});
is_prompt(Left, Before) ->
    {Micros, {error, timeout}} =
        timer:tc(fun() -> py:call(ct_async, wait_watched, [self()], #{}, 500) end),
    _ = told(running),
    _ = told(ended),
    case Micros / 1000 - 500 of
        Late when Late < 10 -> ok;
        Late -> is_prompt(Left - 1, [Late | Before])
    end.

timeout_needs_no_gil(_Config) ->
    Waiting = caller(fun() ->
        erlpy_ct:timed(fun() -> py:call(ct_async, answer, [1, 3600], #{}, 500) end)
    end),
    ok = eventually(fun() -> info(tasks) =:= 1 end),
    {Took, {error, timeout}} = erlpy_ct:timed(fun() ->
        py:call(ct_async, hold_gil, [self(), 2000000], #{}, 500)
    end),
    none = told(running),
    true = Took < 1500,
    {Other, {error, timeout}} = answer_of(Waiting),
    true = Other < 1500,
    ok = no_tasks().

cleanup_runs_on_the_loop(_Config) ->
    {error, timeout} = py:call(ct_async, wait_finally, [self()], #{}, 500),
    none = told(running),
    <<"finally">> = told(ended),
    ok = no_tasks().

each_cancel_once(_Config) ->
    Caller = caller(fun() -> py:call(ct_async, wait_counting, [self_of_test()], #{}, 500) end),
    Caller ! {test, self()},
    none = told(running),
    {error, timeout} = answer_of(Caller),
    %% Its death, and that of the job, say nothing more.
    1 = told(ended),
    ok = no_tasks().

self_of_test() ->
    receive {test, Pid} -> Pid end.

%% The loop is held up meanwhile.
cancelled_before_it_has_begun(_Config) ->
    Holding = py:async_call(ct_async, hold_gil, [self(), 500000]),
    none = told(running),
    {error, timeout} = py:call(ct_async, wait_watched, [self()], #{}, 100),
    {ok, none} = py:async_await(Holding),
    ok = no_tasks(),
    nothing_told(100).

cancelled_while_its_function_runs(_Config) ->
    {error, timeout} = py:call(ct_async, slow_function, [self(), 1], #{}, 500),
    none = told(running),
    <<"Cancelled">> = told(ended),
    ok = no_tasks(),
    nothing_told(100).

death_of_the_caller(_Config) ->
    Test = self(),
    [
        begin
            Pid = spawn(Call),
            none = told(running),
            exit(Pid, kill),
            <<"CancelledError">> = told(ended)
        end
     || Call <- [
            fun() -> py:call(ct_async, wait_watched, [Test]) end,
            fun() -> py:await(py:async_call(ct_async, wait_watched, [Test])) end,
            fun() -> py:async_gather([{ct_async, wait_watched, [Test]}]) end
        ]
    ],
    %% It has ended before its call is even looked at.
    spawn(fun() -> py:async_call(ct_async, wait_watched, [Test]) end),
    receive
        {running, none} -> <<"CancelledError">> = told(ended)
    after 500 -> ok
    end,
    ok = no_tasks().

deaths_of_a_thousand_callers(_Config) ->
    Test = self(),
    Callers = [spawn(fun() -> py:call(ct_async, wait_watched, [Test]) end) || _ <- lists:seq(1, 1000)],
    [none = told(running) || _ <- Callers],
    1000 = info(tasks),
    {Ms, _} = erlpy_ct:timed(fun() ->
        [exit(Pid, kill) || Pid <- Callers],
        [<<"CancelledError">> = told(ended) || _ <- Callers]
    end),
    true = Ms < 5000,
    ok = no_tasks().

death_leaves_casts_alone(_Config) ->
    Test = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> ok = py:cast(ct_async, wait_for_event, [Test, cast]) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    ok = eventually(fun() -> info(tasks) =:= 1 end),
    timer:sleep(200),
    1 = info(tasks),
    {ok, none} = py:call(ct_async, set_event, [cast]),
    ok = no_tasks().

interrupt_cancels_those_of_the_context(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Other} = py_context:new(),
    Mine = [py:async_call(Context, ct_async, wait_watched, [self()]) || _ <- lists:seq(1, 10)],
    Others = py:async_call(Other, ct_async, answer, [other, 1]),
    [none = told(running) || _ <- Mine],
    ok = py:interrupt(Context),
    [{error, interrupted} = py:async_await(Ref, 5000) || Ref <- Mine],
    [<<"CancelledError">> = told(ended) || _ <- Mine],
    {ok, <<"other">>} = py:async_await(Others),
    ok = py:interrupt(Context),
    {ok, 1} = py:call(Context, ct_async, answer, [1]),
    ok = py_context:destroy(Context),
    ok = py_context:destroy(Other).

interrupt_again(_Config) ->
    {ok, Context} = py_context:new(),
    Ref = py:async_call(Context, ct_async, refuse, [self()]),
    none = told(running),
    ok = py:interrupt(Context),
    {error, interrupted} = py:async_await(Ref),
    none = told(cancelled),
    nothing_told(100),
    ok = py:interrupt(Context),
    none = told(cancelled),
    ok = eventually(fun() -> info(stuck) =:= 1 end),
    ok = py:interrupt(Context),
    none = told(cancelled),
    {ok, none} = py:call(ct_async, release, []),
    none = told(ended),
    ok = no_tasks(),
    ok = py_context:destroy(Context).

interrupt_many(_Config) ->
    {ok, Context} = py_context:new(),
    Refs = [py:async_call(Context, ct_async, answer, [1, 3600]) || _ <- lists:seq(1, 2000)],
    ok = eventually(fun() -> info(tasks) =:= 2000 end),
    ok = py:interrupt(Context),
    [{error, interrupted} = py:async_await(Ref, 5000) || Ref <- Refs],
    ok = no_tasks(),
    ok = py_context:destroy(Context).

%% The loop hears of a call again while it goes through those that it has heard of.
interrupts_without_end(_Config) ->
    {ok, Context} = py_context:new(),
    Stormers = [spawn_link(fun() -> storm(Context) end) || _ <- [1, 2, 3]],
    [ok = each_is_answered_once(Context) || _ <- lists:seq(1, 150)],
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- Stormers],
    ok = no_tasks(),
    ok = py_context:destroy(Context).

storm(Context) ->
    ok = py:interrupt(Context),
    receive after 1 -> storm(Context) end.

each_is_answered_once(Context) ->
    Refs = [py:async_call(Context, asyncio, sleep, [Time, N])
            || N <- lists:seq(1, 50), Time <- [0, 0.002]],
    Answers = [py:async_await(Ref, 10000) || Ref <- Refs],
    [] = [Other || Other <- Answers, element(1, Other) =/= ok, Other =/= {error, interrupted}],
    ok.

destroy_cancels(_Config) ->
    {ok, Context} = py_context:new(),
    Refs = [py:async_call(Context, ct_async, wait_watched, [self()]) || _ <- lists:seq(1, 10)],
    [none = told(running) || _ <- Refs],
    ok = py_context:destroy(Context),
    [{error, destroyed} = py:async_await(Ref, 5000) || Ref <- Refs],
    [<<"CancelledError">> = told(ended) || _ <- Refs],
    ok = no_tasks().

%% As what is queued there, when nobody holds the context any more; a stop reaches it.
dropped_context_goes_on(_Config) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, cast_on_a_context, [self()]),
    none = told(running),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    ok = eventually(fun() -> info(contexts) =:= 0 end),
    1 = info(tasks),
    ok = application:stop(erlpy),
    <<"CancelledError">> = told(ended).

cast_on_a_context(Test) ->
    {ok, Context} = py_context:new(),
    ok = py:cast(Context, ct_async, wait_watched, [Test]).

race_of_answers_and_timeouts(_Config) ->
    Callers = [caller(fun() -> race(200) end) || _ <- lists:seq(1, 8)],
    [ok = answer_of(Caller) || Caller <- Callers],
    ok = no_tasks().

race(0) ->
    receive Any -> {stray, Any} after 100 -> ok end;
race(N) ->
    case py:call(ct_async, answer, [N, (rand:uniform(6) - 1) / 1000], #{}, rand:uniform(6)) of
        {ok, N} -> race(N - 1);
        {error, timeout} -> race(N - 1)
    end.

%% Callers with all kinds of calls, which die now and then, beside interrupts, ends of
%% contexts and of the application.
random_faults(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}, {event_loops, 2}]),
    [ok = round_of_faults() || _ <- lists:seq(1, 3)].

round_of_faults() ->
    ok = py:register_function(same, fun(X) -> X end),
    ok = py:register_function(below, fun(N) -> below(N) end),
    Contexts = [Context || _ <- [1, 2, 3], {ok, Context} <- [py_context:new()]],
    Callers = [spawn_monitor(fun() -> faulty(60, Contexts) end) || _ <- lists:seq(1, 12)],
    Killer = spawn_link(fun() -> disturb([Pid || {Pid, _} <- Callers], Contexts) end),
    [
        receive {'DOWN', Monitor, process, Pid, Why} ->
            true = lists:member(Why, [normal, killed])
        end
     || {Pid, Monitor} <- Callers
    ],
    unlink(Killer),
    exit(Killer, kill),
    ok = no_tasks(),
    rand:uniform(2) =:= 1 andalso [ok = py_context:destroy(Context) || Context <- Contexts],
    ok = application:stop(erlpy),
    ok = no_loops(),
    ok = application:start(erlpy).

below(0) -> 0;
below(N) ->
    Module = lists:nth(rand:uniform(2), [call_awaited, call_erlang]),
    case py:call(ct_async, Module, [below, N - 1]) of
        {ok, Value} -> Value;
        {error, _} -> -1
    end.

faulty(0, _Contexts) ->
    receive Any -> exit({stray, Any}) after 0 -> ok end;
faulty(N, Contexts) ->
    Context = lists:nth(rand:uniform(3), Contexts),
    Time = rand:uniform(20) - 1,
    case rand:uniform(9) of
        1 -> {ok, N} = py:call(ct_async, answer, [N, Time / 1000]);
        2 -> {error, {_, _, _}} = py:call(ct_async, failing_awaitable, [<<"x">>]);
        3 -> {error, timeout} = py:call(ct_async, answer, [N, 3600], #{}, Time);
        4 -> right(N, py:call(Context, ct_async, answer, [N, Time / 1000]));
        5 -> right(N, py:call(Context, ct_async, answer, [N, 3600], #{}, Time));
        6 -> right(0, py:call(ct_async, call_awaited, [below, rand:uniform(4)], #{}, Time * 10));
        7 -> {error, _} = py:async_gather([{ct_async, answer, [N, Time / 1000]},
                                           {ct_async, answer, [N, 3600]},
                                           {ct_async, outer_failure, [<<"x">>]}]);
        8 -> {ok, [N, N]} = py:async_gather([{ct_async, answer, [N, Time / 1000]},
                                             {ct_async, call_awaited, [same, N]}]);
        9 -> {error, timeout} = py:async_gather([{ct_async, answer, [N, 3600]}], Time)
    end,
    faulty(N - 1, Contexts).

right(Value, {ok, Value}) -> ok;
right(0, {ok, -1}) -> ok;
right(_Value, {error, Reason}) ->
    true = lists:member(Reason, [timeout, interrupted, destroyed]).

disturb(Pids, Contexts) ->
    timer:sleep(rand:uniform(20)),
    case rand:uniform(10) of
        1 -> exit(lists:nth(rand:uniform(length(Pids)), Pids), kill);
        2 -> py_context:destroy(lists:nth(rand:uniform(3), Contexts));
        _ -> py:interrupt(lists:nth(rand:uniform(3), Contexts))
    end,
    disturb(Pids, Contexts).

%% ---- Code that goes on -----------------------------------------------------------------------

one_that_goes_on_is_stuck(_Config) ->
    {error, timeout} = py:call(ct_async, refuse, [self()], #{}, 500),
    none = told(running),
    none = told(cancelled),
    0 = info(stuck),
    ok = eventually(fun() -> info(stuck) =:= 1 end),
    1 = info(tasks),
    nothing_told(100),
    {ok, none} = py:call(ct_async, release, []),
    none = told(ended),
    ok = no_tasks().

stuck_on_a_context(_Config) ->
    {ok, Context} = py_context:new(),
    Ref = py:async_call(Context, ct_async, refuse, [self()]),
    none = told(running),
    ok = py_context:destroy(Context),
    {error, destroyed} = py:async_await(Ref),
    none = told(cancelled),
    ok = eventually(fun() -> info(stuck) =:= 1 end),
    {ok, none} = py:call(ct_async, release, []),
    none = told(ended),
    ok = no_tasks().

%% ---- Waits of this library in a coroutine ------------------------------------------------------

blocking_read_in_a_coroutine(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {error, timeout} = py:call(ct_async, read_blocking, [self(), Buf], #{}, 500),
    none = told(running),
    <<"Cancelled">> = told(ended),
    {ok, 1} = py:call(ct_async, answer, [1]),
    ok = no_tasks(),
    ok = py_buffer:close(Buf).

blocking_read_in_a_child_task(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {error, timeout} = py:call(ct_async, read_blocking_in_child, [self(), Buf], #{}, 500),
    none = told(running),
    <<"Cancelled">> = told(ended),
    _ = told(outer),
    ok = no_tasks(),
    ok = py_buffer:close(Buf).

%% Their cancels leave the one that blocks alone.
other_calls_of_a_blocked_loop(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Waiting = [caller(fun() -> py:call(ct_async, answer, [1, 3600], #{}, 2000) end)
               || _ <- lists:seq(1, 10)],
    ok = eventually(fun() -> info(tasks) =:= 10 end),
    Reading = py:async_call(ct_async, read_blocking, [self(), Buf]),
    none = told(running),
    [{error, timeout} = answer_of(Caller) || Caller <- Waiting],
    nothing_told(100),
    ok = py_buffer:write(Buf, <<"data">>),
    ok = py_buffer:close(Buf),
    {ok, <<"data">>} = py:async_await(Reading),
    ok = no_tasks().

erlang_call_in_a_coroutine(_Config) ->
    ok = erlpy_ct:register_waiting(wait),
    Caller = caller(fun() -> py:call(ct_async, call_erlang, [wait], #{}, 500) end),
    Monitor = monitor(process, erlpy_ct:running(wait)),
    {error, timeout} = answer_of(Caller),
    killed = erlpy_ct:down(Monitor),
    ok = no_tasks().

%% The task ends at once, the thread when the function does.
erlang_call_in_a_thread(_Config) ->
    ok = erlpy_ct:register_waiting(wait),
    Test = self(),
    Caller = caller(fun() -> py:call(ct_async, in_thread, [Test, wait], #{}, 500) end),
    none = told(running),
    Worker = erlpy_ct:running(wait),
    {error, timeout} = answer_of(Caller),
    <<"CancelledError">> = told(ended),
    ok = no_tasks(),
    true = is_process_alive(Worker),
    Worker ! {value, 1},
    ok = eventually(fun() -> erlpy_ct:workers() =:= [] end).

%% Its process goes with the task.
awaited_erlang_call(_Config) ->
    ok = erlpy_ct:register_waiting(wait),
    Test = self(),
    Caller = caller(fun() -> py:call(ct_async, call_watched, [Test, wait], #{}, 300) end),
    none = told(running),
    Monitor = monitor(process, erlpy_ct:running(wait)),
    {error, timeout} = answer_of(Caller),
    <<"CancelledError">> = told(ended),
    killed = erlpy_ct:down(Monitor),
    ok = no_tasks(),
    %% One that has its answer.
    Answered = caller(fun() -> py:call(ct_async, call_watched, [Test, wait], #{}, 10000) end),
    none = told(running),
    erlpy_ct:running(wait) ! {value, done},
    <<"returned">> = told(ended),
    {ok, <<"done">>} = answer_of(Answered).

awaited_erlang_calls_at_a_stop(_Config) ->
    ok = erlpy_ct:register_waiting(wait),
    Refs = [py:async_call(ct_async, call_awaited, [wait]) || _ <- lists:seq(1, 100)],
    Workers = [erlpy_ct:running(wait) || _ <- Refs],
    {Ms, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Ms < 4000,
    [{error, stopped} = py:async_await(Ref, 0) || Ref <- Refs],
    ok = eventually(fun() -> not lists:any(fun is_process_alive/1, Workers) end),
    no_loops().

%% ---- Stop --------------------------------------------------------------------------------------

stop_with_a_thousand_tasks(_Config) ->
    {ok, Context} = py_context:new(),
    Refs = [py:async_call(ct_async, wait_finally, [self()]) || _ <- lists:seq(1, 500)] ++
        [py:async_call(Context, ct_async, wait_finally, [self()]) || _ <- lists:seq(1, 500)],
    [none = told(running) || _ <- Refs],
    ok = py:exec("import ct_async; ct_async.kept['mark'] = 'still here'"),
    {Ms, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    [{error, stopped} = py:async_await(Ref, 0) || Ref <- Refs],
    %% All is answered, cleaned up and ended by then.
    [<<"finally">> = told(ended) || _ <- Refs],
    ok = no_loops(),
    true = Ms < 4000,
    ok = application:start(erlpy),
    {ok, <<"still here">>} = py:eval("__import__('ct_async').kept['mark']"),
    {ok, 1} = py:call(ct_async, answer, [1]).

stop_with_one_that_refuses(_Config) ->
    {ok, _} = py:call(ct_async, keep_loop, [loop]),
    Ref = py:async_call(ct_async, refuse, [self(), behind]),
    none = told(running),
    {Ms, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Ms >= 1500 andalso Ms < 4000,
    {error, stopped} = py:async_await(Ref, 0),
    none = told(cancelled),
    1 = loop_threads(),
    ok = application:start(erlpy),
    ok = eventually(fun() -> info(stuck) =:= 1 end),
    {ok, 1} = py:call(ct_async, answer, [1]),
    2 = loop_threads(),
    {ok, none} = py:call(ct_async, release_from_thread, [behind, loop]),
    none = told(ended),
    ok = no_tasks(),
    ok = eventually(fun() -> loop_threads() =:= 1 end).

stop_with_blocked_loops(Config) ->
    [
        begin
            ok = erlpy_ct:start(Config, [{event_loops, Loops}]),
            {ok, Buf} = py_buffer:new(),
            %% On one loop the first blocks the others, which read when it has ended.
            Refs = [py:async_call(ct_async, read_blocking, [self(), Buf]) || _ <- lists:seq(1, 5)],
            none = told(running),
            {Ms, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
            true = Ms < 4000,
            [{error, stopped} = py:async_await(Ref, 0) || Ref <- Refs],
            <<"Cancelled">> = told(ended),
            #{state := open} = py_buffer:info(Buf),
            ok = flush(),
            ok = no_loops()
        end
     || Loops <- [1, 5]
    ],
    ok.

flush() ->
    receive {running, _} -> flush(); {ended, _} -> flush() after 0 -> ok end.

stop_cancels_background_tasks(_Config) ->
    {ok, none} = py:call(ct_async, background_for_ever, [self()]),
    {Ms, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Ms < 4000,
    <<"CancelledError">> = told(background),
    no_loops().

stop_closes_generators(Config) ->
    Path = filename:join(?config(priv_dir, Config), "generator"),
    {ok, 0} = py:call(ct_async, leave_generator, [list_to_binary(Path)]),
    ok = application:stop(erlpy),
    {ok, <<"closed\n">>} = file:read_file(Path).

stop_with_a_task_factory_that_fails(_Config) ->
    {ok, none} = py:call(ct_async, refuse_tasks, []),
    {error, {<<"OSError">>, <<"no tasks">>, _}} = py:call(ct_async, answer, [1]),
    ok = application:stop(erlpy),
    ok = no_loops(),
    ok = application:start(erlpy),
    {ok, 1} = py:call(ct_async, answer, [1]),
    ok.

stop_and_start_leaves_nothing(_Config) ->
    _ = round_of_work(),
    Before = resources(),
    [
        begin
            ok = application:stop(erlpy),
            ok = no_loops(),
            ok = application:start(erlpy),
            round_of_work()
        end
     || _ <- lists:seq(1, 10)
    ],
    ok = eventually(fun() ->
        {Threads, Descriptors} = resources(),
        {T0, D0} = Before,
        Threads =< T0 andalso Descriptors =< D0
    end).

round_of_work() ->
    {ok, _} = py:async_gather([{ct_async, answer, [N, 0.01]} || N <- lists:seq(1, 20)]),
    {ok, _} = py:call(ct_async, usual, []),
    {ok, [3, _]} = py:call(ct_async, run_program, []),
    {ok, none} = py:eval("__import__('gc').collect() and None").

resources() ->
    {ok, Open} = file:list_dir("/proc/self/fd"),
    {length(erlpy_ct:threads()), length(Open)}.

stop_while_calls_come(_Config) ->
    Callers = [caller(fun() -> calls_until_stopped() end) || _ <- lists:seq(1, 4)],
    ok = eventually(fun() -> info(calls) > 50 end),
    ok = application:stop(erlpy),
    [ok = answer_of(Caller) || Caller <- Callers],
    no_loops().

calls_until_stopped() ->
    case py:call(ct_async, answer, [1, 0.001]) of
        {ok, 1} -> calls_until_stopped();
        {error, Reason} when Reason =:= stopped; Reason =:= not_started -> ok
    end.
