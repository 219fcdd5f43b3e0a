%% @private
%% The process that owns the interpreter: it starts and stops it with the application,
%% keeps the contexts of `py:start_contexts/0,1', passes messages from Python on to other
%% nodes and logs failed casts.
-module(erlpy_runtime).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, start_contexts/2, stop_contexts/0, contexts/0]).
-export([default_contexts/0, start_timeout_ms/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(CONTEXTS, {erlpy, contexts}).
%% How long a stop waits for Python threads that are in the middle of something.
-define(STOP_TIMEOUT, 2000).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The contexts that are running, started first if there are none.
%% Interpreters of those that are `started' may still be on their way.
-spec start_contexts(pos_integer(), py_context:mode()) ->
    {started | running, [py_context:context()]} | {error, py:reason()}.
start_contexts(Count, Mode) ->
    call({start_contexts, Count, Mode}).

-spec stop_contexts() -> ok.
stop_contexts() ->
    case call(stop_contexts) of
        ok -> ok;
        {error, not_started} -> ok
    end.

-spec contexts() -> {} | tuple().
contexts() ->
    persistent_term:get(?CONTEXTS, {}).

-spec default_contexts() -> pos_integer().
default_contexts() ->
    case application:get_env(erlpy, contexts) of
        {ok, Count} when is_integer(Count), Count > 0, Count =< 4096 -> Count;
        {ok, Other} -> error({bad_setting, contexts, Other});
        undefined -> erlang:system_info(schedulers_online)
    end.

call(Request) ->
    try
        gen_server:call(?MODULE, Request, infinity)
    catch
        exit:{noproc, _} -> erlpy_error:not_started();
        exit:{shutdown, _} -> {error, stopped}
    end.

%% ---- The server ----------------------------------------------------------------

-spec init([]) -> {ok, no_state} | {stop, term()}.
init([]) ->
    process_flag(trap_exit, true),
    ok = erlpy_error:was_started(),
    %% A predecessor that was killed has left everything running.
    end_python(),
    try start_python() of
        ok -> {ok, no_state};
        {error, Reason} -> {stop, {python, Reason}}
    catch
        error:{bad_setting, Name, Value} -> {stop, {bad_setting, Name, Value}}
    end.

start_python() ->
    %% The node ignores SIGCHLD; then Python's subprocess could not learn how a child
    %% ended.
    ok = os:set_signal(sigchld, default),
    Threads = default_contexts(),
    Max = max_threads(),
    Timeout = start_timeout_ms(),
    Start = py_nif:start(
        executable(), python_path(), spin_us(), min(Threads, Max), Max, thread_idle_ms(),
        event_loops(), event_loop() =:= uvloop, own_pools()
    ),
    case Start of
        ok ->
            receive
                {erlpy, started, ok} -> has_parts(event_loop(), own_pools(), Timeout);
                {erlpy, started, {error, _} = Error} -> Error
            after Timeout -> {error, <<"Python does not answer">>}
            end;
        {error, _} = Error ->
            Error
    end.

%% What the settings ask for is there.
has_parts(EventLoop, OwnPools, Timeout) ->
    case has_event_loop(EventLoop, Timeout) of
        ok -> has_pools(OwnPools, Timeout);
        {error, _} = Error -> await_end(), Error
    end.

%% In the main interpreter: it does not load into those with a GIL of their own, where
%% asyncio's loops are.
has_event_loop(asyncio, _Timeout) ->
    ok;
has_event_loop(uvloop, Timeout) ->
    case py_nif:context_new(worker) of
        {ok, Context} ->
            ok = has(Context, <<"__import__('uvloop') and None">>, {event_loop, uvloop}, Timeout),
            py_nif:context_destroy(Context);
        {error, _} = Error ->
            Error
    end.

has_pools(0, _Timeout) ->
    ok;
has_pools(_OwnPools, Timeout) ->
    has(pool, <<"None">>, {pool, owngil}, Timeout).

has(Target, Code, {Setting, Value}, Timeout) ->
    case py_wait:call(Target, {eval, Code, #{}}, Timeout) of
        {ok, none} ->
            ok;
        {error, Reason} ->
            await_end(),
            error({bad_setting, Setting, {Value, missing_because(Reason)}})
    end.

missing_because({_Type, Message, _Traceback}) -> Message;
missing_because(Reason) -> Reason.

-spec handle_call(term(), gen_server:from(), no_state) -> {reply, term(), no_state}.
handle_call({start_contexts, Count, Mode}, _From, State) ->
    {reply, ensure_contexts(contexts(), Count, Mode), State};
handle_call(stop_contexts, _From, State) ->
    drop_contexts(),
    {reply, ok, State};
handle_call(Request, _From, State) ->
    {reply, {error, {unknown_request, Request}}, State}.

-spec handle_cast(term(), no_state) -> {noreply, no_state}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), no_state) -> {noreply, no_state}.
handle_info({erlpy, relay, To, Message}, State) ->
    _ = erlang:send(To, Message, [noconnect]) =:= noconnect andalso
        spawn(erlang, send, [To, Message]),
    {noreply, State};
handle_info({erlpy, cast_failed, {error, {_Type, _Message, Traceback}}}, State) ->
    ?LOG_ERROR("erlpy: a cast failed~n~ts", [Traceback]),
    {noreply, State};
handle_info({erlpy, cast_failed, {error, Reason}}, State) ->
    ?LOG_ERROR("erlpy: a cast failed: ~tp", [Reason]),
    {noreply, State};
handle_info({erlpy, loop_error, Text}, State) ->
    ?LOG_ERROR("erlpy: ~ts", [Text]),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), no_state) -> ok.
terminate(_Reason, _State) ->
    await_end().

