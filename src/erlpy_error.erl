%% @private
%% Bad arguments of the public functions: `badarg' with the place and the reason, in the
%% form of EEP 54, so that the shell says which argument it was.
-module(erlpy_error).

-export([badarg/4, badarg/5]).
-export([format_error/2]).

%% As `badarg/5' for the first of `Args' that is `Wrong'.
-spec badarg(module(), [term()], term(), string()) -> no_return().
badarg(Module, Args, Wrong, Text) ->
    badarg(Module, caller(Module, length(Args)), Args, position(Wrong, Args, 1), Text).

%% Raises `badarg' as if `Module:Function(Args...)' had done it.
-spec badarg(module(), atom(), [term()], pos_integer(), string()) -> no_return().
badarg(Module, Function, Args, Position, Text) ->
    Info = #{module => ?MODULE, cause => #{Position => Text}},
    Frame = {Module, Function, Args, [{error_info, Info}]},
    erlang:raise(error, badarg, [Frame | outside(Module)]).

position(Wrong, [Wrong | _], N) -> N;
position(Wrong, [_ | Rest], N) -> position(Wrong, Rest, N + 1).

%% The public function that is on the stack: the outermost frame of the module that has
%% this arity, or its tail call's name is lost and the module's error is all there is.
caller(Module, Arity) ->
    Frames = [F || {M, F, A, _} <- stack(), M =:= Module, A =:= Arity],
    case lists:reverse(Frames) of
        [Function | _] -> Function;
        [] -> Module
    end.

%% The frames of those who called the module.
outside(Module) ->
    lists:dropwhile(fun({M, _, _, _}) -> M =:= Module orelse M =:= ?MODULE end, stack()).

stack() ->
    {current_stacktrace, [_ProcessInfo | Frames]} =
        process_info(self(), current_stacktrace),
    Frames.

-spec format_error(term(), erlang:stacktrace()) -> #{pos_integer() => string()}.
format_error(_Reason, [{_Module, _Function, _Args, Extra} | _]) ->
    maps:get(cause, proplists:get_value(error_info, Extra, #{}), #{}).
