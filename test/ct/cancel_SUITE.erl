%% Cancelling: a timeout and the caller's death reach the Python code wherever it is, once,
%% and never the call after it.  (interrupt_SUITE: what comes from others.)
%%
%% After every case six fresh calls succeed.
-module(cancel_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, nothing_told/1, caller/1, info/1, quiet/0, busy_wait/1]).

-define(WITHIN, 10000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, timeouts}, {group, deaths}, {group, races}].

groups() ->
    [
        {timeouts, [], [
            timeout_ends_running_code,
            timeout_ends_every_wait,
            timeout_ends_erlang_call,
            timeout_is_prompt,
            timeout_needs_no_gil,
            timeout_of_eval_and_exec,
            timeout_zero,
            timed_out_call_leaves_the_queue,
            await_cancels_nothing,
            exceptions_are_not_cancelled,
            finally_is_undisturbed,
            delivered_once_in_waits,
            delivered_once_in_code,
            during_conversion_of_arguments,
            wait_in_a_sub_interpreter,
            recursion_error_stays_an_error,
            others_wait_for_an_import
        ]},
        {deaths, [], [
            death_ends_blocked_reads,
            death_ends_running_code,
            death_of_a_sleeping_caller_counts,
            nested_in_one_that_counts,
            death_of_a_queued_caller,
            death_leaves_casts_alone
        ]},
        {races, [], [
            race_timeouts_on_a_context,
            race_timeouts_on_the_pool,
            race_timeouts_of_reads,
            race_data_and_cancel,
            race_deaths
        ]}
    ].

init_per_suite(Config) ->
    rand:seed(exsss),
    ct:pal("seed ~w", [rand:export_seed()]),
    [{seed, rand:export_seed()} | Config].

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    _ = rand:seed(?config(seed, Config)),
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% ---- Timeouts ----------------------------------------------------------------------------

