%% Cancels that do not come from the caller: py:interrupt/1, the end of the context, of the
%% application and of the node.
%%
%% After every case six fresh calls succeed.
-module(interrupt_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [
    told/1, nothing_told/1, caller/1, answer_of/1, info/1, quiet/0, busy_wait/1
]).

-define(WITHIN, 10000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, interrupts}, {group, endings}].

groups() ->
    [
        {interrupts, [], [
            interrupt_idle,
            interrupt_running,
            interrupt_blocked,
            interrupt_leaves_the_queue,
            interrupt_again,
            interrupts_do_not_pile_up,
            interrupt_leaves_nothing_for_the_next,
            interrupt_a_cast,
            interrupt_destroyed,
            race_interrupts,
            interrupt_bad_arguments
        ]},
        {endings, [], [
            destroy_ends_running_code,
            destroy_with_queued_calls,
            stop_ends_everything,
            stop_ends_collected_contexts,
            stop_leaves_what_cannot_end,
            stuck_is_counted,
            node_stops_whatever_python_does,
            start_beside_a_lost_gil
        ]}
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% ---- Interrupt ----------------------------------------------------------------------------

interrupt_idle(_Config) ->
    {ok, Context} = py_context:new(),
    [ok = py:interrupt(Context) || _ <- lists:seq(1, 100)],
    {ok, 1} = py:eval(Context, "1"),
    [begin
         ok = py:interrupt(Context),
         {ok, N} = py:eval(Context, "n", #{n => N})
     end || N <- lists:seq(1, 500)],
    ok = py_context:destroy(Context).

interrupt_running(_Config) ->
    {ok, Context} = py_context:new(),
    Self = self(),
    Caller = caller(fun() -> py:call(Context, ct_cancel, run_spin, [Self]) end),
    told(running),
    {Took, ok} = erlpy_ct:timed(fun() -> py:interrupt(Context) end),
    true = Took < 1000,
    {error, interrupted} = answer_of(Caller),
    <<"Cancelled">> = told(ended),
    Ref = py:spawn_call(Context, ct_cancel, run_spin, [Self]),
    told(running),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(Ref, ?WITHIN),
    <<"Cancelled">> = told(ended),
    ok = py_context:destroy(Context).

interrupt_blocked(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    lists:foreach(
        fun(_) ->
            Ref = py:spawn_call(Context, ct_cancel, run_read, [self(), Buf, read]),
            told(running),
            ok = py:interrupt(Context),
            {error, interrupted} = py:await(Ref, ?WITHIN),
            <<"Cancelled">> = told(ended)
        end,
        lists:seq(1, 50)
    ),
    ok = py_context:destroy(Context).

interrupt_leaves_the_queue(_Config) ->
    {ok, Context} = py_context:new(),
    Spinner = py:spawn_call(Context, ct_cancel, run_spin, [self()]),
    Queued = [py:spawn_call(Context, ct_calls, arguments, [N]) || N <- lists:seq(1, 20)],
    told(running),
    20 = info(queued),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(Spinner, ?WITHIN),
    [{ok, [[N], #{}]} = py:await(Ref, ?WITHIN)
     || {N, Ref} <- lists:zip(lists:seq(1, 20), Queued)],
    <<"Cancelled">> = told(ended),
    ok = py_context:destroy(Context).

%% Code that catches BaseException once and goes on.
interrupt_again(_Config) ->
    {ok, Context} = py_context:new(),
    Ref = py:spawn_call(Context, ct_cancel, swallow_and_spin, [self()]),
    told(running),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(Ref, ?WITHIN),
    <<"Cancelled">> = told(swallowed),
    told(running),
    Next = py:spawn_call(Context, ct_calls, arguments, [next]),
    {error, timeout} = py:await(Next, 200),
    ok = py:interrupt(Context),
    <<"Cancelled">> = told(ended),
    {ok, [[<<"next">>], #{}]} = py:await(Next, ?WITHIN),
    ok = py_context:destroy(Context).

%% While nobody can get the GIL, each interrupt is the same wish.
interrupts_do_not_pile_up(_Config) ->
    {ok, Context} = py_context:new(),
    Ref = py:spawn_call(Context, ct_cancel, run_hold_gil, [self(), 2000000]),
    told(running),
    Before = resident_kb(),
    interrupt_times(500000, Context),
    Grown = resident_kb() - Before,
    {error, interrupted} = py:await(Ref, ?WITHIN),
    ct:pal("~b KiB more", [Grown]),
    true = Grown < 4096,
    ok = py_context:destroy(Context),
    ok = quiet().

interrupt_times(0, _Context) ->
    ok;
interrupt_times(Times, Context) ->
    ok = py:interrupt(Context),
    interrupt_times(Times - 1, Context).

resident_kb() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kb]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Kb).

interrupt_leaves_nothing_for_the_next(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    lists:foreach(
        fun(N) ->
            Ref = py:spawn_call(Context, ct_cancel, run_sleep, [self(), 0.01]),
            told(running),
            ok = py:interrupt(Context),
            {error, interrupted} = py:await(Ref, ?WITHIN),
            %% A computing one, and one that waits.
            {ok, N} = py:call(Context, ct_cancel, job, [N, 20000, 0]),
            Reader = py:spawn_call(Context, ct_buffers, invoke, [Buf, readline]),
            ok = py_buffer:write(Buf, <<"x\n">>),
            {ok, <<"x\n">>} = py:await(Reader, ?WITHIN),
            _ = told(ended)
        end,
        lists:seq(1, 50)
    ),
    ok = py_context:destroy(Context).

interrupt_a_cast(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py:cast(Context, ct_cancel, run_spin, [self()]),
    told(running),
    ok = py:interrupt(Context),
    <<"Cancelled">> = told(ended),
    ok = py_context:destroy(Context).

interrupt_destroyed(_Config) ->
    {ok, Context} = py_context:new(),
    Ref = py:spawn_call(Context, ct_cancel, swallow_and_spin, [self()]),
    told(running),
    ok = py_context:destroy(Context),
    {error, destroyed} = py:await(Ref, ?WITHIN),
    <<"Cancelled">> = told(swallowed),
    told(running),
    ok = py:interrupt(Context),
    <<"Cancelled">> = told(ended),
    ok = py:interrupt(Context).

%% Each job that is interrupted at its very end notes in Python whether Cancelled arrived
%% while it ran.
race_interrupts(_Config) ->
    {ok, Context} = py_context:new(),
    Self = self(),
    Callers = [spawn_link(fun() ->
        rand:seed(exsss, C),
        Mine = [{N, py:call(Context, ct_cancel, job, [N, rand:uniform(40000), 0])}
                || N <- lists:seq(C * 10000, C * 10000 + 500)],
        Self ! {self(), Mine}
    end) || C <- lists:seq(1, 4)],
    Interrupter = spawn_link(fun() -> interrupt_until_told(Context) end),
    Answers = lists:append([receive {Caller, Mine} -> Mine end || Caller <- Callers]),
    Interrupter ! stop,
    check_seen_each(Answers),
    ok = py_context:destroy(Context).

interrupt_until_told(Context) ->
    receive
        stop -> ok
    after 0 ->
        busy_wait(rand:uniform(3000)),
        ok = py:interrupt(Context),
        interrupt_until_told(Context)
    end.

%% Two interrupts of one job are two exceptions; but the job was interrupted.
check_seen_each(Answers) ->
    {ok, Seen} = py:call(ct_cancel, take_seen, []),
    Cancelled = [N || {N, {error, interrupted}} <- Answers],
    Good = [N || {N, {ok, M}} <- Answers, M =:= N],
    ct:pal("~b answered, ~b interrupted, ~b saw it",
           [length(Good), length(Cancelled), map_size(Seen)]),
    [] = [N || N <- maps:keys(Seen), not lists:member(N, Cancelled)],
    true = length(Good) + length(Cancelled) =:= length(Answers),
    true = Cancelled =/= [].

interrupt_bad_arguments(_Config) ->
    {ok, Buf} = py_buffer:new(),
    [_ = erlpy_ct:badarg(py, interrupt, [Wrong], 1)
     || Wrong <- [x, self(), make_ref(), Buf, 1, []]].

%% ---- Destroy, stop --------------------------------------------------------------------------

destroy_ends_running_code(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Requests = [{run_spin, [self()]}, {run_read, [self(), Buf, read]}],
    lists:foreach(
        fun({Function, Args}) ->
            {ok, Context} = py_context:new(),
            Ref = py:spawn_call(Context, ct_cancel, Function, Args),
            told(running),
            ok = py_context:destroy(Context),
            {error, destroyed} = py:await(Ref, ?WITHIN),
            <<"Cancelled">> = told(ended)
        end,
        Requests
    ),
    %% Nothing was consumed by the one that was destroyed.
    ok = py_buffer:write(Buf, <<"kept\n">>),
    {ok, <<"kept\n">>} = py:call(ct_buffers, invoke, [Buf, readline]).

destroy_with_queued_calls(_Config) ->
    {ok, Context} = py_context:new(),
    First = py:spawn_call(Context, ct_cancel, run_spin, [self()]),
    Queued = [py:spawn_call(Context, ct_cancel, tell, [self(), ran]) || _ <- lists:seq(1, 100)],
    told(running),
    {Took, ok} = erlpy_ct:timed(fun() -> py_context:destroy(Context) end),
    true = Took < 1000,
    [{error, destroyed} = py:await(Ref, ?WITHIN) || Ref <- [First | Queued]],
    <<"Cancelled">> = told(ended),
    0 = info(queued),
    nothing_told(100).

stop_ends_everything(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Context} = py_context:new(),
    Refs = [
        py:spawn_call(ct_cancel, run_spin, [self()]),
        py:spawn_call(Context, ct_cancel, run_read, [self(), Buf, readline])
    ] ++ [py:spawn_call(ct_cancel, run_read, [self(), Buf, read]) || _ <- lists:seq(1, 50)],
    [told(running) || _ <- Refs],
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    ct:pal("~b ms ~p ~p", [Took, py:info(), erlpy_ct:threads()]),
    true = Took < 1900,
    [{error, stopped} = py:await(Ref, ?WITHIN) || Ref <- Refs],
    [<<"Cancelled">> = told(ended) || _ <- Refs],
    #{started := false, threads := 0, queued := 0, stuck := 0} = py:info(),
    {error, not_started} = py:eval("1"),
    %% Held until here: it was not abandoned.
    ok = py_buffer:close(Buf),
    ok = application:start(erlpy).

%% Nobody holds the term of the context any more, but its code runs.
stop_ends_collected_contexts(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        {ok, Context} = py_context:new(),
        ok = py:cast(Context, ct_cancel, run_read, [Self, Buf, read])
    end),
    receive {'DOWN', Monitor, process, _, normal} -> ok end,
    told(running),
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Took < 1900,
    <<"Cancelled">> = told(ended),
    ok = py_buffer:close(Buf),
    ok = application:start(erlpy).

stop_leaves_what_cannot_end(_Config) ->
    Ref = py:spawn_call(ct_cancel, run_sleep, [self(), 4]),
    told(running),
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    ct:pal("~b ms ~p ~p", [Took, py:info(), erlpy_ct:threads()]),
    true = Took < 3000,
    {error, stopped} = py:await(Ref, ?WITHIN),
    #{started := false, threads := 1} = py:info(),
    %% It starts beside that one, and what was left is not waited for again.
    ok = application:start(erlpy),
    ok = erlpy_ct:still_works(),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 1 end),
    {Again, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Again < 1900,
    ok = application:start(erlpy),
    <<"Cancelled">> = told(ended),
    ok = quiet().

stuck_is_counted(_Config) ->
    {ok, Context} = py_context:new(),
    {error, timeout} = py:call(ct_cancel, run_sleep, [self(), 2.5], #{}, 300),
    {error, timeout} = py:call(Context, ct_cancel, run_sleep, [self(), 2.5], #{}, 300),
    [told(running) || _ <- [1, 2]],
    0 = info(stuck),
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 2 end),
    ok = py_context:destroy(Context),
    2 = info(stuck),
    [<<"Cancelled">> = told(ended) || _ <- [1, 2]],
    ok = erlpy_ct:eventually(fun() -> info(stuck) =:= 0 end).

node_stops_whatever_python_does(Config) ->
    Cases = [
        "py:spawn_call(time, sleep, [100])",
        "py:spawn_call(ct_cancel, spin, [])",
        "py:spawn_call(ct_cancel, never_return, [self()])",
        "py:spawn_call(ct_cancel, hold_gil_for_ever, [self()])",
        "[py:spawn_call(ct_buffers, invoke, [element(2, py_buffer:new()), read])"
        " || _ <- lists:seq(1, 100)]"
    ],
    lists:foreach(
        fun(Case) ->
            {Took, {0, []}} = runtime_SUITE:end_of_node(Config, ["_ = ", Case], "init:stop()"),
            ct:pal("~s: ~b ms", [Case, Took]),
            true = Took < 6000
        end,
        Cases
    ).

%% Python is lost then, but nothing hangs for it.
start_beside_a_lost_gil(Config) ->
    {Peer, _} = erlpy_ct:peer(?FUNCTION_NAME, #{}),
    There = fun(M, F, A) -> peer:call(Peer, M, F, A, 45000) end,
    ok = There(erlpy_ct, start, [Config, [{start_timeout_ms, 2000}]]),
    {error, timeout} = There(py, call, [ct_cancel, hold_gil_for_ever, [self()], #{}, 500]),
    ok = erlpy_ct:eventually(fun() -> maps:get(stuck, There(py, info, [])) =:= 1 end),
    {error, timeout} = There(py, call, [math, sqrt, [16], #{}, 100]),
    {Stopped, ok} = erlpy_ct:timed(fun() -> There(application, stop, [erlpy]) end),
    true = Stopped < 4000,
    {error, not_started} = There(py, eval, ["1"]),
    {error, {Reason, _}} = There(application, start, [erlpy]),
    true = string:find(io_lib:format("~p", [Reason]), "does not answer") =/= nomatch,
    ok = peer:stop(Peer).
