%% @private
-module(erlpy_app).
-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    erlpy_sup:start_link().

%% A runtime that was killed has stopped nothing; after an ordinary stop this is none.
-spec stop(term()) -> ok.
stop(_State) ->
    ok = py_nif:stop().
