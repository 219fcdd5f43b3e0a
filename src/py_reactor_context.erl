%% @doc Reactors: Erlang owns the descriptors, Python implements the protocols.
%%
%% Erlang accepts a connection, or opens whatever else can be waited for (a Unix socket, a
%% pipe, a UDP socket), and hands its descriptor to a reactor context: a process with a
%% Python context of its own.  The node waits for readiness, as it does for its own sockets;
%% on the thread of the context what has arrived is read and given to a protocol object of
%% the Python module `erlang.reactor', and what that has written is sent.
%%
%% ```
%% {ok, Reactor} = py_reactor_context:start_link(echo, auto, #{
%%     setup_code => <<"
%% from erlang import reactor
%%
%% class Echo(reactor.Protocol):
%%     def data_received(self, data):
%%         self.write_buffer += data
%%         return 'continue'
%%
%% reactor.set_protocol_factory(Echo)
%% ">>}),
%% {ok, Socket} = gen_tcp:accept(Listening),
%% {ok, Fd} = inet:getfd(Socket),
%% ok = py_reactor_context:handoff(Reactor, Fd, #{peer => <<"10.0.0.7">>}),
%% ok = gen_tcp:close(Socket).
%% '''
%%
%% <b>Descriptors.</b>  {@link handoff/3} duplicates the descriptor: the caller keeps its own
%% and closes it when it likes.  As long as it is open it must not read from it: both would
%% take bytes from each other.  A socket should be passive (`{active, false}').  The
%% descriptor is made non-blocking, for its owner too, as those of sockets are.
%%
%% <b>Ends.</b>  When the reactor ends, for whatever reason, its connections are closed, and
%% `connection_lost()' of each protocol is called.
%%
%% A reactor is meant for a supervisor ({@link child_spec/1}).  Several of them, each with its
%% own context, serve connections side by side; which one a connection goes to is the
%% caller's choice.
-module(py_reactor_context).

-export([start_link/2, start_link/3, child_spec/1, stop/1]).
-export([handoff/2, handoff/3, stats/1]).

-export_type([reactor/0, mode/0, options/0, stats/0, handoff_error/0]).

%% A pid, or a name as `gen_server:call/2' takes it.
-type reactor() :: gen_server:server_ref().
-type mode() :: py_context:mode().
-type options() :: #{
    max_connections => pos_integer(),
    setup_code => iodata(),
    app_module => atom() | binary(),
    app_callable => atom() | binary(),
    name => atom() | {local, atom()} | {global, term()} | {via, module(), term()}
}.
-type stats() :: #{
    id := term(),
    active_connections := non_neg_integer(),
    total_connections := non_neg_integer(),
    max_connections := pos_integer(),
    bytes_in := non_neg_integer(),
    bytes_out := non_neg_integer()
}.
-type handoff_error() ::
    too_many_connections | badfd | closed | emfile | enfile | enomem.

-define(DEFAULT, erlpy_reactor_default).

%% @equiv start_link(Id, Mode, #{})
-spec start_link(Id :: term(), mode()) -> {ok, pid()} | {error, term()}.
start_link(Id, Mode) ->
    start_link(Id, Mode, #{}).

%% @doc Starts a reactor.  `Id' is any term that {@link stats/1} is to show.  `Mode' is the
%% kind of its Python context ({@link py_context:new/1}): `worker', a thread of the main
%% interpreter, which `auto' means too, or `owngil', an interpreter of its own.  Options:
%% <ul>
%% <li>`max_connections' (from 1, default 100): so many at once.</li>
%% <li>`setup_code' (iodata, default none): Python text that is run in the context first.</li>
%% <li>`app_module' and `app_callable' (atoms or binaries, the second `app' by default, dots
%%   allowed): the module is imported, and its attribute becomes the protocol factory, as
%%   `erlang.reactor.set_protocol_factory()' would set it.</li>
%% <li>`name': what the process is registered as.</li>
%% </ul>
%% On Erlang/OTP 28 and later the answer is `{error, {not_supported, Text}}'.
%%
%% Without a factory of its own a reactor has the one that was set outside of any, in the
%% same interpreter.  A failure of the setup is `{error, {setup_code, Reason}}' or
%% `{error, {app_module, Reason}}', where `Reason' is that of {@link py:exec/1}.  A bad
%% option raises `badarg'.
-spec start_link(Id :: term(), mode(), options()) -> {ok, pid()} | {error, term()}.
start_link(Id, Mode, Options) ->
    Who = {start_link, [Id, Mode, Options]},
    erlpy_context:is_mode(Mode) orelse
        erlpy_error:badarg_at(?MODULE, Who, 2, "not a mode: auto, worker or owngil"),
    ok = check_options({?MODULE, Who, 3}, Options),
    erlpy_reactor:start_link(Id, Mode, Options).

%% @doc A specification for a supervisor, of the arguments of {@link start_link/3}.
-spec child_spec({Id :: term(), mode(), options()}) -> supervisor:child_spec().
child_spec({Id, Mode, Options}) ->
    #{id => {?MODULE, Id}, start => {?MODULE, start_link, [Id, Mode, Options]}}.

%% @doc Ends a reactor: its connections are closed, `connection_lost()' is called for each.
%% Code of a protocol that runs may take 2 s to its end, then it is cancelled.
-spec stop(reactor()) -> ok.
stop(Reactor) ->
    gen_server:stop(Reactor).

%% @doc Hands a descriptor to the default reactor, which the application starts when it is
%% first needed, with the options in its environment under `reactor' (none by default): its
%% protocol factory is set there, or by `erlang.reactor.set_protocol_factory()' anywhere in
%% the main interpreter.  Answers as {@link handoff/3}, or why it could not be started; a bad
%% option in `reactor' raises `badarg'.
-spec handoff(Fd :: integer(), Info :: map()) -> ok | {error, handoff_error() | term()}.
handoff(Fd, Info) ->
    ok = check_handoff({handoff, [Fd, Info]}, Fd, Info),
    case default_reactor() of
        {ok, Reactor} -> handoff_to_default(Reactor, Fd, Info);
        {error, _} = Error -> Error
    end.

handoff_to_default(Process, Fd, Info) ->
    try erlpy_reactor:reactor(Process) of
        Reactor -> py_nif:reactor_handoff(Reactor, Fd, Info)
    catch
        exit:{{shutdown, {setup, Reason}}, _} -> {error, Reason};
        exit:_ -> {error, closed}
    end.

%% @doc Hands a descriptor to a reactor.  `Info' is a map that becomes the dict `client_info'
%% of the protocol; what of it cannot be converted closes the connection.  `badfd': it is not
%% open, or is a file, a socket that listens, or something else that cannot be waited for.
%% `closed': the reactor has just ended.  Exits as `gen_server:call/2' does when there is no
%% such process.
-spec handoff(reactor(), Fd :: integer(), Info :: map()) -> ok | {error, handoff_error()}.
handoff(Reactor, Fd, Info) ->
    ok = check_handoff({handoff, [Reactor, Fd, Info]}, Fd, Info),
    py_nif:reactor_handoff(erlpy_reactor:reactor(Reactor), Fd, Info).

%% @doc How many connections there are, and have been, the most that there may be at once,
%% and the bytes that were read and written.
-spec stats(reactor()) -> stats().
stats(Reactor) ->
    erlpy_reactor:stats(Reactor).

%% ---- Arguments --------------------------------------------------------------------------

check_handoff({_, Args} = Who, Fd, Info) ->
    (is_integer(Fd) andalso Fd >= 0 andalso Fd =< 16#7FFFFFFF) orelse
        erlpy_error:badarg_at(?MODULE, Who, length(Args) - 1, "not a descriptor"),
    is_map(Info) orelse erlpy_error:badarg_at(?MODULE, Who, length(Args), "not a map"),
    ok.

check_options(Where, Options) ->
    ok = erlpy_options:check(Where, Options, fun is_option/2),
    maps:is_key(app_module, Options) orelse not maps:is_key(app_callable, Options) orelse
        erlpy_options:refuse(Where, Options, "app_callable without app_module", []),
    ok.

is_option(max_connections, Max) -> is_integer(Max) andalso Max > 0 andalso Max =< 16#7FFFFFFF;
is_option(setup_code, Code) -> is_text(Code);
is_option(app_module, Name) -> is_atom(Name) orelse is_binary(Name);
is_option(app_callable, Name) -> is_atom(Name) orelse is_binary(Name);
is_option(name, Name) when is_atom(Name) -> Name =/= undefined;
is_option(name, {local, Name}) -> is_atom(Name);
is_option(name, {global, _}) -> true;
is_option(name, {via, Module, _}) -> is_atom(Module);
is_option(_Name, _Value) -> unknown.

%% As py:exec/2 takes it.
is_text(Code) when is_binary(Code); is_list(Code) ->
    try is_binary(unicode:characters_to_binary(Code))
    catch
        error:badarg -> false
    end;
is_text(_Code) ->
    false.

default_reactor() ->
    case whereis(?DEFAULT) of
        undefined -> start_default();
        Pid -> {ok, Pid}
    end.

%% Its setup is not waited for by the supervisor, and its end is not that of the application:
%% the next handoff starts another.
start_default() ->
    Options = application:get_env(erlpy, reactor, #{}),
    Where = {?MODULE, {start_link, [default, auto, Options]}, 3},
    ok = check_options(Where, Options),
    maps:is_key(name, Options) andalso
        erlpy_options:refuse(Where, Options, "the default reactor has its own name", []),
    Child = #{
        id => ?DEFAULT,
        start => {erlpy_reactor, start_default_link, [Options#{name => ?DEFAULT}]},
        restart => temporary
    },
    try supervisor:start_child(erlpy_sup, Child) of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, Pid}} when is_pid(Pid) -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    catch
        exit:{noproc, _} -> {error, not_started}
    end.
