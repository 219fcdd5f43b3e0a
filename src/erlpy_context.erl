%% @private
%% Contexts of every mode, for those who make them.
-module(erlpy_context).

-export([is_mode/1, new/1, when_ready/1]).

-spec is_mode(term()) -> boolean().
is_mode(Mode) ->
    lists:member(Mode, [auto, worker, owngil]).

%% A context whose interpreter may still be on its way.
-spec new(py_context:mode()) -> {ok, py_context:context()} | {error, py:reason()}.
new(owngil) ->
    case py_nif:context_new(owngil) of
        {error, not_supported} -> {error, {not_supported, erlpy_error:no_owngil()}};
        Answer -> told(Answer)
    end;
new(_Mode) ->
    told(py_nif:context_new(worker)).

told({error, not_started}) -> erlpy_error:not_started();
told(Answer) -> Answer.

%% It is there now, or is ended: code may hold the GIL for ever that making it needs.
-spec when_ready(py_context:context()) -> {ok, py_context:context()} | {error, py:reason()}.
when_ready(Context) ->
    case py_wait:call(Context, {eval, <<"None">>, #{}}, erlpy_runtime:start_timeout_ms()) of
        {ok, none} ->
            {ok, Context};
        {error, _} = Error ->
            ok = py_nif:context_destroy(Context),
            Error
    end.
