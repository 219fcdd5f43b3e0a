%% py and py_context: every function in every arity, timeouts, contexts, errors.
-module(call_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 20}}].

all() ->
    [{group, calls}, {group, timeouts}, {group, contexts}, {group, failures}, six_calls].

groups() ->
    [
        {calls, [], [
            call_without_context,
            call_with_context,
            names_in_every_form,
            dotted_names,
            keywords,
            eval_every_arity,
            eval_locals_reach_comprehensions,
            eval_keeps_nothing,
            exec_every_arity,
            without_context_it_is_main,
            cast_every_arity,
            spawn_call_every_arity,
            await_again_after_timeout,
            concurrent_calls
        ]},
        {timeouts, [], [
            timeout_zero,
            late_reply_never_arrives,
            queued_cancelled_call_does_not_run,
            timeout_race_leaves_nothing,
            killed_caller
        ]},
        {contexts, [], [
            context_has_its_own_namespace,
            context_main_module,
            context_has_its_own_thread,
            context_keeps_order,
            context_from_many_processes,
            destroy_answers_pending_calls,
            destroyed_context,
            collected_context_ends_its_thread,
            collected_context_runs_what_is_queued,
            start_and_stop_contexts,
            context_of_the_scheduler,
            contexts_work_beside_a_blocked_one
        ]},
        {failures, [], [
            exception_is_three_binaries,
            exceptions_of_odd_kinds,
            syntax_errors,
            missing_names,
            arguments_that_do_not_convert,
            results_that_do_not_convert,
            recursion_error_on_every_thread,
            cast_failure_is_logged,
            bad_arguments_of_py,
            bad_arguments_of_py_context
        ]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% No case leaves a message that nobody waits for.
end_per_testcase(_Case, _Config) ->
    receive Any -> {fail, {stray, Any}} after 0 -> ok end.

%% ---- Calls ---------------------------------------------------------------------------

call_without_context(_Config) ->
    {ok, 4.0} = py:call(math, sqrt, [16]),
    {ok, [[1], #{<<"a">> := 2}]} = py:call(ct_calls, arguments, [1], #{a => 2}),
    {ok, [[1], #{<<"a">> := 2}]} = py:call(ct_calls, arguments, [1], #{a => 2}, 5000),
    {ok, [[], #{}]} = py:call(ct_calls, arguments, [], #{}, infinity).

call_with_context(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, Same} = py_context:new(#{}),
    lists:foreach(
        fun(Module) ->
            {ok, [[1], #{}]} = Module:call(Context, ct_calls, arguments, [1]),
            {ok, [[1], #{<<"a">> := 2}]} =
                Module:call(Context, ct_calls, arguments, [1], #{a => 2}),
            {ok, [[1], #{<<"a">> := 2}]} =
                Module:call(Same, ct_calls, arguments, [1], #{a => 2}, 5000),
            {ok, [[1], #{<<"a">> := 2}]} =
                Module:call(Same, ct_calls, arguments, [1], #{a => 2}, infinity)
        end,
        [py, py_context]
    ),
    [ok = py_context:destroy(C) || C <- [Context, Same]].

names_in_every_form(_Config) ->
    [{ok, 4.0} = py:call(M, F, [16])
     || M <- [math, <<"math">>, "math"], F <- [sqrt, <<"sqrt">>, "sqrt", ["sq", $r, <<"t">>]]],
    %% A name that means a value in data is a name here.
    ok = py:exec("import types, sys\nsys.modules['none'] = types.SimpleNamespace(true=lambda: 1)"),
    {ok, 1} = py:call(none, true, []),
    ok = py:exec("def grüße(): return 'wörld'"),
    {ok, <<"wörld"/utf8>>} = py:call('__main__', 'grüße', []),
    {ok, <<"wörld"/utf8>>} = py:call('__main__', "grüße", []),
    {ok, <<"wörld"/utf8>>} = py:call('__main__', <<"grüße"/utf8>>, []).

dotted_names(_Config) ->
    {ok, <<"a/b">>} = py:call(os, 'path.join', [<<"a">>, <<"b">>]),
    {ok, <<"a/b">>} = py:call('os.path', join, [<<"a">>, <<"b">>]),
    {ok, [<<"inner">>, 5]} = py:call(ct_calls, 'Thing.Inner.method', [5]),
    {error, {<<"AttributeError">>, _, _}} = py:call(os, 'path.nowhere.join', []),
    {error, {<<"AttributeError">>, _, _}} = py:call(os, '.', []),
    {error, {<<"ModuleNotFoundError">>, _, _}} = py:call('os.nowhere', join, []).

keywords(_Config) ->
    Expected = #{<<"a">> => 1, <<"b">> => 2, <<"ö"/utf8>> => 3},
    {ok, [[], Expected]} =
        py:call(ct_calls, arguments, [], #{a => 1, <<"b">> => 2, 'ö' => 3}),
    {ok, [1, 2, 3]} = py:call(builtins, sorted, [[3, 1, 2]], #{key => none}),
    {error, {<<"TypeError">>, _, _}} = py:call(builtins, sorted, [[]], #{nonsense => 1}),
    {error, {<<"TypeError">>, _, _}} = py:call(ct_calls, arguments, [], #{1 => 1}).

eval_every_arity(_Config) ->
    {ok, Context} = py_context:new(),
    {ok, 3} = py:eval("1 + 2"),
    {ok, 3} = py:eval(<<"1 + 2">>),
    {ok, 3} = py:eval(["1", <<" +">>, [$\s, "2"]]),
    {ok, 3} = py:eval("  1 + 2"),
    {ok, 5} = py:eval("a + b", #{a => 2, <<"b">> => 3}),
    {ok, 5} = py:eval("a + b", #{a => 2, b => 3}, 5000),
    {ok, 5} = py:eval("a + b", #{a => 2, b => 3}, infinity),
    [begin
        {ok, 3} = Module:eval(Context, "1 + 2"),
        {ok, 5} = Module:eval(Context, "a + b", #{a => 2, b => 3}),
        {ok, 5} = Module:eval(Context, "a + b", #{a => 2, b => 3}, 5000)
     end || Module <- [py, py_context]],
    {ok, <<"ü"/utf8>>} = py:eval("'ü'"),
    ok = py_context:destroy(Context).

eval_locals_reach_comprehensions(_Config) ->
    {ok, [2, 4, 6]} = py:eval("[x * k for x in xs]", #{k => 2, xs => [1, 2, 3]}),
    {ok, [2, 4, 6]} = py:eval("(lambda: [x * k for x in xs])()", #{k => 2, xs => [1, 2, 3]}),
    {ok, 7} = py:eval("(lambda: (lambda: k)())()", #{k => 7}).

eval_keeps_nothing(_Config) ->
    {ok, 1} = py:eval("ct_local", #{ct_local => 1}),
    {error, {<<"NameError">>, _, _}} = py:eval("ct_local"),
    %% A local hides a global for this once.
    ok = py:exec("ct_shadowed = 'global'"),
    {ok, <<"local">>} = py:eval("ct_shadowed", #{ct_shadowed => <<"local">>}),
    {ok, <<"global">>} = py:eval("ct_shadowed").

exec_every_arity(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py:exec("ct_exec = 1"),
    ok = py:exec([<<"ct_exec ">>, "+= 1\n", "ct_exec += 1"]),
    {ok, 3} = py:eval("ct_exec"),
    [begin
        ok = Module:exec(Context, "here = 1"),
        ok = Module:exec(Context, "here += 1", 5000),
        ok = Module:exec(Context, "here += 1", infinity),
        {ok, 3} = Module:eval(Context, "here")
     end || Module <- [py, py_context]],
    ok = py_context:destroy(Context).

without_context_it_is_main(_Config) ->
    ok = py:exec("def ct_defined(): return __name__"),
    {ok, <<"__main__">>} = py:call('__main__', ct_defined, []),
    {ok, true} = py:eval("__import__('sys').modules['__main__'].ct_defined is ct_defined").

cast_every_arity(_Config) ->
    {ok, Context} = py_context:new(),
    Self = self(),
    ok = py:cast(ct_calls, send, [Self, 1]),
    ok = py:cast(ct_calls, send, [], #{pid => Self, value => 2}),
    ok = py:cast(Context, ct_calls, send, [Self, 3]),
    ok = py:cast(Context, ct_calls, send, [Self], #{value => 4}),
    [receive N -> ok end || N <- [1, 2, 3, 4]],
    %% Whatever it returns is no concern of anybody.
    ok = py:cast(builtins, object, []),
    ok = py_context:destroy(Context).

spawn_call_every_arity(_Config) ->
    {ok, Context} = py_context:new(),
    One = py:spawn_call(ct_calls, arguments, [1]),
    Two = py:spawn_call(ct_calls, arguments, [2], #{a => 1}),
    Three = py:spawn_call(Context, ct_calls, arguments, [3]),
    Four = py:spawn_call(Context, ct_calls, arguments, [4], #{a => 1}),
    Five = py:spawn_call(ct_calls, fail, [<<"no">>]),
    %% Awaited in any order, or received by hand.
    {ok, [[4], #{<<"a">> := 1}]} = py:await(Four),
    {ok, [[3], #{}]} = py:await(Three, 5000),
    {ok, [[2], #{<<"a">> := 1}]} = py:await(Two, infinity),
    receive {py_response, One, {ok, [[1], #{}]}} -> ok end,
    {error, {<<"ValueError">>, <<"no">>, _}} = py:await(Five),
    ok = py_context:destroy(Context).

await_again_after_timeout(_Config) ->
    Ref = py:spawn_call(ct_calls, slow, [0.3, done]),
    {error, timeout} = py:await(Ref, 0),
    {error, timeout} = py:await(Ref, 10),
    {ok, <<"done">>} = py:await(Ref).

concurrent_calls(_Config) ->
    Parent = self(),
    Callers = [
        spawn_link(fun() ->
            Answers = [py:call(ct_calls, arguments, [N, I]) || I <- lists:seq(1, 20)],
            Expected = [{ok, [[N, I], #{}]} || I <- lists:seq(1, 20)],
            Parent ! {self(), Answers =:= Expected}
        end)
     || N <- lists:seq(1, 100)
    ],
    [receive {Caller, Right} -> true = Right end || Caller <- Callers],
    ok.

%% ---- Timeouts -----------------------------------------------------------------------------

timeout_zero(_Config) ->
    {ok, Context} = py_context:new(),
    {error, timeout} = py:call(Context, ct_calls, slow, [0.05, 1], #{}, 0),
    {error, timeout} = py:eval(Context, "__import__('time').sleep(0.05)", #{}, 0),
    {error, timeout} = py:exec(Context, "__import__('time').sleep(0.05)", 0),
    {ok, 1} = py:call(Context, ct_calls, slow, [0, 1]),
    ok = py_context:destroy(Context).

late_reply_never_arrives(_Config) ->
    {ok, Context} = py_context:new(),
    {error, timeout} = py:call(ct_calls, slow, [0.3, pool], #{}, 20),
    {error, timeout} = py:call(Context, ct_calls, slow, [0.3, context], #{}, 20),
    {error, timeout} = py:eval("__import__('time').sleep(0.3)", #{}, 20),
    %% The context is free again only after the late answer was made.
    {ok, 1} = py:eval(Context, "1"),
    receive Any -> ct:fail({stray, Any}) after 500 -> ok end,
    ok = py_context:destroy(Context).

queued_cancelled_call_does_not_run(_Config) ->
    {ok, Context} = py_context:new(),
    Before = py:spawn_call(Context, ct_calls, slow, [0.3, 1]),
    {error, timeout} = py:call(Context, ct_calls, note, [<<"must not run">>], #{}, 20),
    {error, timeout} = py:exec(Context, "must_not = 'run'", 20),
    {ok, 1} = py:await(Before),
    {error, {<<"NameError">>, _, _}} = py:eval(Context, "must_not"),
    {ok, Noted} = py:call(ct_calls, noted, []),
    false = lists:member(<<"must not run">>, Noted),
    ok = py_context:destroy(Context).

%% Answers and timeouts that meet: either way nothing is left over.
timeout_race_leaves_nothing(_Config) ->
    {ok, Context} = py_context:new(),
    Answers = [py:eval(Context, "__import__('time').sleep(0.001)", #{}, 1)
               || _ <- lists:seq(1, 300)],
    Count = fun(A) -> length([1 || X <- Answers, X =:= A]) end,
    ct:pal("~b in time, ~b late", [Count({ok, none}), Count({error, timeout})]),
    300 = Count({ok, none}) + Count({error, timeout}),
    {ok, 1} = py:eval(Context, "1"),
    receive Any -> ct:fail({stray, Any}) after 50 -> ok end,
    ok = py_context:destroy(Context).

killed_caller(_Config) ->
    {ok, Context} = py_context:new(),
    Callers = [spawn(fun() -> py:call(Context, ct_calls, slow, [0.02, N]) end)
               || N <- lists:seq(1, 20)],
    timer:sleep(30),
    [exit(Caller, kill) || Caller <- Callers],
    {ok, 1} = py:eval(Context, "1"),
    ok = py_context:destroy(Context).

%% ---- Contexts --------------------------------------------------------------------------------

context_has_its_own_namespace(_Config) ->
    {ok, One} = py_context:new(),
    {ok, Two} = py_context:new(),
    ok = py:exec(One, "name = 'one'"),
    ok = py:exec(Two, "name = 'two'"),
    {ok, <<"one">>} = py:eval(One, "name"),
    {ok, <<"two">>} = py:eval(Two, "name"),
    {error, {<<"NameError">>, _, _}} = py:eval("name"),
    %% What is kept was defined by exec; modules are common to all.
    ok = py:exec(One, "import ct_calls; ct_calls.common = 5"),
    {ok, 5} = py:eval(Two, "__import__('ct_calls').common"),
    [ok = py_context:destroy(C) || C <- [One, Two]].

context_main_module(_Config) ->
    {ok, One} = py_context:new(),
    {ok, Two} = py_context:new(),
    ok = py:exec(One, "def handler(x, y=0): return [name, x, y]\nname = 'one'"),
    {ok, [<<"one">>, 1, 2]} = py:call(One, '__main__', handler, [1], #{y => 2}),
    {ok, [<<"one">>, 1, 0]} = py_context:call(One, <<"__main__">>, "handler", [1]),
    {error, {<<"AttributeError">>, _, _}} = py:call(Two, '__main__', handler, [1]),
    {error, {<<"AttributeError">>, _, _}} = py:call('__main__', handler, [1]),
    {ok, <<"__main__">>} = py:eval(One, "__name__"),
    [ok = py_context:destroy(C) || C <- [One, Two]].

context_has_its_own_thread(_Config) ->
    Contexts = [element(2, py_context:new()) || _ <- lists:seq(1, 5)],
    Idents = [ident(Context) || Context <- Contexts],
    5 = length(lists:usort(Idents)),
    %% Always the same, whoever asks.
    Parent = self(),
    lists:foreach(
        fun(_) ->
            spawn_link(fun() -> Parent ! [ident(Context) || Context <- Contexts] end),
            receive Again -> Idents = Again end
        end,
        lists:seq(1, 10)
    ),
    ok = py:exec(hd(Contexts), "import threading\nkept = threading.local()\nkept.value = 1"),
    {ok, 1} = py:eval(hd(Contexts), "kept.value"),
    [ok = py_context:destroy(C) || C <- Contexts].

ident(Context) ->
    {ok, Ident} = py:call(Context, ct_calls, ident, []),
    Ident.

context_keeps_order(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py:exec(Context, "seen = []"),
    Refs = [py:spawn_call(Context, '__main__', 'seen.append', [N]) || N <- lists:seq(1, 500)],
    [{ok, none} = py:await(Ref) || Ref <- Refs],
    {ok, Seen} = py:eval(Context, "seen"),
    Seen = lists:seq(1, 500),
    ok = py_context:destroy(Context).

context_from_many_processes(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py:exec(Context, "count = 0\ndef add():\n global count\n count += 1"),
    Parent = self(),
    Callers = [spawn_link(fun() ->
                   [{ok, none} = py:call(Context, '__main__', add, []) || _ <- lists:seq(1, 50)],
                   Parent ! self()
               end) || _ <- lists:seq(1, 20)],
    [receive Caller -> ok end || Caller <- Callers],
    {ok, 1000} = py:eval(Context, "count"),
    ok = py_context:destroy(Context).

destroy_answers_pending_calls(_Config) ->
    {ok, Context} = py_context:new(),
    Refs = [py:spawn_call(Context, ct_calls, slow, [0.4, N]) || N <- lists:seq(1, 5)],
    timer:sleep(50),
    {Took, ok} = erlpy_ct:timed(fun() -> py_context:destroy(Context) end),
    true = Took < 300,
    [{error, destroyed} = py:await(Ref) || Ref <- Refs],
    receive Any -> ct:fail({stray, Any}) after 600 -> ok end.

destroyed_context(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py_context:destroy(Context),
    ok = py_context:destroy(Context),
    Destroyed = {error, destroyed},
    Destroyed = py:call(Context, math, sqrt, [16]),
    Destroyed = py:call(Context, math, sqrt, [16], #{}, 1000),
    Destroyed = py:eval(Context, "1"),
    Destroyed = py:exec(Context, "1"),
    Destroyed = py:cast(Context, math, sqrt, [16]),
    Destroyed = py:spawn_call(Context, math, sqrt, [16]).

collected_context_ends_its_thread(_Config) ->
    %% Those of earlier cases may still have been in a sleep.
    timer:sleep(500),
    Before = length(erlpy_ct:threads()),
    {_, Monitor} = spawn_monitor(fun() ->
        Contexts = [element(2, py_context:new()) || _ <- lists:seq(1, 20)],
        ok = erlpy_ct:eventually(fun() ->
            length([Name || Name <- erlpy_ct:threads(), Name =:= <<"erlpy_context">>]) >= 20
        end),
        [{ok, 1} = py:eval(Context, "1") || Context <- Contexts]
    end),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end,
    ok = erlpy_ct:eventually(fun() -> length(erlpy_ct:threads()) =< Before end).

collected_context_runs_what_is_queued(_Config) ->
    Self = self(),
    spawn(fun() ->
        {ok, Context} = py_context:new(),
        [ok = py:cast(Context, ct_calls, slow_send, [Self, 0.05, N]) || N <- [1, 2, 3]]
    end),
    [receive N -> ok after 5000 -> ct:fail({not_run, N}) end || N <- [1, 2, 3]],
    ok.

start_and_stop_contexts(_Config) ->
    ok = py:stop_contexts(),
    {ok, [One, Two] = Both} = py:start_contexts(2),
    {ok, Both} = py:start_contexts(2),
    {ok, Both} = py:start_contexts(),
    One = py:context(1),
    Two = py:context(2),
    true = lists:member(py:context(), Both),
    Pending = py:spawn_call(One, ct_calls, slow, [0.3, 1]),
    ok = py:stop_contexts(),
    ok = py:stop_contexts(),
    {error, destroyed} = py:await(Pending),
    {error, destroyed} = py:eval(Two, "1"),
    %% They start again on demand, as many as the setting says.
    Context = py:context(),
    {ok, 1} = py:eval(Context, "1"),
    {ok, Default} = py:start_contexts(),
    true = length(Default) =:= erlang:system_info(schedulers_online),
    ok = py:stop_contexts().

context_of_the_scheduler(_Config) ->
    ok = py:stop_contexts(),
    {ok, Contexts} = py:start_contexts(1),
    Contexts = [py:context()],
    Parent = self(),
    [spawn_link(fun() -> Parent ! py:context() end) || _ <- lists:seq(1, 20)],
    [receive Context -> [Context] = Contexts end || _ <- lists:seq(1, 20)],
    ok = py:stop_contexts().

contexts_work_beside_a_blocked_one(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Blocked = [element(2, py_context:new()) || _ <- lists:seq(1, 10)],
    Refs = [py:spawn_call(Context, ct_buffers, invoke, [Buf, readline]) || Context <- Blocked],
    {ok, Free} = py_context:new(),
    [{ok, 1} = py:eval(Free, "1") || _ <- lists:seq(1, 100)],
    [{ok, 1} = py:eval("1") || _ <- lists:seq(1, 100)],
    ok = py_buffer:close(Buf),
    [{ok, <<>>} = py:await(Ref) || Ref <- Refs],
    [ok = py_context:destroy(Context) || Context <- [Free | Blocked]].

%% ---- Failures ---------------------------------------------------------------------------------

exception_is_three_binaries(_Config) ->
    {error, {<<"ValueError">>, <<"wörd"/utf8>>, Traceback}} =
        py:call(ct_calls, fail, [<<"wörd"/utf8>>]),
    true = string:prefix(Traceback, "Traceback (most recent call last):\n") =/= nomatch,
    [_ | _] = string:find(unicode:characters_to_list(Traceback), "in fail"),
    [_ | _] = string:find(unicode:characters_to_list(Traceback), "ct_calls.py"),
    [_ | _] = string:find(unicode:characters_to_list(Traceback), "ValueError: wörd"),
    {error, {<<"ZeroDivisionError">>, _, _}} = py:eval("1 / 0"),
    {error, {<<"KeyError">>, <<"'k'">>, Chain}} =
        exec_error("try:\n  1 / 0\nexcept Exception:\n  raise KeyError('k')"),
    true = string:find(Chain, "ZeroDivisionError") =/= nomatch.

exec_error(Code) ->
    {error, {_, _, _}} = py:exec(Code).

exceptions_of_odd_kinds(_Config) ->
    {error, {<<"Unprintable">>, Text, _}} = py:call(ct_calls, fail_unprintable, []),
    true = is_binary(Text),
    {error, {<<"ValueError">>, Surrogate, Traceback}} =
        py:call(ct_calls, fail_with_surrogate, []),
    [true = is_list(unicode:characters_to_list(B)) || B <- [Surrogate, Traceback]],
    {error, {<<"ExceptionGroup">>, _, _}} = py:exec("raise ExceptionGroup('g', [ValueError()])"),
    {error, {<<"GeneratorExit">>, <<>>, _}} = py:exec("raise GeneratorExit").

syntax_errors(_Config) ->
    {error, {<<"SyntaxError">>, _, _}} = py:eval("1 +"),
    {error, {<<"SyntaxError">>, _, _}} = py:eval("x = 1"),
    {error, {<<"SyntaxError">>, _, _}} = py:eval(""),
    {error, {<<"IndentationError">>, _, _}} = py:exec("if True:\npass"),
    {error, {_, _, _}} = py:eval(<<"1\0">>),
    ok = py:exec("").

missing_names(_Config) ->
    {error, {<<"ModuleNotFoundError">>, _, _}} = py:call(no_such_module, f, []),
    {error, {<<"AttributeError">>, _, _}} = py:call(math, no_such_function, []),
    {error, {<<"TypeError">>, _, _}} = py:call(math, pi, []),
    {error, {<<"UnicodeDecodeError">>, _, _}} = py:call(<<255>>, f, []),
    {error, {_, _, _}} = py:call('', f, []),
    {error, {_, _, _}} = py:call(math, '', []),
    {error, {_, _, _}} = py:call('.math', sqrt, [1]),
    {error, {_, _, _}} = py:call('math.', sqrt, [1]).

arguments_that_do_not_convert(_Config) ->
    Fun = fun() -> ok end,
    {error, {not_convertible, Text}} = py:call(ct_calls, arguments, [Fun]),
    true = string:find(Text, "fun") =/= nomatch,
    {error, {not_convertible, <<"an improper list">>}} = py:call(math, sqrt, [1 | 2]),
    {error, {not_convertible, _}} = py:call(ct_calls, arguments, [], #{a => Fun}),
    {error, {not_convertible, _}} = py:eval("a", #{a => Fun}),
    {error, {not_convertible, _}} = py:call(ct_calls, note, [[1 | 2]]),
    {ok, Noted} = py:call(ct_calls, noted, []),
    false = lists:member([1 | 2], Noted).

results_that_do_not_convert(_Config) ->
    {error, {not_convertible, Text}} = py:eval("object()"),
    true = string:find(Text, "object") =/= nomatch,
    {error, {not_convertible, _}} = py:eval("[1, {'a': {'b': len}}]"),
    %% What Python raises itself stays an exception, whatever its type.
    {error, {<<"NotConvertibleError">>, <<"mine">>, _}} =
        py:exec("import erlang\nraise erlang.NotConvertibleError('mine')"),
    ok = py:exec("object()").

recursion_error_on_every_thread(_Config) ->
    {ok, Context} = py_context:new(),
    ok = py:exec(
        "import threading, ct_calls\n"
        "def ct_in_thread():\n"
        "    got = []\n"
        "    def run():\n"
        "        try: ct_calls.recurse()\n"
        "        except RecursionError: got.append(True)\n"
        "    thread = threading.Thread(target=run)\n"
        "    thread.start(); thread.join()\n"
        "    return got == [True]\n"
    ),
    {error, {<<"RecursionError">>, _, _}} = py:call(ct_calls, recurse, []),
    {error, {<<"RecursionError">>, _, _}} = py:call(Context, ct_calls, recurse, []),
    {ok, true} = py:call('__main__', ct_in_thread, []),
    %% Recursion through C as well.
    {error, {<<"RecursionError">>, _, _}} =
        py:exec("class R:\n  def __repr__(self): return repr(self)\nrepr(R())"),
    ok = py_context:destroy(Context).

cast_failure_is_logged(_Config) ->
    {ok, Context} = py_context:new(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    try
        ok = py:cast(ct_calls, fail, [<<"of the pool">>]),
        receive {logged, error, Pool} -> true = has(Pool, "ValueError: of the pool") end,
        ok = py:cast(Context, ct_calls, fail, [<<"of a context">>]),
        receive {logged, error, Own} -> true = has(Own, "ValueError: of a context") end,
        ok = py:cast(ct_calls, note, [fun() -> ok end]),
        receive {logged, error, Conversion} -> true = has(Conversion, "not_convertible") end
    after
        logger:remove_handler(?MODULE)
    end,
    ok = py_context:destroy(Context).

has(Text, Part) ->
    string:find(Text, Part) =/= nomatch.

%% As a handler of logger.
log(#{level := Level, msg := {Format, Args}}, #{config := Pid}) when is_list(Format) ->
    Pid ! {logged, Level, lists:flatten(io_lib:format(Format, Args))};
log(_Event, _Config) ->
    ok.

bad_arguments_of_py(_Config) ->
    {ok, C} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    Ref = make_ref(),
    Cases = [
        {call, 1, [17, sqrt, [1]]}, {call, 2, [math, 17, [1]]}, {call, 3, [math, sqrt, x]},
        {call, 1, [#{}, sqrt, [1]]}, {call, 1, [[math], sqrt, [1]]}, {call, 1, [17, x, x]},
        {call, 4, [math, sqrt, [1], []]}, {call, 4, [math, sqrt, [1], x]},
        {call, 1, [self(), math, sqrt, [1]]}, {call, 2, [C, 17, sqrt, [1]]},
        {call, 3, [C, math, 17, [1]]}, {call, 4, [C, math, sqrt, x]},
        {call, 1, [Ref, math, sqrt, [1]]}, {call, 1, [Buf, math, sqrt, [1]]},
        {call, 5, [math, sqrt, [1], #{}, soon]}, {call, 5, [math, sqrt, [1], #{}, -1]},
        {call, 5, [math, sqrt, [1], #{}, 1.5]}, {call, 5, [math, sqrt, [1], #{}, 1 bsl 32]},
        {call, 4, [math, sqrt, [1], x, 5]}, {call, 5, [C, math, sqrt, [1], x]},
        {call, 1, [Ref, math, sqrt, [1], #{}]}, {call, 1, [x, math, sqrt, [1], #{}, 5]},
        {call, 6, [C, math, sqrt, [1], #{}, soon]}, {call, 4, [C, math, sqrt, x, #{}, 5]},
        {call, 1, [Ref, math, sqrt, [1], #{}, 5]},
        {eval, 1, [17]}, {eval, 1, [x]}, {eval, 1, [<<255>>]}, {eval, 1, [[1 | 2]]},
        {eval, 2, ["1", x]}, {eval, 2, [C, 17]}, {eval, 1, [Ref, "1"]}, {eval, 1, [Buf, "1"]},
        {eval, 3, ["1", #{}, soon]}, {eval, 2, ["1", [], 5]}, {eval, 3, [C, "1", x]},
        {eval, 4, [C, "1", #{}, soon]}, {eval, 1, [x, "1", #{}, 5]},
        {exec, 1, [17]}, {exec, 1, [<<255>>]}, {exec, 2, [C, 17]}, {exec, 1, [Ref, "1"]},
        {exec, 1, [x, "1"]}, {exec, 3, [C, "1", soon]}, {exec, 1, [x, "1", 5]},
        {cast, 1, [17, f, []]}, {cast, 2, [m, 17, []]}, {cast, 3, [m, f, x]},
        {cast, 4, [m, f, [], x]}, {cast, 1, [Ref, m, f, []]}, {cast, 4, [C, m, f, x]},
        {cast, 1, [x, m, f, [], #{}]}, {cast, 5, [C, m, f, [], x]},
        {spawn_call, 1, [17, f, []]}, {spawn_call, 2, [m, 17, []]}, {spawn_call, 3, [m, f, x]},
        {spawn_call, 4, [m, f, [], x]}, {spawn_call, 1, [Ref, m, f, []]},
        {spawn_call, 4, [C, m, f, x]}, {spawn_call, 1, [x, m, f, [], #{}]},
        {spawn_call, 5, [C, m, f, [], x]},
        {await, 1, [x]}, {await, 1, [x, 5]}, {await, 2, [Ref, soon]}, {await, 2, [Ref, -1]},
        {start_contexts, 1, [0]}, {start_contexts, 1, [many]}, {start_contexts, 1, [1 bsl 40]},
        {context, 1, [0]}, {context, 1, [1000000]}, {context, 1, [x]}, {context, 1, [1.0]}
    ],
    Wrong = wrong_arguments(py, Cases),
    [] = Wrong,
    ok = py_context:destroy(C),
    erlpy_ct:still_works().

wrong_arguments(Module, Cases) ->
    lists:flatmap(
        fun({Function, N, Args}) ->
            try erlpy_ct:badarg(Module, Function, Args, N) of
                _Text -> []
            catch
                _:Why -> [{Function, N, Args, Why}]
            end
        end,
        Cases
    ).

bad_arguments_of_py_context(_Config) ->
    {ok, C} = py_context:new(),
    Ref = make_ref(),
    Cases = [
        {new, 1, [x]}, {new, 1, [#{unknown => 1}]}, {new, 1, [[]]},
        {destroy, 1, [x]}, {destroy, 1, [Ref]}, {destroy, 1, [self()]},
        {call, 1, [x, m, f, []]}, {call, 1, [Ref, m, f, []]}, {call, 2, [C, 17, f, []]},
        {call, 3, [C, m, 17, []]}, {call, 4, [C, m, f, x]}, {call, 5, [C, m, f, [], x]},
        {call, 6, [C, m, f, [], #{}, soon]}, {call, 1, [x, m, f, [], #{}, 5]},
        {eval, 1, [x, "1"]}, {eval, 1, [Ref, "1"]}, {eval, 2, [C, 17]}, {eval, 3, [C, "1", x]},
        {eval, 4, [C, "1", #{}, soon]}, {eval, 1, [x, "1", #{}, 5]},
        {exec, 1, [x, "1"]}, {exec, 2, [C, 17]}, {exec, 3, [C, "1", soon]}, {exec, 1, [x, "1", 5]}
    ],
    [] = wrong_arguments(py_context, Cases),
    ok = py_context:destroy(C).

six_calls(_Config) ->
    erlpy_ct:still_works().
