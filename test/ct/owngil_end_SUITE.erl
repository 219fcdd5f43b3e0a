%% Interpreters with a GIL of their own: the end of a use, many of them, and the pool.
-module(owngil_end_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, info/1, eventually/1, eventually/2, caller/1, answer_of/1]).
-import(erlpy_owngil, [new/0, new_plain/0, interpreter/1, pool_interpreters/0]).
-import(erlpy_owngil, [none_in_use/0, in_use/0, left_before/0]).

-define(WITHIN, 20000).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [
        use_leaves_no_trace,
        settings_are_back,
        audit_hook_stays,
        audit_hook_that_refuses,
        exit_functions_run,
        exit_functions_may_call,
        exit_at_the_end,
        thread_that_ends_later,
        thread_that_stays,
        thread_of_a_destructor,
        coroutine_just_begun,
        destructor_that_reads,
        thousand_contexts,
        contexts_at_once,
        extension_that_does_not_load,
        stop_with_blocked_ones,
        {group, pool}
    ].

groups() ->
    [
        {pool, [], [
            pool_is_spread,
            pool_goes_on_beside_held_gil,
            pool_of_blocked_readers,
            pool_of_coroutines,
            pool_of_cancels,
            pool_stops_and_starts,
            pool_of_an_exchange
        ]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    case erlpy_owngil:skip_without() of
        ok -> Config;
        Skip -> Skip
    end.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% Calls without a context go to two interpreters.
init_per_group(pool, Config) ->
    ok = erlpy_ct:start(Config, [{pool, {owngil, 2}}]),
    _ = pool_interpreters(),
    Config.

end_per_group(pool, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]).

init_per_testcase(_Case, Config) ->
    erlpy_owngil:begin_case(Config).

end_per_testcase(_Case, Config) ->
    erlpy_owngil:end_case(Config).

%% ---- The end of a use ------------------------------------------------------------------------

%% The same interpreter, taken again, is as it was.
use_leaves_no_trace(_Config) ->
    Context = new(),
    {ok, []} = py:call(Context, ct_owngil, traces, []),
    {ok, none} = py:call(Context, ct_owngil, change_much, []),
    {ok, [_ | _]} = py:call(Context, ct_owngil, traces, []),
    {ok, []} = call_in_next_use(Context, traces).

%% What CPython keeps outside of modules.
settings_are_back(_Config) ->
    Context = new(),
    {ok, Settings} = py:call(Context, ct_owngil, settings, []),
    {ok, none} = py:call(Context, ct_owngil, change_settings, []),
    {ok, Settings} = call_in_next_use(Context, settings).

%% Ends the use, and calls a function in the next one of the same interpreter.
call_in_next_use(Context, Function) ->
    Number = interpreter(Context),
    ok = py_context:destroy(Context),
    ok = none_in_use(),
    #{idle_interpreters := Idle} = py:info(),
    Others = [new() || _ <- lists:seq(1, Idle)],
    [Again] = [Other || Other <- Others, interpreter(Other) =:= Number],
    Answer = py:call(Again, ct_owngil, Function, []),
    _ = [ok = py_context:destroy(Other) || Other <- Others],
    Answer.

%% The next use does not get the interpreter: CPython has no way to remove the hook.
audit_hook_stays(_Config) ->
    Context = new(),
    Number = interpreter(Context),
    {ok, none} = py:call(Context, ct_owngil, add_audit_hook, []),
    ok = py_context:destroy(Context),
    ok = eventually(fun() -> info(contexts) =:= 0 end),
    ok = erlpy_owngil:leave_one(),
    ok = none_in_use(),
    #{idle_interpreters := Idle} = py:info(),
    Others = [new() || _ <- lists:seq(1, Idle)],
    false = lists:member(Number, [interpreter(Other) || Other <- Others]),
    _ = [ok = py_context:destroy(Other) || Other <- Others],
    ok.

%% It is never gone again: in a node of its own.
audit_hook_that_refuses(Config) ->
    {Peer, _} = erlpy_ct:peer(?FUNCTION_NAME, #{}),
    ok = peer:call(Peer, erlpy_ct, start, [Config]),
    {ok, none} = peer:call(Peer, py, call, [ct_owngil, refuse_interpreters, []]),
    {error, {<<"RuntimeError">>, <<"an audit hook", _/binary>>, _}} =
        peer:call(Peer, py_context, new, [#{mode => owngil}]),
    {ok, 3.0} = peer:call(Peer, py, call, [math, sqrt, [9]]),
    ok = peer:stop(Peer).

exit_functions_run(_Config) ->
    Context = new(),
    Number = interpreter(Context),
    {ok, none} = py:call(Context, ct_owngil, at_exit, [self()]),
    ok = py_context:destroy(Context),
    Number = told(exited),
    ok = none_in_use(),
    erlpy_ct:nothing_told(0).

%% Also on the thread of an event loop that has been ended.
exit_functions_may_call(_Config) ->
    Self = self(),
    ok = py:register_function(exiting, fun(Word) -> Self ! {called, Word}, ok end),
    [
        begin
            Context = new(),
            {ok, none} = py:call(Context, ct_owngil, call_at_exit, [exiting]),
            ok = py_context:destroy(Context),
            <<"exited">> = receive {called, Word} -> Word after ?WITHIN -> none end,
            ok = none_in_use()
        end
     || _ <- lists:seq(1, 5)
    ],
    ok = py:unregister_function(exiting).

%% SystemExit ends neither the node nor the rest.
exit_at_the_end(_Config) ->
    Context = new(),
    {ok, none} = py:call(Context, ct_owngil, exit_at_the_end, [self()]),
    {ok, Number} = call_in_next_use(Context, interpreter),
    none = told(ran),
    true = is_integer(Number).

%% The interpreter is in use until then, also by a thread that says nothing of daemons.
thread_that_ends_later(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    {ok, none} = py:call(Context, ct_owngil, start_thread, [Buf, none]),
    ok = py_context:destroy(Context),
    ok = eventually(fun() -> info(contexts) =:= 0 orelse in_use() > left_before() end),
    true = in_use() > left_before(),
    ok = py_buffer:close(Buf),
    ok = none_in_use().

%% It is left as it is, also when the thread ends some day.
thread_that_stays(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    {ok, none} = py:call(Context, ct_owngil, start_thread, [Buf, true]),
    Before = left_before(),
    ok = py_context:destroy(Context),
    ok = eventually(fun() -> info(contexts) =:= 0 end),
    Other = new(),
    {ok, 2} = py:eval(Other, "1 + 1"),
    ok = py_context:destroy(Other),
    ok = erlpy_owngil:leave_one(),
    ok = none_in_use(),
    true = in_use() =:= Before + 1,
    ok = py_buffer:close(Buf).

%% The last of the thread that ends the use is what it drops at its end.
thread_of_a_destructor(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    {ok, none} = py:call(Context, ct_owngil, leave_thread_in_context, [self(), Buf]),
    Before = left_before(),
    ok = py_context:destroy(Context),
    none = told(started),
    ok = eventually(fun() -> info(contexts) =:= 0 end),
    Other = new(),
    {ok, []} = py:call(Other, ct_owngil, traces, []),
    ok = py_context:destroy(Other),
    ok = erlpy_owngil:leave_one(),
    ok = none_in_use(),
    true = in_use() =:= Before + 1,
    ok = py_buffer:close(Buf).

%% The thread of its loop may come when nobody else is there any more.
coroutine_just_begun(_Config) ->
    _ = [
        begin
            Context = new(),
            Ref = py:spawn_call(Context, ct_owngil, coroutine, [self()]),
            none = told(beginning),
            ok = py_context:destroy(Context),
            _ = py:await(Ref, ?WITHIN)
        end
     || _ <- lists:seq(1, 20)
    ],
    ok.

%% On a thread that runs no job any more.
destructor_that_reads(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    {ok, none} = py:call(Context, ct_owngil, leave_reading, [self(), Buf]),
    ok = py_context:destroy(Context),
    _ = told(dropping),
    {ok, 3} = py:eval("1 + 2"),
    ok = py_buffer:close(Buf),
    ok = none_in_use().

%% ---- Many ---------------------------------------------------------------------------------------

%% Memory, threads and descriptors are the same after a thousand more.
thousand_contexts(_Config) ->
    ok = use_many(50),
    Before = holdings(),
    ok = use_many(1000),
    After = holdings(),
    ct:pal("before ~p~nafter ~p", [Before, After]),
    #{resident := Resident, threads := Threads, descriptors := Descriptors} = Before,
    true = maps:get(resident, After) - Resident < grown(),
    true = maps:get(threads, After) =< Threads + 2,
    true = maps:get(descriptors, After) =< Descriptors + 2,
    %% Each was used by the next one, unless that was quicker than its end.
    true = maps:get(interpreters, After) - maps:get(interpreters, Before) =< 3.

%% 4 KiB each, and an interpreter or two more; sanitisers keep what has been freed.
grown() ->
    case os:getenv("ERLPY_SANITIZER") of
        false -> 1000 * 4096 + 12000000;
        _ -> 1 bsl 30
    end.

use_many(Count) ->
    _ = [use(new_plain()) || _ <- lists:seq(1, Count)],
    none_in_use().

use(Context) ->
    {ok, <<"hello">>} = py:eval(Context, "b.read()", #{b => erlpy_ct:reader(<<"hello">>)}),
    ok = py_context:destroy(Context).

holdings() ->
    erlpy_ct:collect(),
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    {ok, Descriptors} = file:list_dir("/proc/self/fd"),
    #{
        resident => binary_to_integer(Pages) * 4096,
        threads => length(erlpy_ct:threads()),
        descriptors => length(Descriptors),
        interpreters => info(interpreters)
    }.

contexts_at_once(_Config) ->
    Callers = [caller(fun() -> use_in_turn(4) end) || _ <- lists:seq(1, 6)],
    _ = [ok = answer_of(Caller) || Caller <- Callers],
    ok.

use_in_turn(0) ->
    ok;
use_in_turn(Left) ->
    Context = new(),
    Number = interpreter(Context),
    {ok, Number} = py:call(Context, ct_owngil, interpreter, []),
    {ok, 3500} = py:call(Context, ct_owngil, compute, [1000]),
    use(Context),
    use_in_turn(Left - 1).

%% In CPython 3.12 decimal is in Python here, and the main interpreter has that in C.
extension_that_does_not_load(_Config) ->
    Cube = "str(__import__('decimal').Decimal('1.5') ** 3)",
    Callers = [
        caller(fun() ->
            _ = [
                begin
                    Context = new_plain(),
                    {ok, <<"3.375">>} = py:eval(Context, Cube),
                    ok = py_context:destroy(Context)
                end
             || _ <- lists:seq(1, 15)
            ],
            ok
        end)
     || _ <- lists:seq(1, 4)
    ],
    _ = [ok = answer_of(Caller) || Caller <- Callers],
    {ok, <<"3.375">>} = py:eval(Cube),
    {ok, true} = py:eval("hasattr(__import__('_decimal'), '__spec__')"),
    ok.

stop_with_blocked_ones(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Contexts = [new(), new()],
    Refs = [py:spawn_call(Context, ct_owngil, read_told, [self(), Buf]) || Context <- Contexts],
    _ = [told(running) || _ <- Contexts],
    ok = application:stop(erlpy),
    _ = [{error, stopped} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    _ = [<<"Cancelled">> = told(ended) || _ <- Contexts],
    {error, not_started} = py_context:new(#{mode => owngil}),
    {ok, _} = application:ensure_all_started(erlpy),
    Context = new(),
    {ok, 2} = py:eval(Context, "1 + 1"),
    ok = py_context:destroy(Context).

%% ---- The pool -----------------------------------------------------------------------------------

pool_is_spread(_Config) ->
    ok = eventually(fun() -> length(pool_interpreters()) =:= 2 end, ?WITHIN),
    {ok, Context} = py_context:new(),
    {ok, Main} = py:call(Context, ct_owngil, interpreter, []),
    false = lists:member(Main, pool_interpreters()),
    ok = py_context:destroy(Context),
    %% No call is lost, whoever runs it.
    Refs = [py:spawn_call(ct_owngil, compute, [1000]) || _ <- lists:seq(1, 1000)],
    _ = [{ok, 3500} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    ok.

pool_goes_on_beside_held_gil(_Config) ->
    Ref = py:spawn_call(ct_owngil, held_for_good, [self()]),
    _ = told(running),
    _ = [{ok, N} = py:eval("n", #{n => N}) || N <- lists:seq(1, 10)],
    {error, timeout} = py:await(Ref, 0),
    {ok, true} = py:await(Ref, 60000).

pool_of_blocked_readers(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Refs = [py:spawn_call(ct_owngil, read_told, [self(), Buf]) || _ <- lists:seq(1, 200)],
    ok = eventually(fun() -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= 200 end, ?WITHIN),
    {ok, 2} = py:eval("1 + 1"),
    ok = py_buffer:close(Buf),
    _ = [{ok, <<>>} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    _ = [told(running) || _ <- Refs],
    ok.

pool_of_coroutines(_Config) ->
    Refs = [py:spawn_call(asyncio, sleep, [0.05, N]) || N <- lists:seq(1, 200)],
    _ = [{ok, N} = py:await(R, ?WITHIN) || {N, R} <- lists:zip(lists:seq(1, 200), Refs)],
    ok.

pool_of_cancels(_Config) ->
    {ok, Buf} = py_buffer:new(),
    _ = [
        begin
            {error, timeout} = py:call(ct_owngil, Function, [self() | Args], #{}, 500),
            _ = told(running),
            <<"Cancelled">> = told(ended)
        end
     || {Function, Args} <- [{spin, []}, {spin, []}, {read_told, [Buf]}, {read_told, [Buf]}]
    ],
    ok.

pool_stops_and_starts(_Config) ->
    {ok, Buf} = py_buffer:new(),
    _ = [
        begin
            Refs = [py:spawn_call(ct_owngil, read_told, [self(), Buf]) || _ <- [1, 2, 3]],
            _ = [told(running) || _ <- Refs],
            ok = application:stop(erlpy),
            _ = [{error, stopped} = py:await(Ref, ?WITHIN) || Ref <- Refs],
            _ = [<<"Cancelled">> = told(ended) || _ <- Refs],
            {ok, _} = application:ensure_all_started(erlpy)
        end
     || _ <- [1, 2, 3]
    ],
    ok.

%% A web application in whichever of them.
pool_of_an_exchange(_Config) ->
    Request = #{method => <<"POST">>, raw_path => <<"/">>, headers => [{<<"Content-Length">>, <<"5">>}]},
    _ = [
        begin
            {ok, App} = py_web:load(Target),
            {ok, Exchange} = py_web:start(App, Request, #{}),
            ok = py_buffer:write(py_web:body(Exchange), <<"hello">>),
            {_, #{status := 200}, Begin} = py_web:next(Exchange, ?WITHIN),
            <<"5 ", _/binary>> = iolist_to_binary([Begin | rest_of(Exchange)])
        end
     || Target <- ["ct_web:digest", "ct_web:async_digest"]
    ],
    ok.

rest_of(Exchange) ->
    case py_web:next(Exchange, ?WITHIN) of
        {data, Data} -> [Data | rest_of(Exchange)];
        done -> []
    end.
