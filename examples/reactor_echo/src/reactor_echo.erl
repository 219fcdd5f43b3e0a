%% The application and its supervisor: some reactors, each a thread that runs Python, and
%% as many acceptors, which give each of them a connection in turn.
%%
%% Its environment: `protocol' (echo or http), `port' of 127.0.0.1 (0 takes one that is
%% free; once it is started, the one that it listens on), `reactors' (how many).
-module(reactor_echo).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1, init/1]).
-export([reactors/0]).

-define(MOST_CONNECTIONS, 10000).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    {ok, Port} = application:get_env(reactor_echo, port),
    Options = [binary, {ip, {127, 0, 0, 1}}, {active, false}, {nodelay, true},
               {reuseaddr, true}, {backlog, 1024}],
    case gen_tcp:listen(Port, Options) of
        {ok, Listening} ->
            {ok, Listened} = inet:port(Listening),
            ok = application:set_env(reactor_echo, port, Listened),
            supervisor:start_link({local, ?MODULE}, ?MODULE, Listening);
        {error, _} = Error ->
            Error
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.

%% @doc The names of the reactors.
-spec reactors() -> [atom()].
reactors() ->
    {ok, Count} = application:get_env(reactor_echo, reactors),
    [list_to_atom("reactor_echo_" ++ integer_to_list(N)) || N <- lists:seq(1, Count)].

%% A reactor that crashes is replaced, and its connections are lost; the others go on.
-spec init(gen_tcp:socket()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Listening) ->
    {ok, Protocol} = application:get_env(reactor_echo, protocol),
    Reactors = reactors(),
    Turn = atomics:new(1, []),
    Acceptors = [
        #{id => {acceptor, Name},
          start => {reactor_echo_acceptor, start_link, [Listening, Reactors, Turn]},
          shutdown => brutal_kill}
        || Name <- Reactors
    ],
    Flags = #{strategy => one_for_one, intensity => 10, period => 10},
    {ok, {Flags, [reactor(Name, Protocol) || Name <- Reactors] ++ Acceptors}}.

reactor(Name, Protocol) ->
    Options = #{name => Name, max_connections => ?MOST_CONNECTIONS},
    py_reactor_context:child_spec({Name, auto, maps:merge(Options, factory(Protocol))}).

%% Of the modules in app/, which is in the python_path.
factory(echo) -> #{app_module => echo_bytes, app_callable => 'Echo'};
factory(http) -> #{app_module => echo_http, app_callable => 'EchoHttp'}.
