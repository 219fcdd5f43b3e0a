%% Calls that answer an awaitable: they run on the library's own event loops, many at once
%% on one thread, as asyncio has it.  (async_cancel_SUITE: how they are cancelled.)
%%
%% After every case fresh calls succeed and no message is left over.
-module(async_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, info/1, eventually/1]).

-define(MANY, 10000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, awaitables}, {group, one_loop}, {group, loops}, {group, asyncio},
     {group, gather}, {group, chains}].

groups() ->
    [
        {awaitables, [], [
            all_kinds_of_awaitables,
            all_kinds_of_calls,
            results_convert_as_usual,
            exceptions_have_the_frames_of_the_user,
            exceptions_that_would_end_a_program,
            failed_casts_are_logged,
            background_failures_are_logged
        ]},
        {one_loop, [], [
            ten_thousand_that_sleep,
            ten_thousand_on_one_event,
            workers_are_free,
            idle_loops_use_no_cpu
        ]},
        {loops, [], [
            several_loops_take_turns,
            futures_stay_on_their_loop,
            uvloop_that_is_not_there,
            uvloop_when_asked_for,
            loop_that_breaks,
            wrong_settings
        ]},
        {asyncio, [], [
            asyncio_as_usual,
            child_processes,
            network,
            no_signal_handlers,
            context_variables,
            fork_in_a_coroutine
        ]},
        {gather, [], [
            gather_in_order,
            gather_functions_and_keywords,
            gather_first_failure_cancels,
            gather_timeout_cancels,
            gather_beside_other_messages,
            gather_failure_among_many_replies,
            gather_bad_arguments,
            async_call_and_await,
            await_bad_arguments
        ]},
        {chains, [], [
            erlang_call_in_a_coroutine,
            erlang_call_in_a_thread,
            awaited_erlang_calls,
            ten_thousand_awaited_erlang_calls,
            awaited_call_that_fails,
            coroutine_below_a_coroutine,
            chain_of_contexts_and_coroutines,
            chain_that_is_too_deep,
            wide_and_deep
        ]}
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    ok = eventually(fun() -> loop_threads() =:= 0 end),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% ---- Awaitables ------------------------------------------------------------------------

all_kinds_of_awaitables(_Config) ->
    {ok, 1} = py:call(ct_async, answer, [1]),
    {ok, 2} = py:call(ct_async, object_with_await, [2]),
    {ok, 3} = py:call(ct_async, generator_based, [3]),
    {ok, 4} = py:call(ct_async, nothing_awaited, [4]),
    {ok, 5} = py:call(ct_async, no_coroutine, [5]),
    {ok, 6} = py:call(asyncio, sleep, [0, 6]),
    {error, {not_convertible, _}} = py:call(ct_async, plain_generator, []),
    {error, {not_convertible, _}} = py:call(ct_async, async_generator, []),
    %% As with await, once is once.
    {error, {not_convertible, _}} = py:call(ct_async, returns_coroutine, []),
    ok.

all_kinds_of_calls(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, 1} = py:call(Context, ct_async, answer, [1]),
    {ok, 2} = py:call(ct_async, answer, [2], #{seconds => 0.01}, 5000),
    {ok, 3} = py:eval("__import__('ct_async').answer(3)"),
    {ok, 4} = py:eval("__import__('ct_async').answer(x)", #{x => 4}, 5000),
    {ok, 5} = py:eval(Context, "__import__('ct_async').answer(5)"),
    ok = py:exec(Context, "async def own(x):\n    return x + state\nstate = 1"),
    {ok, 6} = py:call(Context, '__main__', own, [5]),
    {ok, 7} = py:await(py:spawn_call(ct_async, answer, [7])),
    {ok, 8} = py:await(py:spawn_call(Context, ct_async, answer, [8])),
    ok = py:cast(ct_async, watched, [self(), {bytes, <<>>}]),
    none = told(running),
    <<"TypeError">> = told(ended),
    ok = py_context:destroy(Context).

results_convert_as_usual(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Buf} = py:call(ct_async, returns_buffer, [Buf]),
    Large = binary:copy(<<"x">>, 1000000),
    {ok, [Large, #{<<"a">> := none}]} = py:call(ct_async, answer, [[Large, #{<<"a">> => none}]]),
    {error, {not_convertible, Text}} = py:eval("__import__('ct_async').answer(object())"),
    true = string:find(Text, "object") =/= nomatch,
    ok.

exceptions_have_the_frames_of_the_user(_Config) ->
    {error, {<<"ValueError">>, <<"of inner">>, Text}} =
        py:call(ct_async, outer_failure, [<<"of inner">>]),
    true = has(Text, "in outer_failure") andalso has(Text, "in inner_failure"),
    false = has(Text, "_loop.py"),
    {error, {<<"ValueError">>, <<"of await">>, Awaitable}} =
        py:call(ct_async, failing_awaitable, [<<"of await">>]),
    true = has(Awaitable, "in __await__"),
    false = has(Awaitable, "_loop.py"),
    ok.

%% The loop goes on, with the tasks that it has.
exceptions_that_would_end_a_program(_Config) ->
    ok = py:register_function(value, fun() -> 1 end),
    Waiting = py:async_call(ct_async, answer, [waited, 0.5]),
    [
        {error, {Name, _, _}} = py:call(ct_async, raises, [Name])
     || Name <- [<<"SystemExit">>, <<"KeyboardInterrupt">>, <<"Cancelled">>,
                 <<"CancelledError">>]
    ],
    [
        {error, {Name, _, _}} = py:call(ct_async, raises_at_once, [Name])
     || Name <- [<<"SystemExit">>, <<"KeyboardInterrupt">>]
    ],
    Many = [py:async_call(ct_async, raises, [<<"SystemExit">>]) || _ <- lists:seq(1, 100)],
    [{error, {<<"SystemExit">>, _, _}} = py:async_await(Ref) || Ref <- Many],
    {ok, <<"waited">>} = py:async_await(Waiting),
    1 = loop_threads().

failed_casts_are_logged(_Config) ->
    logged(fun() ->
        ok = py:cast(ct_async, outer_failure, [<<"of a cast">>]),
        true = has(next_log(), "ValueError: of a cast")
    end).

background_failures_are_logged(_Config) ->
    logged(fun() ->
        {ok, none} = py:call(ct_async, background, [<<"LookupError">>]),
        Text = next_log(),
        true = has(Text, "LookupError: in the background"),
        true = has(Text, "never retrieved"),
        {ok, none} = py:call(ct_async, background, [<<"SystemExit">>]),
        true = has(next_log(), "SystemExit: in the background"),
        {ok, 1} = py:call(ct_async, answer, [1])
    end).

logged(Fun) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    try Fun() after logger:remove_handler(?MODULE) end.

next_log() ->
    receive {logged, error, Text} -> Text after 10000 -> ct:fail(nothing_logged) end.

%% As a handler of logger.
log(#{level := Level, msg := {Format, Args}}, #{config := Pid}) when is_list(Format) ->
    Pid ! {logged, Level, lists:flatten(io_lib:format(Format, Args))},
    ok;
log(_Event, _Config) ->
    ok.

has(Text, Part) ->
    string:find(Text, Part) =/= nomatch.

%% ---- One loop ------------------------------------------------------------------------------

loop_threads() ->
    info(event_loops).

ten_thousand_that_sleep(_Config) ->
    ok = eventually(fun() -> loop_threads() =:= 0 end),
    Refs = [py:async_call(ct_async, answer, [N, 1]) || N <- lists:seq(1, ?MANY)],
    ok = eventually(fun() -> info(tasks) > ?MANY div 2 end),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    1 = loop_threads(),
    Answers = [py:async_await(Ref) || Ref <- Refs],
    Answers = [{ok, N} || N <- lists:seq(1, ?MANY)],
    ok = eventually(fun() -> info(tasks) =:= 0 end),
    true = info(threads) < 20.

ten_thousand_on_one_event(_Config) ->
    {ok, none} = py:call(ct_async, want, [?MANY]),
    Refs = [py:async_call(ct_async, wait_for_event, [self(), all]) || _ <- lists:seq(1, ?MANY)],
    ?MANY = told(waiting),
    ?MANY = info(tasks),
    1 = loop_threads(),
    {ok, 2} = py:eval("1 + 1"),
    {ok, none} = py:call(ct_async, set_event, [all]),
    %% All on one thread.
    [_] = lists:usort([py:async_await(Ref) || Ref <- Refs]),
    ok = eventually(fun() -> info(tasks) =:= 0 end).

workers_are_free(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 1}, {max_threads, 1}]),
    {ok, Context} = py_context:new(),
    {ok, none} = py:call(ct_async, want, [100]),
    Refs = [
        py:async_call(Context, ct_async, wait_for_event, [self(), free])
     || _ <- lists:seq(1, 50)
    ] ++ [py:async_call(ct_async, wait_for_event, [self(), free]) || _ <- lists:seq(1, 50)],
    100 = told(waiting),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    {ok, 4.0} = py:call(Context, math, sqrt, [16]),
    {ok, none} = py:call(Context, ct_async, set_event, [free]),
    [{ok, _} = py:async_await(Ref) || Ref <- Refs],
    ok = py_context:destroy(Context).

idle_loops_use_no_cpu(_Config) ->
    Ref = py:async_call(ct_async, wait_for_event, [none, idle]),
    ok = eventually(fun() -> info(tasks) =:= 1 end),
    %% What main looks at after the last call has come to rest.
    timer:sleep(1500),
    [_ | _] = Before = loop_ticks(),
    timer:sleep(1000),
    Before = loop_ticks(),
    {ok, none} = py:call(ct_async, set_event, [idle]),
    {ok, _} = py:async_await(Ref).

%% Switches of the threads that are loops: a thread that sleeps has none.
loop_ticks() ->
    {ok, Ids} = file:list_dir("/proc/self/task"),
    [switches(Id) || Id <- Ids,
                     file:read_file(["/proc/self/task/", Id, "/comm"]) =:= {ok, <<"erlpy_loop\n">>}].

switches(Id) ->
    {ok, Status} = file:read_file(["/proc/self/task/", Id, "/status"]),
    {match, [Count]} =
        re:run(Status, "voluntary_ctxt_switches:\\s+(\\d+)", [{capture, all_but_first, list}]),
    Count.

%% ---- Loops ---------------------------------------------------------------------------------

several_loops_take_turns(Config) ->
    ok = erlpy_ct:start(Config, [{event_loops, 3}]),
    Places = [py:call(ct_async, thread_and_loop, []) || _ <- lists:seq(1, 12)],
    Counts = lists:foldl(
        fun({ok, Place}, Map) -> maps:update_with(Place, fun(N) -> N + 1 end, 1, Map) end,
        #{}, Places),
    [4, 4, 4] = maps:values(Counts),
    3 = loop_threads().

futures_stay_on_their_loop(Config) ->
    ok = erlpy_ct:start(Config, [{event_loops, 3}]),
    {ok, Thread} = py:call(ct_async, keep_loop, [loop]),
    [{ok, Thread} = py:call(ct_async, future_of, [loop]) || _ <- lists:seq(1, 10)],
    {error, {<<"RuntimeError">>, Text, _}} = py:call(ct_async, foreign_future, []),
    true = has(Text, "different loop"),
    ok.

uvloop_when_asked_for(Config) ->
    {ok, <<"asyncio">>} = py:call(ct_async, kind_of_loop, []),
    case py:eval("__import__('importlib.util').util.find_spec('uvloop') is not None") of
        {ok, true} -> uvloop(Config);
        {ok, false} -> {skip, "this Python has no uvloop"}
    end.

uvloop(Config) ->
    ok = erlpy_ct:start(Config, [{event_loop, uvloop}, {contexts, 2}]),
    {ok, <<"uvloop">>} = py:call(ct_async, kind_of_loop, []),
    [
        begin
            ok = ?MODULE:Case(Config),
            ok = erlpy_ct:start(Config, [{event_loop, uvloop}, {contexts, 2}])
        end
     || Case <- [all_kinds_of_awaitables, exceptions_have_the_frames_of_the_user,
                 ten_thousand_on_one_event, asyncio_as_usual, child_processes, network,
                 no_signal_handlers, context_variables]
    ],
    _ = exceptions_that_would_end_a_program(Config),
    Ref = py:async_call(ct_async, hold_for_ever, [self()]),
    _ = told(running),
    ok = application:stop(erlpy),
    {error, stopped} = py:async_await(Ref),
    eventually(fun() -> loop_threads() =:= 0 end).

uvloop_that_is_not_there(Config) ->
    erlpy_ct:stop(),
    Dir = filename:join(?config(priv_dir, Config), "no_uvloop"),
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    ok = file:write_file(filename:join(Dir, "uvloop.py"), "raise ImportError('there is no uvloop')"),
    case loaded_before(Config, uvloop) of
        true ->
            {skip, "uvloop has been imported before"};
        false ->
            ok = application:load(erlpy),
            ok = application:set_env(erlpy, python_path, [Dir]),
            ok = application:set_env(erlpy, event_loop, uvloop),
            {error, {erlpy, Reason}} = application:ensure_all_started(erlpy),
            true = has(io_lib:format("~0tp", [Reason]), "bad_setting,event_loop,{uvloop"),
            true = has(io_lib:format("~0tp", [Reason]), "there is no uvloop"),
            ok = application:unload(erlpy),
            ok = erlpy_ct:start(Config),
            {ok, none} = py:eval("__import__('sys').path.remove(d)", #{d => list_to_binary(Dir)}),
            ok
    end.

loaded_before(Config, Module) ->
    ok = erlpy_ct:start(Config),
    {ok, Is} = py:eval("name in __import__('sys').modules", #{name => Module}),
    erlpy_ct:stop(),
    Is.

%% Its calls have that exception, the next one has a new loop.
loop_that_breaks(_Config) ->
    Waiting = [py:async_call(ct_async, hold_for_ever, [self()]) || _ <- lists:seq(1, 10)],
    [_ = told(running) || _ <- Waiting],
    _ = py:call(ct_async, break_loop, []),
    [{error, {<<"OSError">>, _, _}} = py:async_await(Ref, 10000) || Ref <- Waiting],
    {ok, 1} = py:call(ct_async, answer, [1]),
    ok = eventually(fun() -> loop_threads() =:= 1 end),
    %% An answer is sent just before its task ends.
    ok = eventually(fun() -> info(tasks) =:= 0 end).

wrong_settings(Config) ->
    [
        begin
            erlpy_ct:stop(),
            ok = application:load(erlpy),
            ok = application:set_env(erlpy, Name, Value),
            {error, {erlpy, Reason}} = application:ensure_all_started(erlpy),
            true = has(io_lib:format("~0tp", [Reason]), io_lib:format("bad_setting,~p,~p", [Name, Value]))
        end
     || {Name, Value} <- [{event_loops, 0}, {event_loops, many}, {event_loop, trio}]
    ],
    ok = erlpy_ct:start(Config).

%% ---- asyncio -------------------------------------------------------------------------------

asyncio_as_usual(_Config) ->
    {ok, [true, <<"child">>, [1, 2], true, true, <<"waited">>, true]} =
        py:call(ct_async, usual, []),
    ok.

child_processes(_Config) ->
    {ok, [3, <<"cba">>]} = py:call(ct_async, run_program, []),
    Refs = [py:async_call(ct_async, run_program, []) || _ <- lists:seq(1, 5)],
    [{ok, [3, <<"cba">>]} = py:async_await(Ref) || Ref <- Refs],
    ok.

network(_Config) ->
    {ok, <<"HELLO\n">>} = py:call(ct_async, talk_over_tcp, []),
    ok.

no_signal_handlers(_Config) ->
    {ok, Error} = py:call(ct_async, add_signal_handler, []),
    true = lists:member(Error, [<<"RuntimeError">>, <<"ValueError">>]),
    ok.

%% Each call has a context of its own; on a py_context it begins with what that has set.
context_variables(_Config) ->
    {ok, [<<"unset">>, <<"a">>]} = py:call(ct_async, swap_variable, [a]),
    {ok, [<<"unset">>, <<"b">>]} = py:call(ct_async, swap_variable, [b]),
    {ok, Context} = py_context:new(),
    {ok, none} = py:call(Context, ct_async, set_variable, [set]),
    {ok, [<<"set">>, <<"c">>]} = py:call(Context, ct_async, swap_variable, [c]),
    {ok, [<<"set">>, <<"d">>]} = py:call(Context, ct_async, swap_variable, [d]),
    {ok, [<<"unset">>, <<"e">>]} = py:call(ct_async, swap_variable, [e]),
    ok = py_context:destroy(Context).

fork_in_a_coroutine(_Config) ->
    {ok, 7} = py:call(ct_async, fork_and_exit, [7]),
    {ok, 1} = py:call(ct_async, answer, [1]).

%% ---- Gathering -----------------------------------------------------------------------------

gather_in_order(_Config) ->
    {ok, []} = py:async_gather([]),
    {ok, []} = py:async_gather([], 0),
    Calls = [{ct_async, answer, [N, (100 - N) / 1000]} || N <- lists:seq(1, 100)],
    All = lists:seq(1, 100),
    {ok, All} = py:async_gather(Calls),
    {ok, All} = py:async_gather(Calls, 10000).

gather_functions_and_keywords(_Config) ->
    {ok, [4.0, <<"x">>, 3, <<"a/b">>]} = py:async_gather([
        {math, sqrt, [16]},
        {ct_async, answer, [<<"x">>], #{seconds => 0.01}},
        {<<"ct_async">>, "answer", [], #{<<"value">> => 3}},
        {os, 'path.join', [<<"a">>, <<"b">>]}
    ]).

gather_first_failure_cancels(_Config) ->
    {error, {<<"ValueError">>, <<"no">>, _}} = py:async_gather([
        {ct_async, wait_watched, [self()]},
        {ct_async, answer, [1]},
        {ct_async, outer_failure, [<<"no">>]},
        {ct_async, answer, [1, 3600]}
    ]),
    running = told_or_not_begun(),
    ok = eventually(fun() -> info(tasks) =:= 0 end).

%% It may have been cancelled before it began; or its task was.
told_or_not_begun() ->
    receive
        {running, none} -> <<"CancelledError">> = told(ended), running
    after 1000 -> running
    end.

gather_timeout_cancels(_Config) ->
    {Ms, {error, timeout}} = erlpy_ct:timed(fun() ->
        py:async_gather(
            [{ct_async, wait_watched, [self()]} || _ <- lists:seq(1, 100)] ++
                [{ct_async, answer, [1]}], 500)
    end),
    true = Ms >= 500 andalso Ms < 5000,
    [
        begin
            _ = told(running),
            <<"CancelledError">> = told(ended)
        end
     || _ <- lists:seq(1, 100)
    ],
    {error, timeout} = py:async_gather([{ct_async, answer, [1, 3600]}], 0),
    ok = eventually(fun() -> info(tasks) =:= 0 end).

gather_beside_other_messages(_Config) ->
    Other = [{other, N} || N <- lists:seq(1, 1000)],
    [self() ! Message || Message <- Other],
    {ok, _} = py:async_gather([{ct_async, answer, [N]} || N <- lists:seq(1, 500)]),
    {error, {<<"ValueError">>, _, _}} =
        py:async_gather([{ct_async, outer_failure, [<<"no">>]} || _ <- lists:seq(1, 500)]),
    Other = [receive Message -> Message end || _ <- Other],
    ok.

%% Nearly all have answered when the first answer, a failure, is looked at.
gather_failure_among_many_replies(_Config) ->
    Calls = [{math, sqrt, [4]} || _ <- lists:seq(1, 40000)],
    {Good, {ok, _}} = timer:tc(fun() -> py:async_gather(Calls) end),
    {Failed, {error, {<<"ValueError">>, _, _}}} =
        timer:tc(fun() -> py:async_gather([{math, sqrt, [-1]} | Calls]) end),
    ct:pal("all answers: ~p ms, a failure: ~p ms", [Good div 1000, Failed div 1000]),
    true = Failed < 8 * Good,
    ok.

gather_bad_arguments(_Config) ->
    Good = {math, sqrt, [16]},
    [
        begin
            _ = erlpy_ct:badarg(py, async_gather, [Calls], 1),
            _ = erlpy_ct:badarg(py, async_gather, [Calls, 1000], 1)
        end
     || Calls <- [x, [Good | x], [Good, x], [{math, sqrt}], [{17, sqrt, [1]}],
                  [{math, 17, [1]}], [{math, sqrt, x}], [{math, sqrt, [1], []}],
                  [{math, [255, x], [1]}], [Good, {math, sqrt, [1], #{}, 1}]]
    ],
    "because of {math,sqrt,x}" =
        string:find(erlpy_ct:badarg(py, async_gather, [[Good, {math, sqrt, x}]], 1), "because"),
    [_ = erlpy_ct:badarg(py, async_gather, [[Good], Timeout], 2) || Timeout <- [-1, x, 1.5]],
    ok.

async_call_and_await(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, 1} = py:async_await(py:async_call(ct_async, answer, [1])),
    {ok, 2} = py:async_await(py:async_call(ct_async, answer, [], #{value => 2})),
    {ok, 3} = py:async_await(py:async_call(Context, ct_async, answer, [3])),
    {ok, 4.0} = py:async_await(py:async_call(math, sqrt, [16])),
    Ref = py:async_call(ct_async, answer, [5, 0.2]),
    {error, timeout} = py:async_await(Ref, 0),
    {ok, 5} = py:async_await(Ref, 10000),
    ok = py_context:destroy(Context).

await_bad_arguments(_Config) ->
    _ = erlpy_ct:badarg(py, async_await, [x], 1),
    _ = erlpy_ct:badarg(py, async_await, [x, 1], 1),
    _ = erlpy_ct:badarg(py, async_await, [make_ref(), x], 2),
    _ = erlpy_ct:badarg(py, async_call, [17, sqrt, [1]], 1),
    _ = erlpy_ct:badarg(py, async_call, [math, sqrt, x], 3),
    _ = erlpy_ct:badarg(py, async_call, [math, sqrt, [1], []], 4),
    ok.

%% ---- Chains ----------------------------------------------------------------------------------

erlang_call_in_a_coroutine(_Config) ->
    ok = py:register_function(double, fun(X) -> 2 * X end),
    {ok, 6} = py:call(ct_async, call_erlang, [double, 3]),
    {ok, 6} = py:call(ct_async, call_erlang_in_child, [double, 3]),
    %% Python below that, too.
    ok = py:register_function(root, fun(X) ->
        {ok, Root} = py:call(math, sqrt, [X]),
        Root
    end),
    {ok, 4.0} = py:call(ct_async, call_erlang, [root, 16]).

%% The loop goes on meanwhile.
erlang_call_in_a_thread(_Config) ->
    ok = erlpy_ct:register_waiting(wait),
    Ref = py:async_call(ct_async, call_erlang_in_thread, [wait]),
    Worker = erlpy_ct:running(wait),
    {ok, 1} = py:call(ct_async, answer, [1, 0.01]),
    Worker ! {value, waited},
    {ok, <<"waited">>} = py:async_await(Ref).

awaited_erlang_calls(_Config) ->
    ok = py:register_function(double, fun(X) -> 2 * X end),
    {ok, 6} = py:call(ct_async, call_awaited, [double, 3]),
    Large = binary:copy(<<"x">>, 3000000),
    ok = py:register_function(echo, fun(X) -> X end),
    {ok, [Large, 1]} = py:call(ct_async, call_awaited, [echo, [Large, 1]]),
    %% On a loop of the code's own, on a worker.
    {ok, 8} = py:call(ct_async, call_in_own_loop, [double, 4]),
    {ok, Text} = py:call(ct_async, call_bad, [1]),
    true = has(Text, "argument 'name'"),
    %% Coroutines below coroutines take no further loop.
    ok = py:register_function(below, fun
        (0) -> 0;
        (N) ->
            {ok, Value} = py:call(ct_async, call_awaited, [below, N - 1], #{}, 20000),
            Value + 1
    end),
    {ok, 100} = py:call(ct_async, call_awaited, [below, 100]),
    1 = loop_threads(),
    ok = py:register_function(too_deep, fun(N) ->
        case py:call(ct_async, call_awaited, [too_deep, N + 1], #{}, 20000) of
            {ok, Value} -> Value;
            {error, too_deep} -> N
        end
    end),
    {ok, 256} = py:call(ct_async, call_awaited, [too_deep, 1]),
    ok.

ten_thousand_awaited_erlang_calls(_Config) ->
    ok = py:register_function(same, fun(X) -> X end),
    Sum = ?MANY * (?MANY - 1) div 2,
    {ok, Sum} = py:call(ct_async, call_many, [same, ?MANY]),
    1 = loop_threads().

awaited_call_that_fails(_Config) ->
    {error, {<<"ErlangError">>, _, _}} = py:call(ct_async, call_awaited, [nobody]),
    ok = py:register_function(crash, fun() -> error(on_purpose) end),
    {error, {<<"ErlangError">>, Text, _}} = py:call(ct_async, call_awaited, [crash]),
    true = has(Text, "on_purpose"),
    ok = py:register_function(killed, fun() -> exit(self(), kill), receive never -> ok end end),
    {error, {<<"ErlangError">>, Killed, _}} = py:call(ct_async, call_awaited, [killed]),
    true = has(Killed, "killed"),
    {error, {<<"NotConvertibleError">>, _, _}} =
        py:eval("__import__('erlang.aio').aio.call('x', object())"),
    ok.

%% The loop of the outer one waits for the inner one, which has another.
coroutine_below_a_coroutine(_Config) ->
    ok = py:register_function(again, fun
        (0) -> 0;
        (N) ->
            {ok, Value} = py:call(ct_async, call_erlang, [again, N - 1], #{}, 20000),
            Value + 1
    end),
    {ok, 5} = py:call(ct_async, call_erlang, [again, 5]),
    true = loop_threads() =< 6,
    {ok, 5} = py:call(ct_async, call_erlang_in_child, [again, 5]),
    %% They are used again.
    true = loop_threads() =< 6,
    {ok, 5} = py:call(ct_async, call_erlang_in_thread, [again, 5]),
    ok.

chain_of_contexts_and_coroutines(_Config) ->
    {ok, One} = py_context:new(),
    {ok, Two} = py_context:new(),
    Targets = {One, Two, One},
    ok = py:register_function(bounce, fun
        (0) -> 0;
        (N) ->
            Function = lists:nth(N rem 2 + 1, ['erlang.call', 'ct_async.call_erlang']),
            [Module, Name] = string:split(atom_to_list(Function), "."),
            {ok, Value} = py:call(element(N rem 3 + 1, Targets), Module, Name,
                                  [bounce, N - 1], #{}, 20000),
            Value + 1
    end),
    {ok, 12} = py:call(One, ct_async, call_erlang, [bounce, 12], #{}, 20000),
    {ok, 12} = py:call(Two, erlang, call, [bounce, 12], #{}, 20000),
    ok = py_context:destroy(One),
    ok = py_context:destroy(Two).

chain_that_is_too_deep(_Config) ->
    ok = py:register_function(deeper, fun(N) ->
        case py:call(ct_async, call_erlang, [deeper, N + 1], #{}, 30000) of
            {ok, Value} -> Value;
            {error, too_deep} -> {too_deep, N}
        end
    end),
    {ok, {<<"too_deep">>, 256}} = py:call(ct_async, call_erlang, [deeper, 1], #{}, 40000),
    ok.

wide_and_deep(_Config) ->
    ok = py:register_function(spread, fun
        (0) -> 1;
        (N) ->
            {ok, Values} = py:async_gather(
                [{ct_async, call_erlang, [spread, N - 1]} || _ <- lists:seq(1, 3)], 30000),
            lists:sum(Values)
    end),
    {ok, 27} = py:call(ct_async, call_erlang, [spread, 3], #{}, 40000),
    ok.
