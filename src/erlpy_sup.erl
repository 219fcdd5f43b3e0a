%% @private
-module(erlpy_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Runtime = #{
        id => erlpy_runtime,
        start => {erlpy_runtime, start_link, []},
        shutdown => 5000
    },
    {ok, {#{strategy => one_for_one}, [Runtime]}}.
