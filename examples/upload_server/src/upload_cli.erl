%% The server as a program: what `run' calls.  Its options are environment variables, its
%% errors are for people who know neither Erlang nor erlpy.
-module(upload_cli).
-behaviour(gen_event).

-export([main/0]).
-export([init/1, handle_event/2, handle_call/2]).

%% @doc Serves until SIGTERM, printing the address.
-spec main() -> no_return().
main() ->
    process_flag(trap_exit, true),
    ok = take_sigterm(),
    App = env("APP", "upload_app"),
    Options = #{
        app => App,
        port => number("PORT", "8000", 65535),
        max_body => max_body(env("MAX_BODY", "infinity")),
        unknown_length => unknown_length(env("UNKNOWN_LENGTH", "stream"))
    },
    ok = start_python(),
    case upload_server:start_link(Options) of
        {ok, #{port := Port} = Server} ->
            io:format("~ts on http://127.0.0.1:~w/~n", [App, Port]),
            serve(Server);
        {error, Reason} ->
            fail(explain(Reason, Options))
    end.

serve(Server) ->
    receive
        stop ->
            ok = upload_server:stop(Server),
            init:stop(),
            receive after infinity -> ok end;
        {'EXIT', _Pid, Reason} ->
            fail(["the server has ended: ", io_lib:format("~tp", [Reason])])
    end.

start_python() ->
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, path()),
    _ = [ok = application:set_env(erlpy, venv, Venv) || Venv <- [env("VIRTUAL_ENV", "")], Venv =/= ""],
    case application:ensure_all_started(erlpy) of
        {ok, _} -> ok;
        {error, {erlpy, Reason}} -> fail(explain_start(Reason))
    end.

explain_start({{shutdown, {failed_to_start_child, _, {bad_setting, venv, _}}}, _}) ->
    ["VIRTUAL_ENV=", env("VIRTUAL_ENV", ""), " is no virtual environment of this Python"];
explain_start(Reason) ->
    io_lib:format("Python has not started: ~tp", [Reason]).

path() ->
    string:lexemes(env("UPLOAD_PATH", ""), ":").

-spec fail(iodata()) -> no_return().
fail(Text) ->
    io:format(standard_error, "error: ~ts~n", [string:trim(Text, trailing)]),
    halt(1).

%% ---- SIGTERM ------------------------------------------------------------------------------

%% By itself it would stop Python before the shutdown of an ASGI application.
take_sigterm() ->
    gen_event:swap_handler(erl_signal_server, {erl_signal_handler, []}, {?MODULE, self()}).

-spec init({pid(), term()}) -> {ok, pid()}.
init({Main, _}) ->
    {ok, Main}.

-spec handle_event(atom(), pid()) -> {ok, pid()}.
handle_event(sigterm, Main) ->
    Main ! stop,
    {ok, Main};
handle_event(Signal, Main) ->
    erl_signal_handler:handle_event(Signal, Main).

-spec handle_call(term(), pid()) -> {ok, ok, pid()}.
handle_call(_Request, Main) ->
    {ok, ok, Main}.

%% ---- Options ------------------------------------------------------------------------------

%% An empty one counts as not set: make passes on what it is given.
env(Name, Default) ->
    case os:getenv(Name, "") of
        "" -> Default;
        Value -> Value
    end.

number(Name, Default, Most) ->
    Text = env(Name, Default),
    case string:to_integer(Text) of
        {Number, ""} when Number >= 0, Number =< Most -> Number;
        _ -> fail(io_lib:format("~ts must be a number from 0 to ~w, not '~ts'", [Name, Most, Text]))
    end.

max_body("infinity") -> infinity;
max_body(_) -> number("MAX_BODY", "", 1 bsl 62).

unknown_length("stream") -> stream;
unknown_length("spool") -> spool;
unknown_length(Text) -> fail(["UNKNOWN_LENGTH must be stream or spool, not '", Text, "'"]).

%% ---- Errors -------------------------------------------------------------------------------

explain(eaddrinuse, #{port := Port}) ->
    io_lib:format("port ~w is in use, another program listens there.~n"
                  "PORT=~w takes another one, PORT=0 any that is free.", [Port, Port + 1]);
explain(eacces, #{port := Port}) ->
    io_lib:format("you may not listen on port ~w: those below 1024 are for root.~n"
                  "PORT=8000 takes another one.", [Port]);
explain({<<"ModuleNotFoundError">>, Message, Traceback}, #{app := App}) ->
    [Module | _] = string:split(App, ":"),
    case re:run(Message, "^No module named '(.+)'", [unicode, {capture, [1], list}]) of
        {match, [Missing]} ->
            case Missing =:= Module orelse lists:prefix(Missing ++ ".", Module) of
                true -> no_module(App, Missing);
                false -> no_dependency(App, Missing, Traceback)
            end;
        nomatch ->
            failed_import(App, Traceback)
    end;
explain({_Type, Message, Traceback}, #{app := App}) ->
    %% Of our own: it tells all.
    case re:run(Traceback, "File \".*/erlang/_web\\.py\", line \\d+, in (_default|_callable|_imported)\n"
                           "    raise ", [unicode]) of
        {match, _} -> ["APP=", App, ": ", Message];
        nomatch -> failed_import(App, Traceback)
    end;
explain(Reason, #{app := App}) ->
    io_lib:format("APP=~ts does not start: ~tp", [App, Reason]).

no_module(App, Missing) ->
    ["APP=", App, ": there is no module '", Missing, "' in\n",
     [["    ", Folder, "\n"] || Folder <- path()],
     "nor where this Python looks otherwise.  APP_DIR=folder names another folder."].

no_dependency(App, Missing, Traceback) ->
    ["APP=", App, " needs the module '", Missing, "', which this Python does not have:\n",
     "    ", python(), "\n",
     "Install it there, set VIRTUAL_ENV to an environment that has it, or build erlpy for the\n"
     "Python that has it, as with: make serve PYTHON=/usr/bin/python3\n\n", own_frames(Traceback)].

failed_import(App, Traceback) ->
    ["APP=", App, " does not start:\n\n", own_frames(Traceback)].

python() ->
    Code = <<"__import__('sys').executable + ' (' + __import__('platform').python_version() + ')'">>,
    case py:eval(Code) of
        {ok, Text} -> Text;
        {error, _} -> "(unknown)"
    end.

%% Without the frames of our call and of Python's import, which come before the module's.
own_frames(Traceback) ->
    case string:split(Traceback, "in _call_with_frames_removed\n") of
        [_, Own] -> Own;
        [_] -> Traceback
    end.
