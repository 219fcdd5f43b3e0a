%% @private
-module(erlpy_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% The functions that Python may call are kept here, so that they outlive a crash of
%% erlpy_callbacks, which ends after the runtime: Python code that is being stopped may
%% still be in a call.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ok = erlpy_callbacks:new_table(),
    Callbacks = #{
        id => erlpy_callbacks,
        start => {erlpy_callbacks, start_link, []}
    },
    Runtime = #{
        id => erlpy_runtime,
        start => {erlpy_runtime, start_link, []},
        shutdown => 5000
    },
    {ok, {#{strategy => one_for_one}, [Callbacks, Runtime]}}.
