%% What a beginner does: settings that find Python code wherever the node is started, and
%% mistakes, whose messages say what to do.
-module(first_hour_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        not_started,
        missing_module,
        missing_import,
        other_errors_have_no_hint,
        refused_call_is_awaited,
        not_bytes,
        answer_in_place_of_a_buffer,
        python_path_in_priv,
        active_venv,
        active_venv_of_another_python,
        setting_before_active_venv
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% ---- Mistakes ------------------------------------------------------------------------

%% Told once, and not to those who have had it running.
not_started(_Config) ->
    {Peer, _} = erlpy_ct:peer(?FUNCTION_NAME, #{}),
    Call = fun() -> {error, not_started} = py:call(math, sqrt, [16]) end,
    [Hint] = peer:call(Peer, ?MODULE, logged, [Call]),
    {match, _} = re:run(Hint, "application:ensure_all_started\\(erlpy\\)"),
    {match, _} = re:run(Hint, "\\.app\\.src"),
    [] = peer:call(Peer, ?MODULE, logged, [Call]),
    ok = peer:stop(Peer),
    [[_] = in_new_node(?FUNCTION_NAME, Other) || Other <- without_application()],
    [] = in_new_node(?FUNCTION_NAME, fun() ->
        {ok, _} = application:ensure_all_started(erlpy),
        ok = application:stop(erlpy),
        Call()
    end).

without_application() ->
    [
        fun() -> {error, not_started} = py_context:new() end,
        fun() -> {error, not_started} = py:start_contexts() end,
        fun() -> {error, not_started} = py:register_function(f, fun() -> ok end) end,
        fun() -> {error, not_started} = py:async_gather([{math, sqrt, [16]}]) end
    ].

missing_module(Config) ->
    {error, {<<"ModuleNotFoundError">>, <<"No module named 'mth'">>, Traceback}} =
        py:call(mth, sqrt, [4]),
    says_where_it_looked(Traceback, Config),
    Ref = py:spawn_call("mth.sub", sqrt, [4]),
    {error, {<<"ModuleNotFoundError">>, _, Dotted}} = py:await(Ref),
    says_where_it_looked(Dotted, Config).

%% The module is there and imports one that is not: most often another venv is meant.
missing_import(Config) ->
    Dir = filename:absname(?config(priv_dir, Config)),
    ok = file:write_file(filename:join(Dir, "ct_needs_other.py"), "import ct_absent\n"),
    ok = py:exec(["import sys; sys.path.append('", Dir, "')"]),
    {error, {<<"ModuleNotFoundError">>, <<"No module named 'ct_absent'">>, Traceback}} =
        py:call(ct_needs_other, f, []),
    says_where_it_looked(Traceback, Config),
    ok = py:exec(["import sys; sys.path.remove('", Dir, "')"]).

says_where_it_looked(Traceback, Config) ->
    true = contains(Traceback, "settings python_path and venv of erlpy"),
    true = contains(Traceback, ["\n  ", erlpy_ct:python_dir(Config), "\n"]).

other_errors_have_no_hint(_Config) ->
    {error, {<<"ValueError">>, _, OfCall}} = py:call(math, sqrt, [-1]),
    {error, {<<"AttributeError">>, _, OfName}} = py:call(math, sqr, [4]),
    [false, false] = [contains(Text, "python_path") || Text <- [OfCall, OfName]],
    ok.

refused_call_is_awaited(_Config) ->
    [begin
         Text = erlpy_ct:badarg(py, Await, [{error, not_started}, 5], 1),
         true = contains(Text, "refused with this error")
     end || Await <- [await, async_await]],
    ok.

not_bytes(_Config) ->
    {ok, Buf} = py_buffer:new(),
    [begin
         Text = erlpy_ct:badarg(py_buffer, write, [Buf, Data | More], 2),
         {Data, nomatch} = {Data, if_absent(Text, Named)}
     end || More <- [[], [0]],
            {Data, Named} <- [
                {[256], "256 is not a byte in a list, 0 to 255"},
                {"\x{20ac} 5", "8364 is not a byte"},
                {[<<"a">>, [1, [-1]], 500], "-1 is not a byte"},
                {65, "65 is not a byte"},
                {hello, "hello is neither a binary nor"},
                {["a", {bytes, <<"b">>}], "{bytes,<<\"b\">>} is neither"},
                {[<<"a">> | 7], "7 is not a byte"},
                {[<<"a">> | b], "b is neither"},
                {<<1:3>>, "<<1:3>> is neither"}
            ]],
    #{written := 0} = py_buffer:info(Buf),
    {match, _} = re:run(erlpy_ct:badarg(py_buffer, write, [Buf, [256]], 2),
                        "unicode:characters_to_binary/1").

if_absent(Text, Part) ->
    case contains(Text, Part) of
        true -> nomatch;
        false -> Text
    end.

answer_in_place_of_a_buffer(_Config) ->
    Answer = py_buffer:new(),
    [begin
         Text = erlpy_ct:badarg(py_buffer, Function, [Answer | Args], 1),
         true = contains(Text, "{ok, Buffer}")
     end || {Function, Args} <- [{write, [<<"x">>]}, {close, []}, {info, []}]],
    ok.

%% ---- Settings ------------------------------------------------------------------------

%% Also when the node has another working directory, as a release does.
python_path_in_priv(Config) ->
    App = filename:join(filename:absname(?config(priv_dir, Config)), "ct_app-1.0"),
    Python = filename:join([App, "priv", "python"]),
    ok = filelib:ensure_path(Python),
    ok = filelib:ensure_path(filename:join(App, "ebin")),
    ok = file:write_file(filename:join(Python, "ct_in_priv.py"), "value = 7\n"),
    Ebin = filename:join(App, "ebin"),
    in_new_node(?FUNCTION_NAME, fun() ->
        true = code:add_patha(Ebin),
        ok = file:set_cwd("/"),
        {ok, _} = start([{python_path, [{priv_dir, ct_app, "python"}]}]),
        {ok, 7} = py:eval("__import__('ct_in_priv').value")
    end),
    in_new_node(?FUNCTION_NAME, fun() ->
        Unknown = {priv_dir, ct_no_app, "python"},
        {error, Reason} = start([{python_path, [Unknown]}]),
        true = contains(io_lib:format("~0p", [Reason]),
                        io_lib:format("~0p", [{bad_setting, python_path, Unknown}]))
    end).

active_venv(Config) ->
    Venv = make_venv(Config, "active"),
    Prefix = list_to_binary(Venv),
    Executable = list_to_binary(filename:join([Venv, "bin", "python3"])),
    [] = in_new_node(?FUNCTION_NAME, [{"VIRTUAL_ENV", Venv}], fun() ->
        {ok, _} = start([]),
        {ok, Prefix} = py:eval("__import__('sys').prefix"),
        {ok, Executable} = py:eval("__import__('sys').executable")
    end).

active_venv_of_another_python(_Config) ->
    {ok, Own} = py:eval("__import__('sys').prefix"),
    [Warning] = in_new_node(?FUNCTION_NAME, [{"VIRTUAL_ENV", "/nonexistent"}], fun() ->
        {ok, _} = start([]),
        {ok, Own} = py:eval("__import__('sys').prefix")
    end),
    true = contains(Warning, "VIRTUAL_ENV") andalso contains(Warning, "/nonexistent").

setting_before_active_venv(Config) ->
    Venv = make_venv(Config, "set"),
    Prefix = list_to_binary(Venv),
    {ok, Own} = py:eval("__import__('sys').prefix"),
    Active = [{"VIRTUAL_ENV", make_venv(Config, "other")}],
    [[] = in_new_node(?FUNCTION_NAME, Active, fun() ->
         {ok, _} = start([{venv, Setting}]),
         {ok, Wanted} = py:eval("__import__('sys').prefix")
     end) || {Setting, Wanted} <- [{Venv, Prefix}, {none, Own}]],
    ok.

make_venv(Config, Name) ->
    Venv = filename:join(filename:absname(?config(priv_dir, Config)), Name),
    [] = os:cmd(lists:join(" ", [erlpy_ct:python(), "-m venv --without-pip", Venv])),
    Venv.

%% ---- Nodes ---------------------------------------------------------------------------

in_new_node(Name, Fun) ->
    in_new_node(Name, [], Fun).

%% What erlpy has logged as a warning or worse while the function ran there.
in_new_node(Name, Environment, Fun) ->
    {Peer, _} = erlpy_ct:peer(Name, #{env => Environment}),
    Logged = peer:call(Peer, ?MODULE, logged, [Fun], 30000),
    ok = peer:stop(Peer),
    Logged.

logged(Fun) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => warning, config => #{to => self()}}),
    _ = Fun(),
    ok = logger:remove_handler(?MODULE),
    taken().

taken() ->
    receive
        {logged, <<"erlpy: ", _/binary>> = Text} -> [Text | taken()];
        {logged, _} -> taken()
    after 0 -> []
    end.

%% Called by logger, in the process that logs.
log(#{msg := {string, Text}}, #{config := #{to := Pid}}) ->
    Pid ! {logged, unicode:characters_to_binary(Text)};
log(#{msg := {Format, Values}}, #{config := #{to := Pid}}) when is_list(Format) ->
    Pid ! {logged, unicode:characters_to_binary(io_lib:format(Format, Values))};
log(_Event, _Handler) ->
    ok.

start(Settings) ->
    ok = application:load(erlpy),
    [ok = application:set_env(erlpy, Name, Value) || {Name, Value} <- Settings],
    application:ensure_all_started(erlpy).

contains(Text, Part) ->
    string:find(unicode:characters_to_binary(Text), unicode:characters_to_binary(Part))
        =/= nomatch.