await_end() ->
    end_python(),
    receive
        {erlpy, stopped} -> ok
    after ?STOP_TIMEOUT -> ok
    end.

end_python() ->
    drop_contexts(),
    ok = py_nif:stop().

ensure_contexts({}, Count, Mode) ->
    case new_contexts(Count, Mode, []) of
        {ok, Contexts} ->
            persistent_term:put(?CONTEXTS, list_to_tuple(Contexts)),
            {started, Contexts};
        {error, _} = Error ->
            Error
    end;
ensure_contexts(Running, _Count, _Mode) ->
    {running, tuple_to_list(Running)}.

new_contexts(0, _Mode, Contexts) ->
    {ok, lists:reverse(Contexts)};
new_contexts(Left, Mode, Contexts) ->
    case erlpy_context:new(Mode) of
        {ok, Context} -> new_contexts(Left - 1, Mode, [Context | Contexts]);
        {error, _} = Error -> Error
    end.

drop_contexts() ->
    Contexts = contexts(),
    _ = persistent_term:erase(?CONTEXTS),
    lists:foreach(fun py_nif:context_destroy/1, tuple_to_list(Contexts)).

%% ---- Settings ------------------------------------------------------------------

spin_us() ->
    case application:get_env(erlpy, spin_us, 20) of
        Spin when is_integer(Spin), Spin >= 0, Spin =< 1000000 -> Spin;
        Other -> error({bad_setting, spin_us, Other})
    end.

max_threads() ->
    case application:get_env(erlpy, max_threads, 1024) of
        Max when is_integer(Max), Max > 0, Max =< 16384 -> Max;
        Other -> error({bad_setting, max_threads, Other})
    end.

%% Code of an earlier run may hold the GIL and never give it up.
-spec start_timeout_ms() -> pos_integer().
start_timeout_ms() ->
    case application:get_env(erlpy, start_timeout_ms, 30000) of
        Timeout when is_integer(Timeout), Timeout > 0, Timeout =< 16#FFFFFFFF -> Timeout;
        Other -> error({bad_setting, start_timeout_ms, Other})
    end.

event_loops() ->
    case application:get_env(erlpy, event_loops, 1) of
        Count when is_integer(Count), Count > 0, Count =< 1024 -> Count;
        Other -> error({bad_setting, event_loops, Other})
    end.

%% The interpreters that calls without a context are spread over; 0: the main one alone.
own_pools() ->
    case application:get_env(erlpy, pool, shared) of
        shared -> 0;
        owngil -> min(erlang:system_info(schedulers_online), 256);
        {owngil, N} when is_integer(N), N > 0, N =< 256 -> N;
        Other -> error({bad_setting, pool, Other})
    end.

event_loop() ->
    case application:get_env(erlpy, event_loop, asyncio) of
        Kind when Kind =:= asyncio; Kind =:= uvloop -> Kind;
        Other -> error({bad_setting, event_loop, Other})
    end.

thread_idle_ms() ->
    case application:get_env(erlpy, thread_idle_ms, 5000) of
        Idle when is_integer(Idle), Idle >= 0, Idle =< 16#7FFFFFFF -> Idle;
        Other -> error({bad_setting, thread_idle_ms, Other})
    end.

python_path() ->
    Dirs = application:get_env(erlpy, python_path, []),
    is_list(Dirs) andalso not io_lib:char_list(Dirs) orelse Dirs =:= [] orelse
        error({bad_setting, python_path, Dirs}),
    [directory(python_path, Dir) || Dir <- Dirs] ++
        [directory(python_path, filename:join(py_nif:priv_dir(), "python"))].

directory(Setting, Dir) ->
    try
        filename_bytes(filename:absname(in_application(Dir)))
    catch
        error:_ -> error({bad_setting, Setting, Dir})
    end.

%% A release may be started from anywhere, and its folders have versions in their names.
in_application({priv_dir, Application, Dir}) when is_atom(Application) ->
    filename:join(code:priv_dir(Application), Dir);
in_application(Dir) ->
    Dir.

filename_bytes(Name) when is_binary(Name) ->
    Name;
filename_bytes(Name) ->
    Bytes = unicode:characters_to_binary(Name, unicode, file:native_name_encoding()),
    true = is_binary(Bytes),
    Bytes.

%% The interpreter of the virtual environment, or `none': the one it was built for.
executable() ->
    case application:get_env(erlpy, venv, undefined) of
        undefined -> active_python(os:getenv("VIRTUAL_ENV", ""));
        none -> none;
        Venv -> venv_python(directory(venv, Venv), "python", Venv)
    end.

%% As `python3' in the shell that started the node.  One that does not fit may have been
%% meant for other programs.
active_python("") ->
    none;
active_python(Venv) ->
    try
        venv_python(directory(venv, Venv), "python3", Venv)
    catch
        error:{bad_setting, venv, Why} ->
            ?LOG_WARNING("erlpy: the virtual environment that is active (VIRTUAL_ENV) is not "
                         "used: ~0tp", [Why]),
            none
    end.

venv_python(Dir, Name, Venv) ->
    Python = filename:join([Dir, "bin", Name]),
    Site = filename:join([Dir, "lib", ["python", minor_version()], "site-packages"]),
    case {filelib:is_regular(Python), filelib:is_dir(Site)} of
        {true, true} -> Python;
        {false, _} -> error({bad_setting, venv, {no_python, Venv}});
        {true, false} -> error({bad_setting, venv, {not_for_python, minor_version(), Venv}})
    end.

minor_version() ->
    [Major, Minor | _] = string:split(binary_to_list(py_nif:version()), ".", all),
    Major ++ "." ++ Minor.
