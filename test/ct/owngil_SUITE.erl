%% Contexts in interpreters with a GIL of their own: what works there.
-module(owngil_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, info/1, eventually/1, caller/1, answer_of/1]).
-import(erlpy_owngil, [has_owngil/0, new/0, interpreter/1]).

-define(WITHIN, 20000).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [bad_options, older_python, {group, interpreters}].

groups() ->
    [
        {interpreters, [], [
            of_its_own,
            other_code_goes_on,
            cancels_beside_held_gil,
            buffer_into_two,
            views_outlive_a_context,
            abort_reaches_it,
            channels,
            channel_between_two,
            messages_and_callbacks,
            reentry,
            chain_across_interpreters,
            coroutines,
            coroutine_cancelled,
            dropped_context_goes_on,
            timeout_of_a_loop,
            timeout_of_a_read,
            death_of_the_caller,
            interrupt,
            destroy_while_it_runs,
            destroy_while_it_reads,
            deep_recursion,
            module_that_cannot_load,
            programs_but_no_fork,
            contexts_of_the_application,
            reactor
        ]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    {ok, _} = py:call(ct_owngil, interpreter, []),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_group(interpreters, Config) ->
    case erlpy_owngil:skip_without() of
        ok -> Config;
        Skip -> Skip
    end.

end_per_group(interpreters, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    erlpy_owngil:begin_case(Config).

end_per_testcase(_Case, Config) ->
    erlpy_owngil:end_case(Config).

%% ---- Arguments -------------------------------------------------------------------------

bad_options(_Config) ->
    "option mode cannot be threads" =
        erlpy_ct:badarg(py_context, new, [#{mode => threads}], 1),
    "size is not an option" = erlpy_ct:badarg(py_context, new, [#{size => 1}], 1),
    "not a map of options" = erlpy_ct:badarg(py_context, new, [owngil], 1),
    "option count cannot be 0" = erlpy_ct:badarg(py, start_contexts, [#{count => 0}], 1),
    "option mode cannot be none" = erlpy_ct:badarg(py, start_contexts, [#{mode => none}], 1),
    {ok, Context} = py_context:new(#{mode => worker}),
    ok = py_context:destroy(Context),
    {ok, Other} = py_context:new(#{mode => auto}),
    ok = py_context:destroy(Other).

older_python(Config) ->
    case has_owngil() of
        true ->
            {skip, "CPython 3.12 or later"};
        false ->
            {error, {not_supported, Text}} = py_context:new(#{mode => owngil}),
            <<"the mode owngil needs CPython 3.12 or later; this is 3.", _/binary>> = Text,
            {error, {not_supported, Text}} = py:start_contexts(#{mode => owngil}),
            ok = application:stop(erlpy),
            ok = application:set_env(erlpy, pool, owngil),
            {error, Reason} = application:start(erlpy),
            true = string:find(io_lib:format("~tp", [Reason]), "need CPython 3.12") =/= nomatch,
            erlpy_ct:start(Config, [{contexts, 2}])
    end.

%% ---- Of its own ---------------------------------------------------------------------------

of_its_own(_Config) ->
    [A, B] = [new(), new()],
    {ok, Main} = py:call(ct_owngil, interpreter, []),
    3 = length(lists:usort([Main, interpreter(A), interpreter(B)])),
    ok = py:exec(A, "import ct_owngil, math\nct_owngil.mark = math.mark = 1\nx = 1"),
    {ok, 2} = py:eval(A, "x + ct_owngil.mark"),
    {ok, [false, false, false]} = py:eval(B,
        "[hasattr(__import__('ct_owngil'), 'mark'), hasattr(__import__('math'), 'mark'),"
        " 'x' in globals()]"),
    {ok, false} = py:eval("hasattr(__import__('math'), 'mark')"),
    {error, {<<"NameError">>, _, _}} = py:eval(B, "x"),
    ok = py_context:destroy(A),
    ok = py_context:destroy(B),
    {error, destroyed} = py:eval(A, "1").

%% While C code keeps the GIL of one for long, others answer.
other_code_goes_on(_Config) ->
    [A, B] = [new(), new()],
    Ref = py:spawn_call(A, ct_owngil, held_for_good, [self()]),
    _ = told(running),
    {ok, _} = py:eval(B, "sum(range(1000))"),
    {ok, _} = py:eval("sum(range(1000))"),
    {error, timeout} = py:await(Ref, 0),
    {ok, true} = py:await(Ref, 60000),
    ok = py_context:destroy(A),
    ok = py_context:destroy(B).

%% The exception for one is not held up by the other, whose GIL cannot be had.
cancels_beside_held_gil(_Config) ->
    [A, B] = [new(), new()],
    Ref = py:spawn_call(A, ct_owngil, held_for_good, [self()]),
    _ = told(running),
    ok = py:interrupt(A),
    {error, interrupted} = py:await(Ref, ?WITHIN),
    [
        begin
            {error, timeout} = py:call(Target, ct_owngil, spin, [self()], #{}, 500),
            _ = told(running),
            <<"Cancelled">> = told(ended)
        end
     || Target <- [B, B]
    ],
    {error, timeout} = py:call(ct_owngil, spin, [self()], #{}, 500),
    _ = told(running),
    <<"Cancelled">> = told(ended),
    ok = py_context:destroy(A),
    ok = py_context:destroy(B).

%% ---- Buffers ---------------------------------------------------------------------------------

%% Each record goes to one of them, whole.
buffer_into_two(_Config) ->
    Contexts = [new(), new()],
    Count = 200000,
    {ok, Buf} = py_buffer:new(#{high_watermark => 65536}),
    Refs = [py:spawn_call(Context, ct_owngil, read_records, [Buf]) || Context <- Contexts],
    _ = [ok = py_buffer:write(Buf, [<<N:64>> || N <- lists:seq(First, First + 99)])
         || First <- lists:seq(0, Count - 1, 100)],
    ok = py_buffer:close(Buf),
    Read = [begin {ok, Numbers} = py:await(Ref, 60000), Numbers end || Ref <- Refs],
    _ = [Numbers = lists:sort(Numbers) || Numbers <- Read],
    All = lists:seq(0, Count - 1),
    All = lists:sort(lists:append(Read)),
    _ = [ok = py_context:destroy(Context) || Context <- Contexts],
    ok.

%% The memory goes with the last view, on a thread of whatever interpreter.
views_outlive_a_context(_Config) ->
    [A, B] = [new(), new()],
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, [<<"abcd">>, binary:copy(<<"x">>, 1 bsl 20)]),
    {ok, <<"abcd">>} = py:call(A, ct_owngil, keep_view, [Buf]),
    {ok, <<"abcd">>} = py:call(B, ct_owngil, keep_view, [Buf]),
    #{views := 2} = py_buffer:info(Buf),
    ok = py_context:destroy(A),
    ok = eventually(fun() -> maps:get(views, py_buffer:info(Buf)) =:= 1 end),
    {ok, <<"abcd">>} = py:call(B, ct_owngil, keep_view, [Buf]),
    ok = py_context:destroy(B),
    ok = eventually(fun() -> maps:get(views, py_buffer:info(Buf)) =:= 0 end).

abort_reaches_it(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(Context, ct_owngil, read_told, [self(), Buf]),
    _ = told(running),
    ok = eventually(fun() -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1 end),
    ok = py_buffer:abort(Buf, lost),
    {error, {<<"BufferAborted">>, _, _}} = py:await(Ref, ?WITHIN),
    <<"BufferAborted">> = told(ended),
    ok = py_context:destroy(Context).

%% ---- Messages -------------------------------------------------------------------------------

channels(_Config) ->
    Context = new(),
    Number = interpreter(Context),
    {ok, Channel} = py_channel:new(),
    Ref = py:spawn_call(Context, ct_owngil, echo, [Channel]),
    _ = [begin
             ok = py_channel:send(Channel, Term),
             {ok, [Number, Term]} = py_channel:recv(Channel, ?WITHIN)
         end || Term <- [1, <<"text">>, [1.5, none], #{<<"a">> => {1, 2}},
                       binary:copy(<<255>>, 5000)]],
    ok = py_channel:close(Channel),
    {ok, 5} = py:await(Ref, ?WITHIN),
    ok = py_context:destroy(Context).

%% Each message goes to one of them.
channel_between_two(_Config) ->
    Contexts = [new(), new()],
    {ok, Channel} = py_channel:new(),
    Refs = [py:spawn_call(Context, ct_owngil, echo, [Channel]) || Context <- Contexts],
    _ = spawn_link(fun() -> [ok = py_channel:send(Channel, N) || N <- lists:seq(1, 2000)] end),
    Sent = [begin {ok, [_, N]} = py_channel:recv(Channel, ?WITHIN), N end
            || _ <- lists:seq(1, 2000)],
    true = lists:sort(Sent) =:= lists:seq(1, 2000),
    ok = py_channel:close(Channel),
    2000 = lists:sum([begin {ok, Count} = py:await(Ref, ?WITHIN), Count end || Ref <- Refs]),
    _ = [ok = py_context:destroy(Context) || Context <- Contexts],
    ok.

messages_and_callbacks(_Config) ->
    Context = new(),
    ok = py:register_function(double, fun(N) -> 2 * N end),
    ok = py:register_function(fails, fun() -> error(on_purpose) end),
    Number = interpreter(Context),
    {ok, [Number, 42]} = py:call(Context, ct_owngil, callback, [double, 21]),
    {error, {<<"ErlangError">>, _, _}} = py:call(Context, ct_owngil, callback, [fails]),
    {ok, none} = py:call(Context, ct_owngil, tell, [self(), <<"word">>, [1]]),
    [1] = told(word),
    ok = py:unregister_function(double),
    ok = py:unregister_function(fails),
    ok = py_context:destroy(Context).

%% A call back on the context whose thread waits runs nested there.
reentry(_Config) ->
    Context = new(),
    Number = interpreter(Context),
    ok = py:register_function(again, fun() -> py:call(Context, ct_owngil, interpreter, []) end),
    {ok, [Number, {<<"ok">>, Number}]} = py:call(Context, ct_owngil, callback, [again]),
    ok = py:unregister_function(again),
    ok = py_context:destroy(Context).

chain_across_interpreters(_Config) ->
    [A, B] = [new(), new()],
    Numbers = [interpreter(B), interpreter(A)],
    ok = py:register_function(to_b, fun() ->
        element(2, py:call(B, ct_owngil, callback, [to_a]))
    end),
    ok = py:register_function(to_a, fun() ->
        element(2, py:call(A, ct_owngil, interpreter, []))
    end),
    {ok, [_, Numbers]} = py:call(A, ct_owngil, callback, [to_b]),
    _ = [ok = py:unregister_function(Name) || Name <- [to_a, to_b]],
    ok = py_context:destroy(A),
    ok = py_context:destroy(B).

%% ---- Coroutines ------------------------------------------------------------------------------

coroutines(_Config) ->
    Context = new(),
    Number = interpreter(Context),
    ok = py:register_function(double, fun(N) -> 2 * N end),
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(Context, ct_owngil, aio, [Buf, double]),
    ok = eventually(fun() -> info(tasks) =:= 1 end),
    ok = py_buffer:write(Buf, <<"line\nrest">>),
    {ok, [Number, <<"line\n">>, 2]} = py:await(Ref, ?WITHIN),
    Refs = [py:spawn_call(Context, asyncio, sleep, [0.05, N]) || N <- lists:seq(1, 500)],
    _ = [{ok, N} = py:await(R, ?WITHIN) || {N, R} <- lists:zip(lists:seq(1, 500), Refs)],
    ok = py:unregister_function(double),
    ok = py_context:destroy(Context),
    ok = eventually(fun() -> info(event_loops) =:= 0 end).

coroutine_cancelled(_Config) ->
    Context = new(),
    {ok, none} = py:call(Context, asyncio, sleep, [0]),
    {error, timeout} = py:call(Context, ct_owngil, wait_for, [self(), 60], #{}, 500),
    _ = told(running),
    <<"CancelledError">> = told(ended),
    Ref = py:spawn_call(Context, ct_owngil, wait_for, [self(), 60]),
    _ = told(running),
    ok = py_context:destroy(Context),
    {error, destroyed} = py:await(Ref, ?WITHIN),
    <<"CancelledError">> = told(ended).

%% Nobody holds its term any more: what was begun comes to its end, and so does the loop.
dropped_context_goes_on(_Config) ->
    Self = self(),
    Caller = spawn(fun() ->
        Ref = py:spawn_call(new(), ct_owngil, wait_for, [Self, 0.5]),
        receive go -> ok end,
        erlang:garbage_collect(),
        Self ! {self(), py:await(Ref, ?WITHIN)}
    end),
    _ = told(running),
    Caller ! go,
    {ok, <<"waited">>} = answer_of(Caller),
    ok = eventually(fun() -> info(event_loops) =:= 0 end).

%% ---- Cancelling -------------------------------------------------------------------------------

timeout_of_a_loop(_Config) ->
    Context = new(),
    {error, timeout} = py:call(Context, ct_owngil, spin, [self()], #{}, 500),
    _ = told(running),
    <<"Cancelled">> = told(ended),
    {ok, 2} = py:eval(Context, "1 + 1"),
    ok = py_context:destroy(Context).

timeout_of_a_read(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    {error, timeout} = py:call(Context, ct_owngil, read_told, [self(), Buf], #{}, 500),
    _ = told(running),
    <<"Cancelled">> = told(ended),
    {ok, 2} = py:eval(Context, "1 + 1"),
    ok = py_context:destroy(Context).

death_of_the_caller(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    Test = self(),
    _ = [
        begin
            Caller = caller(fun() -> py:call(Context, ct_owngil, Function, [Test | Args]) end),
            _ = told(running),
            exit(Caller, kill),
            <<"Cancelled">> = told(ended)
        end
     || {Function, Args} <- [{spin, []}, {read_told, [Buf]}]
    ],
    ok = py_context:destroy(Context).

interrupt(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    _ = [
        begin
            Ref = py:spawn_call(Context, ct_owngil, Function, [self() | Args]),
            _ = told(running),
            ok = py:interrupt(Context),
            {error, interrupted} = py:await(Ref, ?WITHIN),
            <<"Cancelled">> = told(ended)
        end
     || {Function, Args} <- [{spin, []}, {read_told, [Buf]}]
    ],
    ok = py_context:destroy(Context).

destroy_while_it_runs(_Config) ->
    Context = new(),
    Ref = py:spawn_call(Context, ct_owngil, spin, [self()]),
    _ = told(running),
    ok = py_context:destroy(Context),
    {error, destroyed} = py:await(Ref, ?WITHIN),
    <<"Cancelled">> = told(ended).

destroy_while_it_reads(_Config) ->
    Context = new(),
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(Context, ct_owngil, read_told, [self(), Buf]),
    _ = told(running),
    ok = py_context:destroy(Context),
    {error, destroyed} = py:await(Ref, ?WITHIN),
    <<"Cancelled">> = told(ended),
    ok = py_buffer:write(Buf, <<"still good">>),
    {ok, <<"still good">>} = py:eval("b.read_nonblock()", #{b => Buf}).

%% ---- What Python code does ----------------------------------------------------------------------

deep_recursion(_Config) ->
    Context = new(),
    {error, {<<"RecursionError">>, _, _}} = py:call(Context, ct_owngil, recurse, []),
    ok = py_context:destroy(Context).

module_that_cannot_load(_Config) ->
    Context = new(),
    Answer = py:call(Context, ct_owngil, unsupported, []),
    ok = py_context:destroy(Context),
    case Answer of
        {ok, none} ->
            {skip, "all extension modules of this Python load into such interpreters"};
        {ok, [_Name, Text]} ->
            true = string:find(Text, <<"does not support loading in subinterpreters">>) =/= nomatch,
            ok
    end.

programs_but_no_fork(_Config) ->
    Context = new(),
    {ok, <<"42\n">>} = py:call(Context, ct_owngil, run_program, []),
    {error, {<<"RuntimeError">>, _, _}} = py:call(Context, ct_owngil, fork, []),
    ok = py_context:destroy(Context).

%% ---- Of the application ----------------------------------------------------------------

contexts_of_the_application(_Config) ->
    ok = py:stop_contexts(),
    {ok, Contexts} = py:start_contexts(#{count => 3, mode => owngil}),
    3 = length(lists:usort([interpreter(Context) || Context <- Contexts])),
    true = lists:member(py:context(), Contexts),
    %% Those that run are not waited for.
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(hd(Contexts), ct_owngil, read_told, [self(), Buf]),
    _ = told(running),
    {ok, Contexts} = py:start_contexts(#{mode => owngil}),
    ok = py_buffer:close(Buf),
    {ok, <<>>} = py:await(Ref, ?WITHIN),
    ok = py:stop_contexts().

reactor(_Config) ->
    {ok, Reactor} = py_reactor_context:start_link(
        own, owngil, #{app_module => ct_reactor, app_callable => 'Echo'}),
    {Client, Served} = erlpy_reactors:pair(),
    ok = erlpy_reactors:hand(Reactor, Served, #{}),
    ok = gen_tcp:send(Client, <<"over and back">>),
    {ok, <<"over and back">>} = gen_tcp:recv(Client, 13, ?WITHIN),
    ok = gen_tcp:close(Client),
    ok = erlpy_reactors:settled(Reactor),
    ok = erlpy_reactors:stop(Reactor).
