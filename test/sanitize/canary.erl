%% Planted faults (canary.c), and running Common Test in a sanitised node.
-module(canary).

-export([use_after_free/0, overrun/0, undefined/0, race/0, suites/1]).

-nifs([use_after_free/0, overrun/0, undefined/0, race/0]).

-on_load(load/0).

load() ->
    erlang:load_nif(filename:join(filename:dirname(code:which(?MODULE)), "canary"), 0).

use_after_free() -> erlang:nif_error(not_loaded).
overrun() -> erlang:nif_error(not_loaded).
undefined() -> erlang:nif_error(not_loaded).
race() -> erlang:nif_error(not_loaded).

%% Prints the closing line.  Nodes and programs that a case starts are not sanitised.
suites(Spec) ->
    case ct:run_test([{spec, Spec}, {logdir, "logs"}, {multiply_timetraps, 4}]) of
        {Ok, Failed, {UserSkipped, AutoSkipped}} ->
            io:format("~n~b passed, ~b failed, ~b skipped~n",
                      [Ok, Failed + AutoSkipped, UserSkipped]),
            halt(min(1, Failed + AutoSkipped));
        Other ->
            io:format("~p~n0 passed, 1 failed~n", [Other]),
            halt(1)
    end.