timeout_ends_running_code(_Config) ->
    {ok, Context} = py_context:new(),
    {error, timeout} = py:call(ct_cancel, run_spin, [self()], #{}, 500),
    told(running),
    <<"Cancelled">> = told(ended),
    {error, timeout} = py:call(Context, ct_cancel, run_spin, [self()], #{}, 500),
    told(running),
    <<"Cancelled">> = told(ended),
    {ok, 1} = py:eval(Context, "1"),
    ok = py_context:destroy(Context),
    ok = quiet().

timeout_ends_every_wait(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"x">>),
    Reads = [
        [read], [readall], [readline], [readlines], [readexactly, 10],
        [readuntil, {bytes, <<"y">>}], [readview_exactly, 10], [iterate]
    ],
    After = [[read], [read, 5], [read1, 5], [readinto, 5], [readview], [views], [peek, 3]],
    [times_out(Context, Buf, Read) || Read <- Reads],
    %% Nothing was consumed on the way.
    {ok, <<"x">>} = py:call(Context, ct_buffers, invoke, [Buf, read, 5]),
    [times_out(Context, Buf, Read) || Read <- After],
    ok = py_context:destroy(Context).

times_out(Context, Buf, [Method | Args]) ->
    Request = [self(), Buf, Method | Args],
    begun_and_cancelled(Method, fun() -> py:call(ct_cancel, run_read, Request, #{}, 100) end),
    begun_and_cancelled(Method, fun() ->
        py:call(Context, ct_cancel, run_read, Request, #{}, 200)
    end).

%% On a busy machine a call may not even have begun when its time is over: then again.
%% The microseconds that it took.
begun_and_cancelled(What, Call) ->
    {Micros, {error, timeout}} = timer:tc(Call),
    true = Micros < 5000000,
    receive
        {running, _} ->
            {What, <<"Cancelled">>} = {What, told(ended)},
            Micros
    after 0 ->
        ok = quiet(),
        begun_and_cancelled(What, Call)
    end.

timeout_ends_erlang_call(_Config) ->
    Self = self(),
    ok = py:register_function(ct_never, fun() ->
        Self ! {inside, self()},
        receive after infinity -> ok end
    end),
    {error, timeout} = py:call(ct_cancel, run_call, [Self, ct_never], #{}, 500),
    told(running),
    Inside = told(inside),
    <<"Cancelled">> = told(ended),
    Monitor = monitor(process, Inside),
    receive {'DOWN', Monitor, process, Inside, _} -> ok after ?WITHIN -> ct:fail(alive) end,
    ok = py:unregister_function(ct_never).

%% A busy machine delays anything: one good run of many is enough.  What is late by itself
%% is late in each of them.
timeout_is_prompt(_Config) ->
    {ok, Buf} = py_buffer:new(),
    [ok = is_prompt(Function, Args, 100, [])
     || {Function, Args} <- [{run_spin, [self()]}, {run_read, [self(), Buf, read]}]].

is_prompt(Function, _Args, 0, Late) ->
    ct:fail({Function, late_by_ms, Late});
is_prompt(Function, Args, Left, Before) ->
    Call = fun() -> py:call(ct_cancel, Function, Args, #{}, 100) end,
    case begun_and_cancelled(Function, Call) / 1000 - 100 of
        Late when Late < 10 -> ok;
        Late -> is_prompt(Function, Args, Left - 1, [Late | Before])
    end.

timeout_needs_no_gil(_Config) ->
    ok = erlpy_ct:needs_gil(),
    {Took, {error, timeout}} = erlpy_ct:timed(fun() ->
        py:call(ct_cancel, run_hold_gil, [self(), 2000000], #{}, 500)
    end),
    told(running),
    true = Took < 1500,
    %% Others wait for the GIL, and answer in time all the same.
    {Other, {error, timeout}} = erlpy_ct:timed(fun() -> py:eval("1", #{}, 200) end),
    true = Other < 1000.

timeout_of_eval_and_exec(_Config) ->
    {error, timeout} = py:eval("sum(1 for _ in iter(int, 1))", #{}, 200),
    {ok, Buf} = py_buffer:new(),
    {error, timeout} = py:eval("buf.read()", #{buf => Buf}, 100),
    ok = py_buffer:close(Buf),
    {ok, Context} = py_context:new(),
    ok = py:exec(Context, "reached = 0"),
    {error, timeout} = py:exec(Context, "reached = 1\nwhile True: pass\nreached = 2", 100),
    {ok, 1} = py:eval(Context, "reached"),
    ok = py_context:destroy(Context),
    ok = quiet().

timeout_zero(_Config) ->
    [{error, timeout} = py:call(ct_cancel, spin, [], #{}, 0) || _ <- lists:seq(1, 100)],
    ok = quiet().

timed_out_call_leaves_the_queue(_Config) ->
    {ok, Context} = py_context:new(),
    Sleeper = py:spawn_call(Context, ct_cancel, run_sleep, [self(), 3]),
    told(running),
    Self = self(),
    [spawn(fun() -> Self ! {late, py:call(Context, ct_calls, note, [late], #{}, 1000)} end)
     || _ <- lists:seq(1, 50)],
    ok = erlpy_ct:eventually(fun() -> info(queued) =:= 50 end),
    [{error, timeout} = told(late) || _ <- lists:seq(1, 50)],
    %% The one that runs still sleeps.
    0 = info(queued),
    {error, timeout} = py:await(Sleeper, 0),
    {ok, none} = py:await(Sleeper),
    <<"returned">> = told(ended),
    {ok, Noted} = py:call(ct_calls, noted, []),
    false = lists:member(<<"late">>, Noted),
    ok = py_context:destroy(Context).

await_cancels_nothing(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(ct_cancel, run_read, [self(), Buf, read]),
    told(running),
    [{error, timeout} = py:await(Ref, 20) || _ <- lists:seq(1, 5)],
    ok = py_buffer:write(Buf, <<"later">>),
    ok = py_buffer:close(Buf),
    {ok, <<"later">>} = py:await(Ref),
    <<"returned">> = told(ended).

exceptions_are_not_cancelled(_Config) ->
    {error, timeout} = py:call(ct_cancel, ignore_exceptions, [self()], #{}, 500),
    told(running),
    <<"Cancelled">> = told(ended),
    {ok, {<<"BaseException">>}} =
        py:eval("tuple(b.__name__ for b in __import__('erlang').Cancelled.__bases__)").

finally_is_undisturbed(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {error, timeout} = py:call(ct_cancel, spin_with_finally, [self(), Buf], #{}, 500),
    told(running),
    %% It waits in its finally, and nobody raises there again.
    nothing_told(300),
    ok = py_buffer:write(Buf, <<"line\n">>),
    [<<"line\n">>, 4999950000] = told(ended),
    {ok, First} = py_buffer:new(),
    {error, timeout} = py:call(ct_cancel, read_with_finally, [self(), First, Buf], #{}, 500),
    told(running),
    nothing_told(300),
    ok = py_buffer:write(Buf, <<"second\n">>),
    <<"second\n">> = told(ended),
    %% Held until here: neither was abandoned.
    _ = [ok = py_buffer:close(B) || B <- [First, Buf]],
    ok.

delivered_once_in_waits(_Config) ->
    swallowed_once(swallow_while_reading).

delivered_once_in_code(_Config) ->
    swallowed_once(swallow_while_running).

swallowed_once(Function) ->
    {ok, Buf} = py_buffer:new(),
    {error, timeout} = py:call(ct_cancel, Function, [self(), Buf], #{}, 500),
    told(running),
    <<"Cancelled">> = told(swallowed),
    nothing_told(300),
    ok = py_buffer:write(Buf, <<"more\n">>),
    <<"more\n">> = told(ended),
    ok = quiet().

during_conversion_of_arguments(_Config) ->
    {ok, Context} = py_context:new(),
    List = lists:seq(1, 300000),
    lists:foreach(
        fun(N) ->
            case py:call(Context, builtins, len, [List], #{}, N rem 20) of
                {ok, 300000} -> ok;
                {error, timeout} -> ok
            end,
            {ok, [[N], #{}]} = py:call(Context, ct_calls, arguments, [N])
        end,
        lists:seq(1, 60)
    ),
    ok = py_context:destroy(Context).

%% The exception is left with the interpreter of the call while its thread runs another
%% one; the wait there ends all the same.
wait_in_a_sub_interpreter(_Config) ->
    Code = <<"import erlang.testing, time\n"
             "buffer = erlang.testing.Writer().buffer\n"
             "time.sleep(0.3)\n"
             "buffer.read()\n">>,
    {error, timeout} = py:call(ct_interpreters, run_in_another, [Code], #{}, 50),
    ok = quiet().

recursion_error_stays_an_error(_Config) ->
    {error, {<<"RecursionError">>, _, _}} = py:call(ct_calls, recurse, [], #{}, 10000),
    {error, timeout} = py:call(ct_cancel, recurse_and_spin, [self()], #{}, 1000),
    told(running),
    {error, {<<"RecursionError">>, _, _}} = py:call(ct_calls, recurse, [], #{}, 10000),
    ok = quiet().

%% CPython's lock of a module is lost when a thread that waits for it gets an exception: it
%% gets its cancel when the module is there.
others_wait_for_an_import(Config) ->
    ok = erlpy_ct:needs_gil(),
    Dir = ?config(priv_dir, Config),
    Code = <<"import erlang\nvalue = erlang.call('importing')\ndef get():\n    return value\n">>,
    ok = file:write_file(filename:join(Dir, "ct_slow_module.py"), Code),
    Path = #{d => list_to_binary(Dir)},
    {ok, none} = py:eval("__import__('sys').path.append(d)", Path),
    ok = erlpy_ct:register_waiting(importing),
    First = caller(fun() -> py:call(ct_slow_module, get, []) end),
    Importing = erlpy_ct:running(importing),
    Patient = [caller(fun() -> py:call(ct_slow_module, get, []) end) || _ <- [1, 2, 3]],
    Others = [caller(fun() -> py:call(ct_slow_module, get, [], #{}, 300) end) || _ <- [1, 2, 3]],
    [{error, timeout} = erlpy_ct:answer_of(Caller) || Caller <- Others],
    %% Any further look at those that were cancelled is over.
    timer:sleep(300),
    Importing ! {value, 17},
    [{ok, 17} = erlpy_ct:answer_of(Caller) || Caller <- [First | Patient]],
    {ok, 17} = py:call(ct_slow_module, get, []),
    {ok, none} = py:eval("__import__('sys').path.remove(d)", Path),
    ok = quiet().

%% ---- The death of the caller -------------------------------------------------------------

death_ends_blocked_reads(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    Self = self(),
    Request = [Self, Buf, read],
    Calls = [
        fun() -> py:call(ct_cancel, run_read, Request) end,
        fun() -> py:call(Context, ct_cancel, run_read, Request) end,
        fun() -> py:await(py:spawn_call(ct_cancel, run_read, Request)) end
    ],
    lists:foreach(
        fun(Call) ->
            Caller = caller(Call),
            told(running),
            exit(Caller, kill),
            <<"Cancelled">> = told(ended)
        end,
        Calls
    ),
    %% One that leaves of its own accord, too.
    spawn(fun() -> _ = py:spawn_call(ct_cancel, run_read, Request) end),
    told(running),
    <<"Cancelled">> = told(ended),
    ok = py_context:destroy(Context),
    ok = quiet().

death_ends_running_code(_Config) ->
    {ok, Context} = py_context:new(),
    Self = self(),
    Calls = [
        fun() -> py:call(ct_cancel, run_spin, [Self]) end,
        fun() -> py:call(Context, ct_cancel, run_spin, [Self]) end,
        fun() -> py:call(ct_cancel, run_spin, [Self], #{}, 60000) end
    ],
    lists:foreach(
        fun(Call) ->
            Caller = caller(Call),
            told(running),
            exit(Caller, kill),
            <<"Cancelled">> = told(ended)
        end,
        Calls
    ),
    ok = py_context:destroy(Context),
    ok = quiet().

%% The exception comes when the C function returns.
death_of_a_sleeping_caller_counts(_Config) ->
    Self = self(),
    Caller = caller(fun() -> py:call(ct_cancel, run_sleep, [Self, 2.5]) end),
    told(running),
    timer:sleep(200),
    exit(Caller, kill),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 1 end),
    <<"Cancelled">> = told(ended),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 0 end).

%% What ends is the nested call, not the one that should have.
nested_in_one_that_counts(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py:register_function(nest, fun() -> {ok, 3.0} = py:call(Context, math, sqrt, [9]), ok end),
    {error, timeout} = py:call(Context, ct_cancel, swallow_and_call, [self(), nest], #{}, 500),
    told(running),
    told(called),
    1 = info(stuck),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 0 end),
    %% The next one is counted as well.
    {error, timeout} = py:call(Context, time, sleep, [2.5], #{}, 100),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 1 end),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 0 end),
    ok = py_context:destroy(Context).

death_of_a_queued_caller(_Config) ->
    {ok, Context} = py_context:new(),
    Self = self(),
    Sleeper = py:spawn_call(Context, time, sleep, [0.5]),
    Callers = [caller(fun() -> py:call(Context, ct_cancel, tell, [Self, ran, N]) end)
               || N <- lists:seq(1, 20)],
    ok = erlpy_ct:eventually(fun() -> info(queued) =:= 20 end),
    [exit(Caller, kill) || Caller <- Callers],
    {ok, none} = py:await(Sleeper),
    {ok, 1} = py:eval(Context, "1"),
    nothing_told(0),
    ok = py_context:destroy(Context).

death_leaves_casts_alone(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    Self = self(),
    spawn(fun() ->
        ok = py:cast(Context, ct_cancel, run_sleep, [Self, 0.3]),
        ok = py:cast(Context, ct_cancel, run_read, [Self, Buf, readline])
    end),
    told(running),
    <<"returned">> = told(ended),
    told(running),
    nothing_told(200),
    ok = py_buffer:write(Buf, <<"line\n">>),
    <<"returned">> = told(ended),
    ok = py_context:destroy(Context).

%% ---- Races ----------------------------------------------------------------------------------
%%
%% Jobs end at the very moment of their cancel.  Each notes in Python whether Cancelled
%% arrived while it ran: that must have been one whose call was cancelled, and once.

check_seen(Answers, Expected) ->
    ok = quiet(),
    {ok, Seen} = py:call(ct_cancel, take_seen, []),
    Cancelled = [N || {N, {error, Why}} <- Answers, lists:member(Why, Expected)],
    Good = [N || {N, {ok, M}} <- Answers, M =:= N orelse M =:= [N, <<>>]],
    ct:pal("~b answered, ~b cancelled, ~b of these saw it",
           [length(Good), length(Cancelled), map_size(Seen)]),
    [] = [Answer || {N, _} = Answer <- Answers,
                    not lists:member(N, Good), not lists:member(N, Cancelled)],
    [] = [N || N <- maps:keys(Seen), not lists:member(N, Cancelled)],
    [] = [Times || Times <- maps:values(Seen), Times =/= 1],
    true = Cancelled =/= [],
    true = Good =/= [].

race_timeouts_on_a_context(_Config) ->
    {ok, Context} = py_context:new(),
    Answers = [{N, py:call(Context, ct_cancel, job, [N, rand:uniform(60000), 0], #{},
                           some_timeout(N))}
               || N <- lists:seq(1, 3000)],
    check_seen(Answers, [timeout]),
    ok = py_context:destroy(Context).

%% Every third call is not to be cancelled at all.
some_timeout(N) when N rem 3 =:= 0 -> infinity;
some_timeout(_) -> rand:uniform(3) - 1.

race_timeouts_on_the_pool(_Config) ->
    Self = self(),
    Callers = [spawn_link(fun() ->
        rand:seed(exsss, C),
        Mine = [{N, py:call(ct_cancel, job, [N, rand:uniform(30000), pause()], #{},
                            some_timeout(N))}
                || N <- lists:seq(C * 10000, C * 10000 + 500)],
        Self ! {self(), Mine}
    end) || C <- lists:seq(1, 8)],
    Answers = lists:append([receive {Caller, Mine} -> Mine end || Caller <- Callers]),
    check_seen(Answers, [timeout]).

pause() ->
    case rand:uniform(4) of
        1 -> 0.001;
        _ -> 0
    end.

%% The end of data and the end of the time come together.
race_timeouts_of_reads(_Config) ->
    {ok, Context} = py_context:new(),
    Answers = [begin
        {ok, Buf} = py_buffer:new(),
        Timeout = rand:uniform(3),
        _ = spawn(fun() ->
            busy_wait(rand:uniform(1000 * Timeout + 500)),
            py_buffer:close(Buf)
        end),
        Target = case N rem 2 of 0 -> [Context]; 1 -> [] end,
        Function = case N rem 5 of 0 -> job_swallowing; _ -> job_reading end,
        {N, apply(py, call, Target ++ [ct_cancel, Function, [N, Buf], #{}, Timeout])}
    end || N <- lists:seq(1, 2000)],
    check_seen(Answers, [timeout]),
    ok = py_context:destroy(Context).

%% The data ends the wait just before the token would: the code that goes on is cancelled
%% all the same.
race_data_and_cancel(_Config) ->
    {ok, Context} = py_context:new(),
    lists:foreach(
        fun(_) ->
            {ok, Buf} = py_buffer:new(),
            _ = spawn(fun() ->
                busy_wait(1500 + rand:uniform(1500)),
                py_buffer:write(Buf, <<"line\n">>)
            end),
            {error, timeout} = py:call(Context, ct_cancel, read_then_spin, [Buf], #{}, 2),
            {ok, 1} = py:eval(Context, "1", #{}, ?WITHIN)
        end,
        lists:seq(1, 500)
    ),
    ok = py_context:destroy(Context).

%% Callers die at random moments; the calls of others never notice.
race_deaths(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Never} = py_buffer:new(),
    Answers = [begin
        Victims = [
            spawn(fun() -> py:call(ct_cancel, job, [-N, rand:uniform(200000), 0]) end),
            spawn(fun() -> py:call(Context, ct_cancel, job_reading, [-N, Never]) end),
            spawn(fun() -> py:call(ct_cancel, job_reading, [-N, Never]) end)
        ],
        busy_wait(rand:uniform(3000)),
        [exit(Victim, kill) || Victim <- Victims],
        {N, py:call(Context, ct_cancel, job, [N, 1000, 0])}
    end || N <- lists:seq(1, 400)],
    [] = [Answer || {N, Result} = Answer <- Answers, Result =/= {ok, N}],
    ok = quiet(),
    {ok, Seen} = py:call(ct_cancel, take_seen, []),
    [] = [N || N <- maps:keys(Seen), N > 0],
    ok = py_context:destroy(Context).
