%% A message to a thread in C and its answer: what a call costs at the least.
-module(bench_echo).

-export([call/0, ask/1]).

-on_load(load/0).

load() ->
    erlang:load_nif(filename:join(filename:dirname(code:which(?MODULE)), ?MODULE_STRING), 0).

call() ->
    Ref = make_ref(),
    ok = ask(Ref),
    receive
        {Ref, Answer} -> Answer
    end.

ask(_Ref) -> erlang:nif_error(not_loaded).
