%% The runtime: start, stop, settings, and that Python inside the node is the Python that
%% was asked for.
-module(runtime_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 30}}].

all() ->
    [
        version,
        starting_again_changes_nothing,
        start_after_stop_keeps_modules,
        stop_with_blocked_readers,
        stop_with_a_sleeping_call,
        node_stops_with_blocked_readers,
        node_stops_with_a_sleeping_call,
        node_halts_with_blocked_readers,
        every_function_says_not_started,
        setting_contexts,
        setting_spin_us,
        setting_python_path,
        wrong_settings_are_named,
        same_python_as_from_the_shell,
        venv_is_active,
        venv_of_another_python,
        venv_cannot_change_while_running,
        standard_extensions,
        numpy,
        subprocess_return_codes,
        subprocess_terminate,
        ports_still_work,
        python_threads,
        python_exit_does_not_end_the_node,
        module_that_is_taken_away,
        package_in_a_sub_interpreter,
        killed_again_and_again,
        sub_interpreters_end_with_views_and_after_waits,
        hundred_callers,
        idle_runtime_uses_no_cpu,
        six_calls
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% Whatever a case did to the application, the next one finds it running.
init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_testcase(_Case, _Config) ->
    ok.

%% ---- Start and stop ----------------------------------------------------------------

version(_Config) ->
    {ok, Version} = py:version(),
    {ok, Version} = py:call(platform, python_version, []).

starting_again_changes_nothing(_Config) ->
    {ok, []} = application:ensure_all_started(erlpy),
    {error, {already_started, erlpy}} = application:start(erlpy),
    {ok, 2} = py:eval("1 + 1").

start_after_stop_keeps_modules(_Config) ->
    ok = py:exec("import ct_buffers; ct_buffers.mark = 'made before the stop'"),
    lists:foreach(
        fun(_) ->
            ok = application:stop(erlpy),
            {error, not_started} = py:eval("1"),
            ok = application:start(erlpy),
            {ok, <<"made before the stop">>} = py:eval("ct_buffers.mark")
        end,
        lists:seq(1, 10)
    ).

stop_with_blocked_readers(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Context} = py_context:new(),
    OnContext = py:spawn_call(Context, ct_buffers, read_after_word, [self(), 1, Buf]),
    OnPool = py:spawn_call(ct_buffers, read_after_word, [self(), 2, Buf]),
    [receive {reading, Tag} -> ok end || Tag <- [1, 2]],
    stops_within(4000),
    {error, stopped} = py:await(OnContext),
    {error, stopped} = py:await(OnPool),
    {error, destroyed} = py:eval(Context, "1"),
    ok = application:start(erlpy),
    ok = erlpy_ct:still_works(),
    %% Their threads end as soon as the data does, and answer nobody.
    ok = py_buffer:close(Buf),
    receive Any -> ct:fail({stray, Any}) after 200 -> ok end.

stop_with_a_sleeping_call(_Config) ->
    Ref = py:spawn_call(time, sleep, [6]),
    timer:sleep(100),
    stops_within(4000),
    {error, stopped} = py:await(Ref),
    ok = application:start(erlpy),
    ok = erlpy_ct:still_works(),
    receive Any -> ct:fail({stray, Any}) after 0 -> ok end.

stops_within(Limit) ->
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    ct:pal("stop took ~b ms", [Took]),
    true = Took < Limit.

node_stops_with_blocked_readers(Config) ->
    node_ends(Config, blocked_readers(), "init:stop()", 6000).

node_stops_with_a_sleeping_call(Config) ->
    node_ends(Config, "_ = py:spawn_call(time, sleep, [60])", "init:stop()", 6000).

node_halts_with_blocked_readers(Config) ->
    node_ends(Config, blocked_readers(), "halt()", 3000).

blocked_readers() ->
    "{ok, B} = py_buffer:new(),"
    "{ok, C} = py_context:new(),"
    "[py:spawn_call(builtins, getattr, [B, read]) || _ <- [1]],"
    "[spawn(fun() -> py:call(ct_buffers, invoke, [B, read]) end) || _ <- [1, 2, 3]],"
    "spawn(fun() -> py:call(C, ct_buffers, invoke, [B, read]) end)".

node_ends(Config, Before, End, Limit) ->
    {Took, {Status, Output}} = end_of_node(Config, Before, End),
    ct:pal("the node took ~b ms to end with ~b~n~p", [Took, Status, Output]),
    {0, []} = {Status, Output},
    true = Took < Limit.

%% {Milliseconds, {ExitStatus, Lines}} of an operating system process: a crash would show.
end_of_node(Config, Before, End) ->
    Eval = [
        "ok = application:load(erlpy),"
        "ok = application:set_env(erlpy, python_path, [\"",
        erlpy_ct:python_dir(Config), "\"]),"
        "{ok, _} = application:ensure_all_started(erlpy),",
        Before, ", timer:sleep(300), io:format(\"ready~n\"), ", End, "."
    ],
    Port = open_port({spawn_executable, os:find_executable("erl")}, [
        {args, ["-noshell", "-pa", filename:dirname(code:which(py)), "-eval", Eval]},
        binary, exit_status, stderr_to_stdout, {line, 1000}
    ]),
    receive {Port, {data, {eol, <<"ready">>}}} -> ok end,
    erlpy_ct:timed(fun() -> port_end(Port, []) end).

port_end(Port, Output) ->
    receive
        {Port, {data, {_, Line}}} -> port_end(Port, [Line | Output]);
        {Port, {exit_status, Status}} -> {Status, Output}
    end.

every_function_says_not_started(_Config) ->
    {ok, Context} = py_context:new(),
    ok = application:stop(erlpy),
    NotStarted = {error, not_started},
    NotStarted = py:call(math, sqrt, [16]),
    NotStarted = py:call(math, sqrt, [16], #{}),
    NotStarted = py:call(math, sqrt, [16], #{}, 1000),
    NotStarted = py:eval("1"),
    NotStarted = py:eval("1", #{}),
    NotStarted = py:eval("1", #{}, 1000),
    NotStarted = py:exec("1"),
    NotStarted = py:cast(math, sqrt, [16]),
    NotStarted = py:spawn_call(math, sqrt, [16]),
    NotStarted = py:start_contexts(),
    NotStarted = py:start_contexts(2),
    ok = py:stop_contexts(),
    NotStarted = py_context:new(),
    {'EXIT', {not_started, _}} = (catch py:context()),
    {'EXIT', {not_started, _}} = (catch py:context(1)),
    {error, destroyed} = py:call(Context, math, sqrt, [16]),
    ok = py_context:destroy(Context),
    {ok, _} = py:version(),
    %% A buffer needs no Python until it is read.
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"written before the start">>),
    ok = py_buffer:close(Buf),
    ok = application:start(erlpy),
    {ok, <<"written before the start">>} = py:call(ct_buffers, invoke, [Buf, read]).

%% ---- Settings ------------------------------------------------------------------------

setting_contexts(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 3}]),
    {ok, [_, _, _] = Contexts} = py:start_contexts(),
    {ok, Contexts} = py:start_contexts(),
    ok = py:stop_contexts().

setting_spin_us(Config) ->
    lists:foreach(
        fun(Spin) ->
            ok = erlpy_ct:start(Config, [{spin_us, Spin}]),
            {ok, 3} = py:call(builtins, max, [[1, 3, 2]])
        end,
        [0, 1, 500]
    ).

setting_python_path(Config) ->
    Dirs = [filename:join(?config(priv_dir, Config), Name) || Name <- ["one", "tw\x{f6}"]],
    lists:foreach(
        fun({Dir, Value}) ->
            ok = filelib:ensure_path(Dir),
            Text = io_lib:format("value = ~b~n", [Value]),
            ok = file:write_file(filename:join(Dir, "ct_on_path.py"), Text),
            Own = io_lib:format("ct_only_~b.py", [Value]),
            ok = file:write_file(filename:join(Dir, Own), Text)
        end,
        lists:zip(Dirs, [1, 2])
    ),
    [One, Two] = Dirs,
    ok = erlpy_ct:start(Config, [{python_path, [One, unicode:characters_to_binary(Two)]}]),
    {ok, 1} = py:eval("__import__('ct_on_path').value"),
    {ok, 1} = py:eval("__import__('ct_only_1').value"),
    {ok, 2} = py:eval("__import__('ct_only_2').value"),
    %% Another start has another order.
    Changed = [unicode:characters_to_binary(Dir) || Dir <- [Two, One]],
    ok = erlpy_ct:start(Config, [{python_path, Changed}]),
    {ok, Changed} = py:eval("__import__('sys').path[:2]").

wrong_settings_are_named(_Config) ->
    ok = application:stop(erlpy),
    lists:foreach(
        fun({Name, Value}) ->
            Old = application:get_env(erlpy, Name),
            ok = application:set_env(erlpy, Name, Value),
            {error, Reason} = application:start(erlpy),
            {found, Name, Value} = find_bad_setting(Reason),
            restore(Name, Old)
        end,
        [
            {contexts, 0},
            {contexts, -1},
            {contexts, many},
            {contexts, 2.0},
            {max_threads, 0},
            {max_threads, 16385},
            {max_threads, many},
            {start_timeout_ms, 0},
            {start_timeout_ms, infinity},
            {thread_idle_ms, -1},
            {thread_idle_ms, infinity},
            {pool, own},
            {pool, {owngil, 0}},
            {pool, {owngil, 257}},
            {pool, {owngil, many}},
            {spin_us, -1},
            {spin_us, soon},
            {spin_us, 1 bsl 40},
            {python_path, "/not/a/list/of/folders"},
            {python_path, here},
            {python_path, 17},
            {venv, "/no/such/environment"},
            {venv, 17},
            {venv, {a, b}}
        ]
    ),
    %% One folder among others: that one is named.
    ok = application:set_env(erlpy, python_path, ["/tmp", {a, b}]),
    {error, OneOf} = application:start(erlpy),
    {found, python_path, {a, b}} = find_bad_setting(OneOf),
    ok = application:set_env(erlpy, python_path, []),
    ok = application:start(erlpy),
    {ok, 1} = py:eval("1").

find_bad_setting({bad_setting, venv, {no_python, Value}}) -> {found, venv, Value};
find_bad_setting({bad_setting, Name, Value}) -> {found, Name, Value};
find_bad_setting(Reason) when is_tuple(Reason) -> find_bad_setting(tuple_to_list(Reason));
find_bad_setting([Head | Tail]) ->
    case find_bad_setting(Head) of
        not_found -> find_bad_setting(Tail);
        Found -> Found
    end;
find_bad_setting(_) ->
    not_found.

restore(Name, undefined) -> ok = application:unset_env(erlpy, Name);
restore(Name, {ok, Value}) -> ok = application:set_env(erlpy, Name, Value).

%% ---- Which Python ---------------------------------------------------------------------

-define(IDENTITY,
    "[sys.executable, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.version,"
    " sys.platlibdir, sys.path]"
).

same_python_as_from_the_shell(_Config) ->
    %% A module in a file of its own would put its folder on the path: hence -c.
    Run = "import json, sys; sys.path.remove(''); print(json.dumps(" ++ ?IDENTITY ++ "))",
    Shell = run(erlpy_ct:python(), ["-c", Run]),
    {ok, Outside} = py:call(json, loads, [Shell]),
    {ok, Inside} = inside_identity(),
    ?assertEqual(lists:droplast(Outside), lists:droplast(Inside)),
    %% Ours, then those of the Python.
    {Path, Whole} = {lists:last(Outside), lists:last(Inside)},
    ?assertEqual(Path, lists:nthtail(max(0, length(Whole) - length(Path)), Whole)).

inside_identity() ->
    {ok, Context} = py_context:new(),
    ok = py:exec(Context, "import sys"),
    Answer = py:eval(Context, ?IDENTITY),
    ok = py_context:destroy(Context),
    Answer.

run(Program, Args) ->
    Port = open_port({spawn_executable, Program}, [
        {args, Args}, binary, exit_status, {env, [{"PYTHONPATH", false}]}
    ]),
    {0, Output} = port_output(Port, <<>>),
    Output.

port_output(Port, Output) ->
    receive
        {Port, {data, Data}} -> port_output(Port, <<Output/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, Output}
    end.

venv_is_active(Config) ->
    Venv = make_venv(Config, "environment"),
    [Site] = filelib:wildcard(filename:join([Venv, "lib", "python3*", "site-packages"])),
    ok = file:write_file(filename:join(Site, "ct_in_venv.py"), "value = 42\n"),
    {ok, Base} = py:eval("__import__('sys').base_prefix"),
    Answers = in_venv(Venv, [
        "__import__('sys').prefix",
        "__import__('sys').base_prefix",
        "__import__('sys').executable",
        "__import__('ct_in_venv').value",
        "__import__('site').getsitepackages()"
    ]),
    Prefix = list_to_binary(Venv),
    Executable = list_to_binary(filename:join([Venv, "bin", "python"])),
    Sites = list_to_binary(Site),
    [{ok, Prefix}, {ok, Base}, {ok, Executable}, {ok, 42}, {ok, [Sites | More]}] = Answers,
    %% Debian's Python names more folders, all of the environment.
    Size = byte_size(Prefix),
    [] = [Folder || Folder <- More, binary:part(Folder, 0, Size) =/= Prefix].

make_venv(Config, Name) ->
    Venv = filename:join(filename:absname(?config(priv_dir, Config)), Name),
    _ = run(erlpy_ct:python(), ["-m", "venv", "--without-pip", Venv]),
    Venv.

in_venv(Venv, Expressions) ->
    {Peer, _} = erlpy_ct:peer(?FUNCTION_NAME, #{}),
    ok = peer:call(Peer, application, load, [erlpy]),
    ok = peer:call(Peer, application, set_env, [erlpy, venv, Venv]),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [erlpy]),
    Answers = [peer:call(Peer, py, eval, [Text]) || Text <- Expressions],
    ok = peer:stop(Peer),
    Answers.

venv_of_another_python(Config) ->
    Venv = filename:join(?config(priv_dir, Config), "foreign"),
    ok = filelib:ensure_path(filename:join([Venv, "lib", "python3.1", "site-packages"])),
    ok = filelib:ensure_path(filename:join(Venv, "bin")),
    ok = file:write_file(filename:join([Venv, "bin", "python"]), <<>>),
    ok = application:stop(erlpy),
    ok = application:set_env(erlpy, venv, Venv),
    {error, Reason} = application:start(erlpy),
    Shown = lists:flatten(io_lib:format("~p", [Reason])),
    true = string:find(Shown, "not_for_python") =/= nomatch,
    ok = application:unset_env(erlpy, venv),
    ok = application:start(erlpy).

venv_cannot_change_while_running(Config) ->
    Venv = make_venv(Config, "late"),
    ok = application:stop(erlpy),
    ok = application:set_env(erlpy, venv, Venv),
    {error, Reason} = application:start(erlpy),
    Shown = lists:flatten(io_lib:format("~p", [Reason])),
    true = string:find(Shown, "another venv") =/= nomatch,
    ok = application:unset_env(erlpy, venv),
    ok = application:start(erlpy),
    {ok, 1} = py:eval("1").

%% ---- What Python can do here --------------------------------------------------------------

standard_extensions(_Config) ->
    {ok, true} = py:eval("bool(__import__('ssl').create_default_context())"),
    {ok, [{3}]} = py:eval("__import__('sqlite3').connect(':memory:')"
                          ".execute('select 1 + 2').fetchall()"),
    {ok, <<"0.3">>} = py:eval("str(__import__('_decimal').Decimal('0.1') * 3)"),
    {ok, true} = py:eval("__import__('ctypes').CDLL(None).getpid() > 0"),
    {ok, <<"aGk=">>} = py:eval("__import__('base64').b64encode(b'hi')").

numpy(_Config) ->
    case erlpy_ct:skip_without(numpy) of
        ok ->
            {ok, 6.0} = py:eval("float(__import__('numpy').arange(4.0).sum())"),
            {ok, <<1, 2>>} = py:eval("__import__('numpy').array([1, 2], 'uint8')"),
            {ok, 7} = py:eval("__import__('numpy').int64(7)");
        Skip ->
            Skip
    end.

-define(CHILD, "__import__('subprocess').run([__import__('sys').executable, '-c', ").

subprocess_return_codes(_Config) ->
    {ok, 0} = py:eval(?CHILD "'pass']).returncode"),
    {ok, 3} = py:eval(?CHILD "'raise SystemExit(3)']).returncode"),
    {ok, <<"5\n">>} = py:eval(?CHILD "'print(2 + 3)'], capture_output=True).stdout"),
    {ok, 7} = py:eval("__import__('os').waitstatus_to_exitcode(__import__('os').system('exit 7'))"),
    {error, {<<"CalledProcessError">>, _, _}} =
        py:eval(?CHILD "'raise SystemExit(3)'], check=True)").

subprocess_terminate(_Config) ->
    ok = py:exec(
        "import subprocess\n"
        "def ct_end_child(how):\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    getattr(child, how)()\n"
        "    return child.wait(10)\n"
    ),
    {ok, -15} = py:call('__main__', ct_end_child, [terminate]),
    {ok, -9} = py:call('__main__', ct_end_child, [kill]).

%% Python's children and the node's own do not take each other's exit status.
ports_still_work(_Config) ->
    Ref = py:spawn_call(subprocess, run, [[<<"sleep">>, <<"0.3">>]]),
    Port = open_port({spawn, "sh -c 'exit 5'"}, [exit_status]),
    receive {Port, {exit_status, Status}} -> 5 = Status end,
    "out\n" = os:cmd("echo out"),
    {error, {not_convertible, Text}} = py:await(Ref),
    true = string:find(Text, "CompletedProcess") =/= nomatch.

python_threads(_Config) ->
    ok = py:exec(
        "import threading, erlang\n"
        "def ct_send_from_threads(pid, count):\n"
        "    threads = [threading.Thread(target=erlang.send, args=(pid, i))\n"
        "               for i in range(count)]\n"
        "    for thread in threads: thread.start()\n"
        "    for thread in threads: thread.join()\n"
        "    return len({thread.ident for thread in threads}) > 0\n"
    ),
    {ok, true} = py:call('__main__', ct_send_from_threads, [self(), 20]),
    [receive I -> ok end || I <- lists:seq(0, 19)].

python_exit_does_not_end_the_node(_Config) ->
    {error, {<<"SystemExit">>, <<"3">>, _}} = py:exec("raise SystemExit(3)"),
    {error, {<<"KeyboardInterrupt">>, _, _}} = py:exec("raise KeyboardInterrupt"),
    {ok, Context} = py_context:new(),
    {error, {<<"SystemExit">>, _, _}} = py:call(Context, sys, exit, [1]),
    {ok, 1} = py:eval(Context, "1"),
    ok = py_context:destroy(Context).

hundred_callers(_Config) ->
    Parent = self(),
    Callers = [spawn_link(fun() -> Parent ! {self(), many_calls(N)} end)
               || N <- lists:seq(1, 100)],
    [receive {Caller, Answer} -> done = Answer end || Caller <- Callers],
    receive Any -> ct:fail({stray, Any}) after 0 -> ok end.

many_calls(N) ->
    [{ok, Sum} = py:call(builtins, sum, [[N, I]])
     || I <- lists:seq(1, 100), Sum <- [N + I]],
    receive Any -> {stray, Any} after 0 -> done end.

idle_runtime_uses_no_cpu(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, _} = py:start_contexts(4),
    Refs = [py:spawn_call(Context, ct_buffers, invoke, [Buf, read])
            || Context <- element(2, py:start_contexts())],
    timer:sleep(300),
    Before = python_ticks(),
    timer:sleep(1000),
    Used = python_ticks() - Before,
    ct:pal("~b ticks of 10 ms", [Used]),
    true = Used =< 2,
    ok = py_buffer:close(Buf),
    [{ok, <<>>} = py:await(Ref) || Ref <- Refs],
    ok = py:stop_contexts().

%% Processor time of the threads that are ours, in ticks.
python_ticks() ->
    {ok, Ids} = file:list_dir("/proc/self/task"),
    lists:sum([ticks(Id) || Id <- Ids]).

ticks(Id) ->
    case file:read_file(["/proc/self/task/", Id, "/stat"]) of
        {ok, Stat} ->
            [Head, Tail] = string:split(Stat, ") ", trailing),
            Fields = string:split(Tail, " ", all),
            Ours = string:find(Head, "(erlpy") =/= nomatch,
            Used = [binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13]],
            case Ours of
                true -> lists:sum(Used);
                false -> 0
            end;
        {error, _} ->
            0
    end.

six_calls(_Config) ->
    erlpy_ct:still_works().

%% The application gives up, and takes Python down with it.
killed_again_and_again(_Config) ->
    {ok, 4.0} = py:call(math, sqrt, [16]),
    ok = erlpy_ct:eventually(fun() ->
        Pid = whereis(erlpy_runtime),
        is_pid(Pid) andalso exit(Pid, kill),
        not lists:keymember(erlpy, 1, application:which_applications())
    end),
    ok = erlpy_ct:eventually(fun() -> not maps:get(started, py:info()) end),
    {error, not_started} = py:call(math, sqrt, [16]).

%% One that ends while its module, views and iterators are held; which has sent messages
%% and waited for a buffer.  The thread that ran it goes on with other jobs.
sub_interpreters_end_with_views_and_after_waits(_Config) ->
    true = register(ct_interpreters, self()),
    Code = <<
        "import erlang, erlang.testing, sys\n"
        "whole = erlang.testing.make_buffer(b'line\\n' * 20000)\n"
        "sys.kept = [memoryview(whole), iter(whole), whole.views(), whole.readview(1000)]\n"
        "sys.kept.append(sys.kept)\n"
        "waiting = erlang.testing.Writer().buffer\n"
        "waiting.settimeout(0.01)\n"
        "try: waiting.read()\n"
        "except TimeoutError: erlang.send('ct_interpreters', 'waited')\n"
    >>,
    {ok, Context} = py_context:new(),
    lists:foreach(
        fun(On) ->
            {ok, none} = py:call(On, ct_interpreters, run_in_another, [Code]),
            receive <<"waited">> -> ok after 5000 -> ct:fail(no_message) end,
            {ok, 4.0} = py:call(On, math, sqrt, [16])
        end,
        [Context] ++ [py:context() || _ <- lists:seq(1, 10)]
    ),
    true = unregister(ct_interpreters),
    ok = py_context:destroy(Context),
    ok = erlpy_ct:still_works().

%% As reloaders do.  What the node holds of it stays, and the next import goes on.
module_that_is_taken_away(Config) ->
    {Peer, _} = erlpy_ct:peer(?FUNCTION_NAME, #{}),
    ok = peer:call(Peer, erlpy_ct, start, [Config]),
    ok = peer:call(Peer, ?MODULE, take_module_away, []),
    ok = peer:stop(Peer).

take_module_away() ->
    {ok, Context} = py_context:new(),
    Code = "import gc, sys, weakref\n"
           "module = weakref.ref(sys.modules['_erlang'])\n"
           "for name in [n for n in sys.modules if n.split('.')[0] in ('erlang', '_erlang')]:\n"
           "    del sys.modules[name]\n"
           "for name in [n for n in sys.modules if n.startswith('ct_')]:\n"
           "    del sys.modules[name]\n"
           "gc.collect()\n"
           "assert module() is not None\n",
    ok = py:exec(Context, Code),
    Loop = "while True: pass",
    [
        begin
            {ok, Buf} = py_buffer:new(),
            ok = py_buffer:write(Buf, <<"abc">>),
            {ok, <<"ab">>} = py:eval(Where, "b.read(2)", #{b => Buf}),
            {ok, true} = py:eval(Where, "p == p", #{p => self()}),
            {error, timeout} = py:exec(Where, Loop, 100),
            {ok, 2} = py:eval(Where, "1 + 1")
        end
     || _ <- [1, 2], Where <- [Context, element(2, py_context:new())]
    ],
    ok = application:stop(erlpy),
    ok = application:start(erlpy),
    {ok, 2} = py:eval("1 + 1"),
    ok.

%% The module has its state per interpreter, and its package is on every path.
package_in_a_sub_interpreter(_Config) ->
    Code = <<"from erlang import PyBuffer; import erlang.testing\n"
             "assert erlang.testing.make_buffer(b'abc').read() == b'abc'">>,
    {ok, none} = py:call(ct_interpreters, run_in_another, [Code]).
